"""What the proof says of a single packet, so that a drill can contradict it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ringfort.drill.attacks import Probe
from ringfort.drill.failures import Failure


@dataclass(frozen=True, slots=True)
class Opinion:
    """Whether a packet passes, and why not."""

    passes: bool
    words: str


class Judge(Protocol):
    """What a drill asks of a proof."""

    @property
    def proves_open(self) -> bool:
        """Whether every declared flow is proved to be possible."""

    def opinion(self, probe: Probe, failure: Failure | None) -> Opinion:
        """Whether an undeclared packet gets through when the failure has happened."""


class Promise:
    """The judge that needs no proof: every flow works, and nothing undeclared passes, whatever one failure there is."""

    @property
    def proves_open(self) -> bool:
        """Promised of every environment."""
        return True

    def opinion(self, probe: Probe, failure: Failure | None) -> Opinion:
        """Undeclared packets never pass."""
        when = f" when {failure} fails" if failure is not None else ""
        return Opinion(passes=False, words=f"nothing undeclared passes{when}: {probe.target} must not be reached")
