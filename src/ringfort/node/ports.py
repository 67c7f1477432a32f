"""What a node needs from elsewhere, as it sees it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ringfort.node.policy import Guard


class EnforcementPoint(Protocol):
    """Checks the callers of a host's services. It goes on when the node dies; a node that starts again adopts it.

    Every call may raise `RingfortError`.
    """

    def put(self, guard: Guard) -> None:
        """Enforce this and nothing else, and read back that it is so, without dropping connections that stand.

        Raises:
            RingfortError: it cannot; what was enforced before goes on.
        """
        ...

    def end(self) -> None:
        """Check nobody's callers any more: nobody is let in."""
        ...

    def look(self) -> tuple[str, ...]:
        """What is not as it was put, in words."""
        ...

    def counts(self) -> Mapping[str, Mapping[str, int]]:
        """By service, how often a caller was let in or refused, by reason."""
        ...

    def close(self) -> None:
        """Let go of it; it goes on."""
        ...

    def fileno(self) -> int:
        """A descriptor that poll(2) finds readable once the process has ended; -1 if there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Desired:
    """What a controller says a node should know.

    Attributes:
        version: of the environment.
        lists: another number: there are other revocation lists; None where the controller says nothing of them.
        bundle: SHA-256 of the trust bundle; "" where the controller says nothing of it.
        root: version of the approvers' root; None where the controller says nothing of it.
    """

    version: int
    lists: int | None = None
    bundle: str = ""
    root: int | None = None


class Controller(Protocol):
    """What a node asks of a controller. Every call raises `ringfort.node.errors.ControllerError` when it fails."""

    def desired(self, known: Desired, seconds: float) -> Desired:
        """What is desired, once it is not what is ``known`` any more or ``seconds`` have passed."""
        ...

    def report(self, document: dict[str, Any], *, fresh: bool) -> None:
        """Hand over a report; on a connection of its own if ``fresh``."""
        ...

    def fetch(self, path: str) -> Iterator[bytes]:
        """A file of the environment's repository, in pieces (`ringfort.publishing.fetching.Fetcher`)."""
        ...

    def renew(self, csr: str, identity: str = "") -> str:
        """A certificate for the key that made ``csr``, this node's own or that of another identity of its hosts: its
        chain, PEM."""
        ...

    def lists(self) -> bytes:
        """The revocation lists of all authorities, PEM."""
        ...

    def bundle(self) -> bytes:
        """The trust bundle, PEM."""
        ...

    def close(self) -> None:
        """Close connections."""
        ...
