"""Certificates of public names on a gateway host: customers' own, fetched; the platform's, for keys that are made here.

All are in the runtime directory, which is memory: nothing of them outlives the machine's restart. For one thread, but
for `file`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ringfort.errors import RingfortError
from ringfort.identity.certificates import UNREADABLE, new_key
from ringfort.identity.credential import renew_at
from ringfort.node import clock, membership
from ringfort.node.errors import ControllerError
from ringfort.node.material import Material
from ringfort.node.public import Public
from ringfort.publishing.files import replace_file

RETRY = timedelta(seconds=30)
"""How long after a certificate could not be had it is asked for again."""

LONGEST_NAME = 100
OWN, PLATFORM = "own", "platform"


class Source(Protocol):
    """Where they come from. Every call raises `ringfort.node.errors.ControllerError` when it fails."""

    def own_certificate(self, name: str) -> bytes:
        """A customer's own, with its key, PEM."""
        ...

    def platform_certificate(self, name: str, csr: str) -> str:
        """One of the platform's for the key that made ``csr``: its chain, PEM."""
        ...


class PublicCertificates:
    """Those that are wanted."""

    def __init__(self, runtime: Path, material: Material, now: Callable[[], datetime] = clock.now) -> None:
        self._directory = runtime / "public"
        self._material, self._now = material, now
        self._again: dict[str, datetime] = {}
        self._due: dict[Path, tuple[str, datetime]] = {}
        self._own: frozenset[str] = frozenset()

    def file(self, name: str) -> str:
        """The file of a name's certificate and key; "" while there is none. From any thread."""
        path = self._path(OWN if name in self._own else PLATFORM, name)
        return str(path) if path.exists() else ""

    def bring(self, public: Public, source: Source) -> dict[str, str]:
        """Get those that are missing, others', or past two thirds of their life; forget those that nobody wants.

        Returns:
            Names whose certificate could not be had, and why.
        """
        self._own = frozenset(public.own)
        failed: dict[str, str] = {}
        for name, path, get in self._lacking(public, source):
            try:
                content = get()
                leaf = x509.load_pem_x509_certificate(content)
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                with self._material.replaced():
                    replace_file(path, content, 0o600)
                self._due[path] = (_digest(leaf), renew_at(leaf))
                self._again.pop(name, None)
            except (RingfortError, OSError, *UNREADABLE) as error:
                failed[name] = error.message if isinstance(error, RingfortError) else str(error)
                self._again[name] = self._now() + RETRY
        self._forget(public)
        return failed

    def _lacking(self, public: Public, source: Source) -> Iterator[tuple[str, Path, Callable[[], bytes]]]:
        for name, digest in public.own.items():
            path = self._path(OWN, name)
            if self._known(path)[0] != digest and self._is_time(name):
                yield name, path, lambda name=name: source.own_certificate(name)  # type: ignore[misc]
        for name in public.platform:
            path = self._path(PLATFORM, name)
            if self._known(path)[1] <= self._now() and self._is_time(name):
                yield name, path, lambda name=name: _issued(name, source)  # type: ignore[misc]

    def _is_time(self, name: str) -> bool:
        return name not in self._again or self._again[name] <= self._now()

    def _known(self, path: Path) -> tuple[str, datetime]:
        """Digest of the certificate in a file, and when it is due; of none where there is no such file."""
        if not path.exists():
            self._due.pop(path, None)
            return "", datetime.min.replace(tzinfo=UTC)
        if path not in self._due:
            try:
                leaf = x509.load_pem_x509_certificate(path.read_bytes())
            except (OSError, *UNREADABLE):
                return "", datetime.min.replace(tzinfo=UTC)
            self._due[path] = (_digest(leaf), renew_at(leaf))
        return self._due[path]

    def _forget(self, public: Public) -> None:
        """Keys that nobody needs are nobody's to find."""
        wanted = {self._path(OWN, name) for name in public.own} | {self._path(PLATFORM, n) for n in public.platform}
        for kind in (OWN, PLATFORM):
            for path in (self._directory / kind).glob("*.pem"):
                if path not in wanted:
                    path.unlink(missing_ok=True)
                    self._due.pop(path, None)

    def _path(self, kind: str, name: str) -> Path:
        short = name if len(name) <= LONGEST_NAME else hashlib.sha256(name.encode()).hexdigest()
        return self._directory / kind / f"{short}.pem"


def _issued(name: str, source: Source) -> bytes:
    key = new_key()
    chain = source.platform_certificate(name, membership.request(key)).encode()
    if x509.load_pem_x509_certificate(chain).public_key() != key.public_key():
        raise ControllerError("bad-certificate", "the controller gave a certificate for another key")
    return chain + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _digest(leaf: x509.Certificate) -> str:
    return leaf.fingerprint(hashes.SHA256()).hex()
