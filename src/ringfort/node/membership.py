"""The node's own identity: its key, its certificate and the authorities it believes, on the disk and in connections.

A certificate is renewed at two thirds of its life, with a new key. Connections that stand go on; the next one shows
the new certificate. One that has ended cannot be renewed: the node goes on enforcing, and has to be enrolled again.
Authorities and revocation lists are taken from controllers as far as they prove themselves.
"""

from __future__ import annotations

import contextlib
import hashlib
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from ringfort.environment.model import Address
from ringfort.errors import RingfortError
from ringfort.identity import store, tls
from ringfort.identity.bundle import Bundle
from ringfort.identity.certificates import PrivateKey, from_pem, new_key
from ringfort.identity.credential import Credential, renew_at
from ringfort.identity.errors import IdentityError
from ringfort.identity.learning import extended
from ringfort.identity.names import Identity, Role
from ringfort.identity.requests import write_request
from ringfort.identity.verification import exactly, roles, verify
from ringfort.node import clock
from ringfort.node.errors import ControllerError
from ringfort.node.trusting import newest
from ringfort.publishing.files import replace_file

RETRY_RENEWAL = timedelta(minutes=1)


class Renewing(Protocol):
    """A controller that gives certificates."""

    def renew(self, csr: str) -> str:
        """The chain (PEM) for the key that made ``csr``."""
        ...


class Trusted(Protocol):
    """A controller that says which issuing authorities there are, and what they have revoked."""

    def bundle(self) -> bytes:
        """The trust bundle (PEM)."""
        ...

    def lists(self) -> bytes:
        """The revocation lists (PEM)."""
        ...


def roots_file(directory: Path) -> Path:
    """Where the roots stand alone, for what verifies chains by itself (HAProxy)."""
    return directory / "roots.pem"


def lists_file(directory: Path) -> Path:
    """Where the revocation lists are."""
    return directory / "revoked.pem"


class Membership:
    """A directory with ``node.pem`` (certificates and key) and ``bundle.pem``, and what controllers add to it.

    Args:
        replacing: surrounds the replacement of files that enforcement points read.

    Raises:
        IdentityError: they are not there or cannot be read.
    """

    def __init__(
        self,
        directory: Path,
        identity: Identity,
        replacing: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
        now: Callable[[], datetime] = clock.now,
    ) -> None:
        self._directory = directory
        self._path = directory / "node.pem"
        self._bundle_path = directory / "bundle.pem"
        self._replacing = replacing
        self._now = now
        self._lock = threading.Lock()
        self.identity = identity
        self._use(store.read_credential(self._path), store.read_bundle(self._bundle_path))
        if self.credential.identity != identity:
            message = f"the certificate in {directory} is {self.credential.identity.uri}'s, this node is {identity.uri}"
            raise IdentityError("identity-other-node", message, "enrol this node, or correct its configuration")

    def _use(self, credential: Credential, bundle: Bundle) -> None:
        self.credential, self.bundle = credential, bundle
        self._context = tls.client_context(credential, bundle)
        self._renew_at = renew_at(credential.leaf)

    def connect(self, address: Address, port: int, seconds: float) -> ssl.SSLSocket:
        """A connection to a controller, verified; see `ringfort.node.client.Connect`."""
        return connect(self._context, self.bundle, address, port, seconds, self._now())

    def expires(self) -> str:
        """When the certificate ends."""
        return self.credential.leaf.not_valid_after_utc.isoformat(timespec="seconds")

    def renew_if_due(self, controller: Renewing) -> None:
        """Renew the certificate if it is time to.

        Raises:
            ControllerError: the controller did not give one; it is asked again in a minute.
        """
        if self._now() < self._renew_at:
            return
        self._renew_at = self._now() + RETRY_RENEWAL
        key = new_key()
        credential = credential_of(controller.renew(request(key)), key, self.identity, self.bundle, self._now())
        try:
            store.write_credential(self._path, credential)
        except RingfortError as error:
            raise ControllerError("not-renewed", f"the new certificate cannot be kept: {error.message}") from error
        with self._lock:
            self._use(credential, self.bundle)

    def learn(self, controller: Trusted, digest: str = "") -> None:
        """Ask which issuing authorities there are, unless that is known, and believe in those that the own root signed;
        then, what they have revoked.

        Args:
            digest: of the controller's bundle, as far as it has said.

        Raises:
            ControllerError: the controller did not say, or the files cannot be kept.
        """
        try:
            bundle = self.bundle
            if digest != hashlib.sha256(bundle.to_pem()).hexdigest():
                bundle = extended(bundle, from_pem(controller.bundle()), self._now())
            if bundle != self.bundle:
                store.write_bundle(self._bundle_path, bundle)
                with self._lock:
                    self._use(self.credential, bundle)
            file = lists_file(self._directory)
            lists = newest(file.read_bytes() if file.exists() else b"", controller.lists(), bundle)
            with self._replacing():
                replace_file(roots_file(self._directory), bundle.roots_pem(), 0o600)
                replace_file(file, lists, 0o600)
        except (IdentityError, OSError) as error:
            raise ControllerError("bad-trust", f"what the controller says of authorities: {error}") from error


def connect(
    context: ssl.SSLContext, bundle: Bundle, address: Address, port: int, seconds: float, now: datetime
) -> ssl.SSLSocket:
    """A connection to a controller: TLS 1.3, and the other side has proved to be a controller at this address.

    Raises:
        OSError: nobody answers, or the handshake fails.
        IdentityRefused: somebody else answers.
    """
    opened = socket.create_connection((str(address), port), timeout=seconds)
    try:
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        secured = context.wrap_socket(opened)
    except OSError:
        opened.close()
        raise
    try:
        tls.peer(secured, address, bundle, now, expected=roles(Role.CONTROLLER))
    except BaseException:
        secured.close()
        raise
    return secured


def request(key: PrivateKey) -> str:
    """A request for a certificate (PKCS #10, PEM): who it is for, the controller knows."""
    return write_request(key).decode()


def credential_of(chain: str, key: PrivateKey, identity: Identity, bundle: Bundle, now: datetime) -> Credential:
    """The credential that a controller's answer makes with a key.

    Raises:
        ControllerError: it is another's certificate, for another key, or not valid here and now.
    """
    with contextlib.suppress(IdentityError):
        credential = Credential(key, from_pem(chain.encode()))
        verify(credential.leaf, credential.chain[1:], bundle, now, expected=exactly([identity.uri]))
        return credential
    raise ControllerError("bad-certificate", "the controller gave a certificate that is not this node's, or not valid")


def create(directory: Path, credential: Credential, bundle: Bundle) -> None:
    """Put the files of a node that has just been enrolled."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    store.write_bundle(directory / "bundle.pem", bundle)
    store.write_credential(directory / "node.pem", credential)
