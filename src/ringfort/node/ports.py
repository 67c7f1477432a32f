"""What a node needs from elsewhere, as it sees it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from ringfort.environment.identity import IdentityCheck


class EnforcementPoint(Protocol):
    """Checks the callers of a host's services. It goes on when the node dies; a node that starts again adopts it."""

    def put(self, checks: tuple[IdentityCheck, ...]) -> None:
        """Enforce these checks and no others, without dropping connections that are still allowed.

        Raises:
            RingfortError: it cannot; those before go on being enforced.
        """
        ...

    def read(self) -> tuple[IdentityCheck, ...] | None:
        """The checks that are really enforced now; None if nothing is."""
        ...


class Controller(Protocol):
    """What a node asks of a controller. Every call raises `ringfort.node.errors.ControllerError` when it fails."""

    def desired(self, known: int, seconds: float) -> int:
        """The version in force, once it is not ``known`` any more or ``seconds`` have passed."""
        ...

    def report(self, document: dict[str, Any], *, fresh: bool) -> None:
        """Hand over a report; on a connection of its own if ``fresh``."""
        ...

    def fetch(self, path: str) -> Iterator[bytes]:
        """A file of the environment's repository, in pieces (`ringfort.publishing.fetching.Fetcher`)."""
        ...

    def close(self) -> None:
        """Close connections."""
        ...
