"""Signed notes (C2SP signed-note) with Ed25519, and their keys as text.

Signature types: 0x01, Ed25519 over the text; 0x04, a timestamped cosignature (C2SP tlog-cosignature), whose message is
made in `ringfort.audit.checkpoint`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ringfort.audit.errors import AuditError

ED25519: Final = 0x01
COSIGNATURE: Final = 0x04

MOST_SIGNATURES = 64
LONGEST_NOTE = 64 * 1024
"""Bytes of a note that are looked at."""

_PRIVATE = "PRIVATE+KEY+"


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line: who says to have signed, and what."""

    name: str
    key_id: int
    data: bytes

    def line(self) -> str:
        """The line, with its end."""
        return f"— {self.name} {_encode(self.key_id.to_bytes(4, 'big') + self.data)}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A text that ends with a newline, and the signatures under it, none of them verified."""

    text: str
    signatures: tuple[Signature, ...]

    def __str__(self) -> str:
        return self.text + "\n" + "".join(signature.line() for signature in self.signatures)

    def with_signatures(self, more: Iterable[Signature]) -> Note:
        """The same text with signatures added; one of the same key is replaced."""
        added = tuple(more)
        keys = {(signature.name, signature.key_id) for signature in added}
        kept = [signature for signature in self.signatures if (signature.name, signature.key_id) not in keys]
        return Note(self.text, (*kept, *added))


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key with its name and what it signs, as ``NAME+ID+KEY`` ("vkey")."""

    name: str
    kind: int
    public: bytes

    @property
    def key_id(self) -> int:
        """The first four bytes of the hash that identifies the key (signed-note, "Signatures")."""
        return _key_id(self.name, self.kind, self.public)

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id:08x}+{_encode(bytes([self.kind]) + self.public)}"

    def signed(self, signature: Signature) -> bool:
        """Whether ``signature`` says to be of this key."""
        return signature.name == self.name and signature.key_id == self.key_id

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Whether ``signature`` (64 bytes) is this key's over ``message``."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True, slots=True)
class SignerKey:
    """A private key with its name and what it signs. Shown, it is its public part."""

    name: str
    kind: int
    seed: bytes = field(repr=False)

    def public(self) -> VerifierKey:
        """The key that verifies."""
        raw = Ed25519PrivateKey.from_private_bytes(self.seed).public_key().public_bytes_raw()
        return VerifierKey(self.name, self.kind, raw)

    def sign(self, message: bytes) -> bytes:
        """64 bytes of Ed25519 over ``message``."""
        return Ed25519PrivateKey.from_private_bytes(self.seed).sign(message)

    def secret_text(self) -> str:
        """The private key in the one line that Go's note tools use; keep it in a file that nobody else can read."""
        return f"{_PRIVATE}{self.name}+{self.public().key_id:08x}+{_encode(bytes([self.kind]) + self.seed)}"


def parse_note(data: bytes) -> Note:
    """Read a note (signed-note, "Format").

    Raises:
        AuditError: ``data`` is no note; the message says what is wrong with it.
    """
    if len(data) > LONGEST_NOTE:
        raise _malformed(f"it is longer than {LONGEST_NOTE} bytes")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise _malformed("it is not UTF-8") from error
    if any(character < " " and character != "\n" for character in text):
        raise _malformed("it holds a control character")
    body, separator, lines = text.rpartition("\n\n")
    if not separator or not lines.endswith("\n"):
        raise _malformed("it has no signature lines after an empty line")
    signatures = tuple(_signature(line) for line in lines[:-1].split("\n"))
    if len(signatures) > MOST_SIGNATURES:
        raise _malformed(f"it has more than {MOST_SIGNATURES} signatures")
    return Note(body + "\n", signatures)


def parse_signatures(data: bytes) -> tuple[Signature, ...]:
    """Signature lines alone, as a witness answers them.

    Raises:
        AuditError: something else stands there.
    """
    return parse_note(b"x\n\n" + data).signatures


def _signature(line: str) -> Signature:
    match line.split(" "):
        case ["—", name, encoded] if good_name(name):
            raw = _decode(encoded)
            if raw is not None and len(raw) > 4:
                return Signature(name, int.from_bytes(raw[:4], "big"), raw[4:])
    raise _malformed(f"{line[:80]!r} is no signature line")


def good_name(name: str) -> bool:
    """Whether a key may be called so: not empty, no space, no plus."""
    return bool(name) and "+" not in name and not any(character.isspace() or character < " " for character in name)


def parse_verifier_key(text: str) -> VerifierKey:
    """Read ``NAME+ID+KEY``.

    Raises:
        AuditError: it is none, its id is not the key's, or it is of a type we don't verify.
    """
    name, key_id, encoded = _key_parts(text)
    raw = _decode(encoded)
    if raw is None or len(raw) != 33 or raw[0] not in {ED25519, COSIGNATURE}:
        raise AuditError("audit-key", f"the key of {name} is neither Ed25519 (01) nor an Ed25519 cosigner's (04)")
    key = VerifierKey(name, raw[0], raw[1:])
    if key_id != f"{key.key_id:08x}":
        raise AuditError("audit-key", f"the key of {name} has the id {key.key_id:08x}, not {key_id}")
    return key


def parse_signer_key(text: str) -> SignerKey:
    """Read the one line of `SignerKey.secret_text`.

    Raises:
        AuditError: it is none; the message doesn't repeat it.
    """
    if not text.startswith(_PRIVATE):
        raise AuditError("audit-key", f"a private key begins with {_PRIVATE}")
    name, key_id, encoded = _key_parts(text.removeprefix(_PRIVATE).strip())
    raw = _decode(encoded)
    if raw is None or len(raw) != 33 or raw[0] not in {ED25519, COSIGNATURE}:
        raise AuditError("audit-key", f"the private key of {name} is neither Ed25519 (01) nor a cosigner's (04)")
    key = SignerKey(name, raw[0], raw[1:])
    if key_id != f"{key.public().key_id:08x}":
        raise AuditError("audit-key", f"the private key of {name} doesn't fit its id {key_id}")
    return key


def sign_note(text: str, *keys: SignerKey) -> Note:
    """``text`` signed with Ed25519 by each of ``keys``."""
    assert all(key.kind == ED25519 for key in keys)
    return Note(text, tuple(Signature(key.name, key.public().key_id, key.sign(text.encode())) for key in keys))


def _key_parts(text: str) -> tuple[str, str, str]:
    # Base 64 has plus signs of its own: only the first two separate.
    match text.split("+", 2):
        case [name, key_id, encoded] if good_name(name):
            return name, key_id, encoded
    raise AuditError("audit-key", "a key is written NAME+ID+KEY")


def _key_id(name: str, kind: int, public: bytes) -> int:
    digest = hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()
    return int.from_bytes(digest[:4], "big")


def _encode(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _decode(text: str) -> bytes | None:
    """The bytes of a text in base 64 in its one canonical form; none for anything else."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if _encode(raw) == text else None


def _malformed(why: str) -> AuditError:
    return AuditError("audit-note", f"this is no signed note: {why}")
