"""Keys that sign: files that hold them, and names for those who hold the files."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_p256
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from securesystemslib.signer import CryptoSigner, SSlibKey

from ringfort.identity.pkcs8 import encrypted_pem
from ringfort.publishing.errors import PublishingError
from ringfort.publishing.files import create_file

PrivateKey: TypeAlias = Ed25519PrivateKey | EllipticCurvePrivateKey

NAME_FIELD = "x-ringfort-name"
"""Whose key it is, in the signed root (TUF, 4.2.3: names beyond the specification's are signed, and carry no rules)."""

KINDS = ("ed25519", "p-256")
SHORTEST_PASSPHRASE = 12
LARGEST_FILE = 16 * 1024
_SEALED = b"BEGIN ENCRYPTED"
_NAME = re.compile(r"[a-z][a-z0-9.@-]{0,62}")


def generate(kind: str = "ed25519") -> PrivateKey:
    """A new key: ``ed25519`` or ``p-256``."""
    return Ed25519PrivateKey.generate() if kind == "ed25519" else generate_p256(SECP256R1())


def write_private(path: Path, key: PrivateKey, passphrase: bytes | None) -> None:
    """Write a private key for its owner's eyes (mode 0600). Without a passphrase it is written in clear.

    Raises:
        PublishingError: the file exists, or the passphrase is too short.
    """
    if passphrase is None:
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    else:
        if len(passphrase) < SHORTEST_PASSPHRASE:
            raise PublishingError(
                "passphrase-too-short", f"a passphrase has at least {SHORTEST_PASSPHRASE} characters", "use a few words"
            )
        der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        pem = encrypted_pem(der, passphrase, os.urandom(16), os.urandom(16))
    create_file(path, pem, 0o600)


def write_public(path: Path, key: PrivateKey) -> None:
    """Write the public half of a key.

    Raises:
        PublishingError: the file exists.
    """
    create_file(path, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), 0o644)


def read_signer(path: Path, passphrase: bytes | None) -> CryptoSigner:
    """The key of a private key file, ready to sign.

    Raises:
        PublishingError: the file cannot be read, needs another passphrase, or holds another kind of key.
    """
    pem = _read(path)
    sealed = _SEALED in pem
    if sealed and passphrase is None:
        raise PublishingError("passphrase-needed", f"the key in {path} is under a passphrase")
    if not sealed and passphrase is not None:
        raise PublishingError("passphrase-unused", f"the key in {path} is not under a passphrase")
    try:
        key = load_pem_private_key(pem, passphrase)
    except (TypeError, ValueError, UnsupportedAlgorithm) as error:  # a TypeError for a passphrase without a character
        message = f"the passphrase does not open {path}" if sealed else f"{path} holds no private key in PEM (PKCS #8)"
        raise PublishingError("passphrase-wrong" if sealed else "key-unreadable", message) from error
    if isinstance(key, Ed25519PrivateKey) or (
        isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1)
    ):
        return CryptoSigner(key)
    raise PublishingError("key-kind", f"the key in {path} is neither Ed25519 nor P-256", _MAKE_ONE)


def needs_passphrase(path: Path) -> bool:
    """Whether a private key file is under a passphrase.

    Raises:
        PublishingError: the file cannot be read.
    """
    return _SEALED in _read(path)


def read_public(path: Path) -> SSlibKey:
    """The key of a public key file.

    Raises:
        PublishingError: the file cannot be read, or holds another kind of key.
    """
    try:
        key = load_pem_public_key(_read(path))
    except (ValueError, UnsupportedAlgorithm) as error:
        hint = "name the .pub file" if b"PRIVATE" in _read(path) else ""
        raise PublishingError("key-unreadable", f"{path} holds no public key in PEM", hint) from error
    if isinstance(key, Ed25519PublicKey) or (
        isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1)
    ):
        return SSlibKey.from_crypto(key)
    raise PublishingError("key-kind", f"the key in {path} is neither Ed25519 nor P-256", _MAKE_ONE)


def named(key: SSlibKey, name: str) -> SSlibKey:
    """The same public key, with the name of its owner.

    Raises:
        PublishingError: that is no name.
    """
    if not _NAME.fullmatch(name):
        raise PublishingError("approver-name", f"{name!r} is no name", "lower-case letters, digits, '.', '@' and '-'")
    return SSlibKey(key.keyid, key.keytype, key.scheme, dict(key.keyval), {NAME_FIELD: name})


_MAKE_ONE = "make one with `ringfort environment key`"


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(LARGEST_FILE)
    except OSError as error:
        raise PublishingError("key-unreadable", f"{path} cannot be read: {error.strerror}") from error
