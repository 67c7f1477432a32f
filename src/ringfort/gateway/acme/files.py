"""The files of the authority for public names.

::

    public-root.pem  public-root.key     the root; its key, under a passphrase, is needed only for the next issuer
    public-issuer.pem  public-issuer.key the issuer; its key, for the ACME server alone
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from ringfort.gateway.acme.authority import PublicIssuer, PublicRoot
from ringfort.identity.certificates import UNREADABLE, PrivateKey, from_pem, to_pem
from ringfort.identity.errors import IdentityError
from ringfort.identity.pkcs8 import encrypted_pem
from ringfort.identity.store import SHORTEST_PASSPHRASE, read_file

ROOT, ISSUER = "public-root", "public-issuer"


def create(directory: Path, owner: str, domains: Iterable[str], passphrase: bytes, now: datetime) -> PublicIssuer:
    """Make a root and its first issuer, once.

    Raises:
        RingfortError: there is one, the passphrase is too short, or the files can't be written.
    """
    if len(passphrase) < SHORTEST_PASSPHRASE:
        message = f"a passphrase has at least {SHORTEST_PASSPHRASE} characters"
        raise IdentityError("passphrase-too-short", message, "use a few words")
    root = PublicRoot.create(owner, now)
    issuer = root.issuer(domains, now)
    der = root.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    own = issuer.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(directory / f"{ROOT}.key", encrypted_pem(der, passphrase, os.urandom(16), os.urandom(16)), 0o600)
        _write(directory / f"{ROOT}.pem", to_pem([root.certificate]), 0o644)
        _write(directory / f"{ISSUER}.key", own, 0o600)
        _write(directory / f"{ISSUER}.pem", to_pem([issuer.certificate]), 0o644)
    except FileExistsError as error:
        message = f"{directory} holds an authority for public names, and one is made once"
        raise IdentityError("acme-authority-exists", message, "choose another directory") from error
    except OSError as error:
        raise IdentityError("identity-unwritable", f"{directory} can't be written: {error.strerror}") from error
    return issuer


def renew_issuer(directory: Path, domains: Iterable[str], passphrase: bytes, now: datetime) -> PublicIssuer:
    """Make another issuer in place of the one that is there, for these domains. What the old one issued stays good.

    Raises:
        RingfortError: there is no root, the passphrase does not open it, or the files can't be written.
    """
    (certificate, *_) = from_pem(read_file(directory / f"{ROOT}.pem"))
    try:
        key = load_pem_private_key(read_file(directory / f"{ROOT}.key"), passphrase)
    except UNREADABLE as error:
        raise IdentityError("passphrase-wrong", f"the passphrase does not open {directory / ROOT}.key") from error
    if not isinstance(key, PrivateKey) or key.public_key() != certificate.public_key():
        raise IdentityError("identity-key-mismatch", f"{ROOT}.key is not the key of {ROOT}.pem")
    issuer = PublicRoot(certificate, key).issuer(domains, now)
    own = issuer.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        for name, content, mode in (
            (f"{ISSUER}.key", own, 0o600),
            (f"{ISSUER}.pem", to_pem([issuer.certificate]), 0o644),
        ):
            fresh = directory / f"{name}.new"
            fresh.unlink(missing_ok=True)
            _write(fresh, content, mode)
            fresh.replace(directory / name)
    except OSError as error:
        raise IdentityError("identity-unwritable", f"{directory} can't be written: {error.strerror}") from error
    return issuer


def read(directory: Path) -> PublicIssuer:
    """The issuer with its key.

    Raises:
        IdentityError: it can't be read, or the two don't belong together.
    """
    (certificate, *_) = from_pem(read_file(directory / f"{ISSUER}.pem"))
    path = directory / f"{ISSUER}.key"
    try:
        key = load_pem_private_key(read_file(path), None)
    except UNREADABLE as error:
        raise IdentityError("identity-key-unreadable", f"{path} holds no private key in PEM") from error
    if not isinstance(key, PrivateKey) or key.public_key() != certificate.public_key():
        raise IdentityError("identity-key-mismatch", f"{path} is not the key of {ISSUER}.pem")
    return PublicIssuer(certificate, key)


def _write(path: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
