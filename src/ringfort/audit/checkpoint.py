"""Checkpoints (C2SP tlog-checkpoint) and their cosignatures (C2SP tlog-cosignature, Ed25519)."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from datetime import UTC, datetime

from ringfort.audit.errors import AuditError
from ringfort.audit.notes import COSIGNATURE, ED25519, Note, Signature, SignerKey, VerifierKey, parse_note, sign_note
from ringfort.audit.tree import HASH_BYTES, Hash

LARGEST_SIZE = 2**63 - 1
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_TIMESTAMP_BYTES = 8


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of a log: whose, how many records, the root over them."""

    origin: str
    size: int
    root: Hash
    extensions: tuple[str, ...] = ()

    def text(self) -> str:
        """The note's text (tlog-checkpoint, "Note text")."""
        lines = (self.origin, str(self.size), base64.b64encode(self.root).decode(), *self.extensions)
        return "".join(line + "\n" for line in lines)


def parse_text(text: str) -> Checkpoint:
    """Read a checkpoint's text.

    Raises:
        AuditError: it is none.
    """
    lines = text.split("\n")
    if lines[-1] or len(lines) < 4 or not all(lines[:-1]):
        raise AuditError("audit-checkpoint", "a checkpoint has three lines: origin, size, root")
    origin, size, encoded, *extensions = lines[:-1]
    if not _SIZE.fullmatch(size) or int(size) > LARGEST_SIZE:
        raise AuditError("audit-checkpoint", f"{size[:40]!r} is no size of a log")
    return Checkpoint(origin, int(size), parse_hash(encoded), tuple(extensions))


def parse_hash(encoded: str) -> Hash:
    """Read a hash in base 64.

    Raises:
        AuditError: it is none, or not in its one form.
    """
    try:
        raw = base64.b64decode(encoded, validate=True)
    except ValueError:
        raw = b""
    if len(raw) != HASH_BYTES or base64.b64encode(raw).decode() != encoded:
        raise AuditError("audit-checkpoint", f"{encoded[:60]!r} is no hash in base 64")
    return raw


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint and the note it came in; signatures not verified."""

    checkpoint: Checkpoint
    note: Note

    def __str__(self) -> str:
        return str(self.note)


def parse_checkpoint(data: bytes) -> SignedCheckpoint:
    """Read a signed checkpoint; verify it with `ringfort.audit.policy.Policy`.

    Raises:
        AuditError: it is none.
    """
    note = parse_note(data)
    return SignedCheckpoint(parse_text(note.text), note)


def sign(checkpoint: Checkpoint, key: SignerKey) -> SignedCheckpoint:
    """A checkpoint signed by its log."""
    return SignedCheckpoint(checkpoint, sign_note(checkpoint.text(), key))


def signed_by(note: Note, key: VerifierKey) -> bool:
    """Whether the log's ``key`` signed the note.

    Raises:
        AuditError: a signature says to be of that key and is not (signed-note: the whole note is rejected).
    """
    assert key.kind == ED25519
    mine = [signature for signature in note.signatures if key.signed(signature)]
    if not all(key.verifies(note.text.encode(), signature.data) for signature in mine):
        raise AuditError("audit-signature", f"the signature of {key.name} under the checkpoint is not its own")
    return bool(mine)


def cosign(note: Note, key: SignerKey, now: datetime) -> Signature:
    """A witness's timestamped signature under a checkpoint."""
    assert key.kind == COSIGNATURE
    seconds = int(now.timestamp())
    data = seconds.to_bytes(_TIMESTAMP_BYTES, "big") + key.sign(_cosigned(note.text, seconds))
    return Signature(key.name, key.public().key_id, data)


def cosigned_by(note: Note, key: VerifierKey) -> datetime | None:
    """When the witness with ``key`` cosigned the note; none if it did not.

    Raises:
        AuditError: a signature says to be of that key and is not.
    """
    assert key.kind == COSIGNATURE
    times = [_cosigned_at(note.text, key, signature) for signature in note.signatures if key.signed(signature)]
    return max(times) if times else None


def _cosigned_at(text: str, key: VerifierKey, signature: Signature) -> datetime:
    seconds = int.from_bytes(signature.data[:_TIMESTAMP_BYTES], "big")
    if not key.verifies(_cosigned(text, seconds), signature.data[_TIMESTAMP_BYTES:]):
        raise AuditError("audit-signature", f"the cosignature of {key.name} under the checkpoint is not its own")
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise AuditError("audit-signature", f"the cosignature of {key.name} has no time: {seconds}") from error


def _cosigned(text: str, seconds: int) -> bytes:
    """What an Ed25519 cosignature is over (tlog-cosignature, "Ed25519 signed message")."""
    return f"cosignature/v1\ntime {seconds}\n{text}".encode()
