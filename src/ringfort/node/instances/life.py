"""What is known of how an instance is, and what follows from it. Pure: the time is an argument.

An instance is told another version, or to go: it drains first, because whoever sends it requests has to hear of it. One
that ends by itself is started again, each time later.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

DRAIN_SECONDS = 5.0
"""From when an instance is to stop until it is stopped: gateways have let it go by then, and finished what they had."""

AGAIN_SECONDS = (1.0, 60.0)
"""How long after its end an instance is started again: the first time, and at most; twice as long each time."""

STEADY_SECONDS = 60.0
"""An instance that was well for so long has no past."""

HASTE_SECONDS = 0.25
"""Between two looks at an instance that isn't healthy yet."""


class State(StrEnum):
    """How an instance is, in the words of the controller's API."""

    STARTING = "starting"
    RUNNING = "running"
    UNHEALTHY = "unhealthy"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(slots=True)
class Backoff:
    """When an instance that ended is started again."""

    seconds: float = AGAIN_SECONDS[0]
    again: float = 0.0

    def ended(self, now: float, lived: float) -> float:
        """It ended, after having been well for so many seconds; how many seconds it waits."""
        if lived >= STEADY_SECONDS:
            self.seconds = AGAIN_SECONDS[0]
        wait, self.seconds = self.seconds, min(2 * self.seconds, AGAIN_SECONDS[1])
        self.again = now + wait
        return wait


@dataclass(frozen=True, slots=True)
class Terms:
    """When an instance counts as healthy: see ``health`` in ``app.yaml``. ``port`` 0: while its process runs."""

    port: int = 0
    path: str = ""
    interval: float = 5.0
    timeout: float = 2.0
    healthy_after: int = 1
    unhealthy_after: int = 3
    start: float = 60.0


@dataclass(slots=True)
class Health:
    """How healthy an instance is, from answers. ``since``: when it began to be in its state; ``due``: the next look."""

    terms: Terms
    since: float
    state: State = State.STARTING
    due: float = 0.0
    _row: int = 0
    """Answers of one kind in a row: good ones if positive, bad ones if negative."""

    def __post_init__(self) -> None:
        if not self.terms.port:
            self.state = State.RUNNING

    def hear(self, is_good: bool, now: float) -> None:
        """An answer."""
        self._row = max(self._row, 0) + 1 if is_good else min(self._row, 0) - 1
        if self._row >= self.terms.healthy_after:
            self._be(State.RUNNING, now)
        elif self._is_bad_enough(now):
            self._be(State.UNHEALTHY, now)
        self.due = now + (self.terms.interval if self.state is State.RUNNING else HASTE_SECONDS)

    def is_hopeless(self, now: float) -> bool:
        """Whether it has been unhealthy for as long as a start may take: another start is better."""
        return self.state is State.UNHEALTHY and now - self.since >= self.terms.start

    def _is_bad_enough(self, now: float) -> bool:
        if self.state is State.STARTING:
            return now - self.since >= self.terms.start
        return self.state is State.RUNNING and -self._row >= self.terms.unhealthy_after

    def _be(self, state: State, now: float) -> None:
        if self.state is not state:
            self.state, self.since = state, now
