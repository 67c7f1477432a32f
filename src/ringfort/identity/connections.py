"""Connections that stand: who is on the other side, and how to end one whose certificate is revoked meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cryptography import x509

from ringfort.environment.model import Address
from ringfort.identity.names import Identity
from ringfort.identity.revocation import Revocations


@dataclass(frozen=True, slots=True)
class Peer:
    """The other side of a connection, as it was verified when it was opened."""

    identity: Identity
    address: Address | None
    certificate: x509.Certificate
    issuer: x509.Certificate

    def revoked(self, revocations: Revocations) -> bool:
        """Whether its certificate, or the authority that issued it, is revoked."""
        return revocations.is_revoked(self.certificate) or revocations.is_revoked(self.issuer)


class Connections:
    """All the connections of one server. Not for several threads at once."""

    def __init__(self) -> None:
        self._standing: dict[int, tuple[Peer, Callable[[], None]]] = {}
        self._next = 0

    def opened(self, peer: Peer, close: Callable[[], None]) -> int:
        """Remember a connection; ``close`` has to end it at once. Gives the handle for `closed`."""
        self._next += 1
        self._standing[self._next] = (peer, close)
        return self._next

    def closed(self, handle: int) -> None:
        """Forget a connection that has ended."""
        self._standing.pop(handle, None)

    def __len__(self) -> int:
        return len(self._standing)

    def end_revoked(self, revocations: Revocations) -> tuple[Peer, ...]:
        """End every connection whose certificate, or whose certificate's authority, is revoked; call it after a poll.

        A list that is out of date ends nothing here: no new connection is accepted then, and what stands was verified.
        """
        ended = [handle for handle, (peer, _) in self._standing.items() if peer.revoked(revocations)]
        return tuple(self._end(handle) for handle in ended)

    def _end(self, handle: int) -> Peer:
        peer, close = self._standing.pop(handle)
        close()
        return peer
