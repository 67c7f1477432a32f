"""The authority's files.

::

    bundle.pem           roots and issuing authorities: for everybody
    root.pem  root.key   the root's certificate; its key, under a passphrase
    issuers/SITE.pem     an issuing authority's certificate; SITE.key: its key, for its controllers alone
    crl/NAME.pem         what ``root`` or a site's authority has revoked

An authority that was replaced stays as ``SITE.previous`` until what it issued has expired. Files are replaced whole or
not at all; what is secret is its owner's alone (0600, directories 0700).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from ringfort.environment.model import Network
from ringfort.identity.authority import Issuer, Root
from ringfort.identity.bundle import Bundle
from ringfort.identity.certificates import (
    CURVES,
    UNREADABLE,
    PrivateKey,
    authority_id,
    authority_key_id,
    display,
    from_pem,
    to_pem,
)
from ringfort.identity.credential import Credential
from ringfort.identity.errors import IdentityError
from ringfort.identity.pkcs8 import encrypted_pem
from ringfort.identity.revocation import Revocations, Revoked, renew_list, sign_list

SHORTEST_PASSPHRASE = 12
LARGEST = 16 * 1024 * 1024
"""Bytes of a file that is read: a revocation list of some 400,000 entries."""

_SITE = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


class Store:
    """The directory of an authority."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @classmethod
    def create(cls, directory: Path, trust_domain: str, passphrase: bytes, now: datetime) -> Store:
        """Make a root with its files. This happens once: a directory that holds a root is left alone.

        Raises:
            IdentityError: there is a root, the passphrase is too short, or the files cannot be written.
        """
        if len(passphrase) < SHORTEST_PASSPHRASE:
            message = f"a passphrase has at least {SHORTEST_PASSPHRASE} characters"
            raise IdentityError("passphrase-too-short", message, "use a few words")
        store = cls(directory)
        with _writing(directory):
            for path in (directory, directory / "issuers", directory / "crl"):
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with store._locked():
            if (directory / "root.pem").exists() or (directory / "root.key").exists():
                message = f"{directory} holds an authority, and a root is made once"
                raise IdentityError("identity-root-exists", message, "choose another directory")
            root = Root.create(trust_domain, now)
            der = root.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
            _replace(directory / "root.key", encrypted_pem(der, passphrase, os.urandom(16), os.urandom(16)), 0o600)
            life = root.certificate.not_valid_after_utc - now
            store._write_list("root", sign_list(root, 1, (), now, life))
            _replace(directory / "bundle.pem", to_pem([root.certificate]), 0o644)
            _replace(directory / "root.pem", to_pem([root.certificate]), 0o644)
        return store

    def root(self, passphrase: bytes) -> Root:
        """The root with its key.

        Raises:
            IdentityError: there is none here, or the passphrase does not open it.
        """
        key = _private_key(self.directory / "root.key", passphrase)
        return Root(self._certificate("root.pem"), key)

    def add_issuer(self, site: str, networks: Iterable[Network], passphrase: bytes, now: datetime) -> Issuer:
        """Make a site's issuing authority, or a new one in place of the old, which stays in the bundle until it ends.

        Raises:
            IdentityError: no such root, the passphrase does not open it, or it may not issue that.
        """
        if not _SITE.fullmatch(site) or site == "root":
            raise IdentityError("identity-site", f"{site!r} is not a site's name", "lower-case letters, digits and '-'")
        with self._locked():
            issuer = self.root(passphrase).issuer(site, networks, now)
            alive = [old for old in self.bundle().issuers if old.not_valid_after_utc > now]
            bundle = Bundle.of([*self.bundle().roots, *alive, issuer.certificate])
            if site in self.sites():
                self._write_issuer(f"{site}.previous", self.issuer(site))
                self._write_list(f"{site}.previous", read_list(self.directory / "crl" / f"{site}.pem"))
            self._write_issuer(site, issuer)
            self._write_list(site, sign_list(issuer, 1, (), now))
            _replace(self.directory / "bundle.pem", bundle.to_pem(), 0o644)
        return issuer

    def _write_issuer(self, name: str, issuer: Issuer) -> None:
        # The key first: a certificate is there only with its key.
        key = issuer.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        _replace(self.directory / "issuers" / f"{name}.key", key, 0o600)
        _replace(self.directory / "issuers" / f"{name}.pem", to_pem([issuer.certificate]), 0o644)

    def sites(self) -> tuple[str, ...]:
        """Sites with an issuing authority here, in order."""
        return tuple(name for name in self._issuers() if "." not in name)

    def _issuers(self) -> list[str]:
        return sorted(path.stem for path in (self.directory / "issuers").glob("*.pem"))

    def issuer(self, site: str) -> Issuer:
        """A site's issuing authority with its key.

        Raises:
            IdentityError: it is not here.
        """
        if site not in self.sites():
            hint = f"there are: {', '.join(self.sites()) or 'none'}"
            raise IdentityError("identity-no-issuer", f"no issuing authority of site {site!r} is here", hint)
        return self._issuer(site)

    def all_issuers(self) -> tuple[Issuer, ...]:
        """All the issuing authorities here, those that were replaced included.

        Raises:
            IdentityError: a key is missing, or is another's.
        """
        return tuple(self._issuer(name) for name in self._issuers())

    def _issuer(self, name: str) -> Issuer:
        key = _private_key(self.directory / "issuers" / f"{name}.key", None)
        certificate = self._certificate(f"issuers/{name}.pem")
        if certificate.public_key() != key.public_key():
            raise IdentityError("identity-key-mismatch", f"issuers/{name}.key is not the key of issuers/{name}.pem")
        return Issuer(certificate, key)

    def issuer_of(self, certificate: x509.Certificate) -> Issuer:
        """The issuing authority that signed a certificate, of today or before it was replaced.

        Raises:
            IdentityError: it is not here.
        """
        wanted = authority_key_id(certificate)
        for name in self._issuers():
            if authority_id(self._certificate(f"issuers/{name}.pem")) == wanted:
                return self._issuer(name)
        raise IdentityError("identity-no-issuer", f"who issued {display(certificate)} is not here")

    def bundle(self) -> Bundle:
        """The trust bundle.

        Raises:
            IdentityError: there is none here.
        """
        return read_bundle(self.directory / "bundle.pem")

    def revoke(
        self, authority: Issuer | Root, entries: Iterable[Revoked], now: datetime
    ) -> x509.CertificateRevocationList:
        """Put certificates on an authority's list, and sign it anew. Without entries the list is only made fresh."""
        name = "root" if isinstance(authority, Root) else self._name_of(authority)
        with self._locked():
            path = self.directory / "crl" / f"{name}.pem"
            previous = read_list(path) if path.exists() else None
            crl = renew_list(authority, previous, entries, now)
            self._write_list(name, crl)
        return crl

    def _name_of(self, issuer: Issuer) -> str:
        for name in self._issuers():
            if self._certificate(f"issuers/{name}.pem") == issuer.certificate:
                return name
        raise IdentityError("identity-no-issuer", f"{display(issuer.certificate)} is not here")

    def lists(self) -> tuple[x509.CertificateRevocationList, ...]:
        """All the signed lists here."""
        return tuple(read_list(path) for path in sorted((self.directory / "crl").glob("*.pem")))

    def revocations(self) -> Revocations:
        """What these lists say."""
        return Revocations.from_lists(self.lists(), self.bundle())

    def _write_list(self, name: str, crl: x509.CertificateRevocationList) -> None:
        _replace(self.directory / "crl" / f"{name}.pem", crl.public_bytes(Encoding.PEM), 0o644)

    def _certificate(self, name: str) -> x509.Certificate:
        return from_pem(read_file(self.directory / name))[0]

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with _writing(self.directory):
            descriptor = os.open(self.directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def read_bundle(path: Path) -> Bundle:
    """The trust bundle in a file.

    Raises:
        IdentityError: it cannot be read, or holds none.
    """
    return Bundle.from_pem(read_file(path))


def write_bundle(path: Path, bundle: Bundle) -> None:
    """Put a trust bundle in place of the one that may be there."""
    _replace(path, bundle.to_pem(), 0o644)


def read_credential(path: Path) -> Credential:
    """The key and its certificates in a file.

    Raises:
        IdentityError: it cannot be read, or holds none.
    """
    return Credential.from_pem(read_file(path))


def write_credential(path: Path, credential: Credential) -> None:
    """Put a key and its certificates in place of what may be there: whoever reads finds the old pair or the new one."""
    _replace(path, credential.to_pem(), 0o600)


def write_chain(path: Path, chain: Sequence[x509.Certificate]) -> None:
    """Put a certificate and its issuing authority's in place of what may be there."""
    _replace(path, to_pem(chain), 0o644)


def read_list(path: Path) -> x509.CertificateRevocationList:
    """The revocation list in a file; its signature is for `Revocations.from_lists` to check.

    Raises:
        IdentityError: it cannot be read, or holds none.
    """
    try:
        return x509.load_pem_x509_crl(read_file(path))
    except UNREADABLE as error:
        raise IdentityError("identity-revocation-list", f"{path} holds no revocation list: {error}") from error


def _private_key(path: Path, passphrase: bytes | None) -> PrivateKey:
    data = read_file(path)
    try:
        key = load_pem_private_key(data, passphrase)
    except TypeError as error:
        raise IdentityError("passphrase-needed", f"the key in {path} is under a passphrase") from error
    except UNREADABLE as error:
        if passphrase is not None and b"BEGIN ENCRYPTED" in data:
            raise IdentityError("passphrase-wrong", f"the passphrase does not open {path}") from error
        raise IdentityError("identity-key-unreadable", f"{path} holds no private key in PEM") from error
    if isinstance(key, PrivateKey) and isinstance(key.curve, CURVES):
        return key
    raise IdentityError("identity-key-kind", f"the key in {path} is neither P-256 nor P-384")


def read_file(path: Path) -> bytes:
    """A file, if it is not too large.

    Raises:
        IdentityError: it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(LARGEST + 1)
    except OSError as error:
        raise IdentityError("identity-unreadable", f"{path} cannot be read: {error.strerror}") from error
    if len(data) > LARGEST:
        raise IdentityError("identity-unreadable", f"{path} has more than {LARGEST} bytes")
    return data


def _replace(path: Path, content: bytes, mode: int) -> None:
    temporary = path.with_name(f".{path.name}.new")
    with _writing(path):
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        temporary.replace(path)
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise IdentityError("identity-unwritable", f"{path} cannot be written: {error.strerror}") from error
