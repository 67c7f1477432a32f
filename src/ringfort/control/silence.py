"""Which nodes give no sign of life: told by what one controller sees itself, on its own clock.

Times of others are not compared: clocks differ, and a time in the database says nothing about whether a sign could have
been written. Each controller watches a number that grows with every sign. What it doesn't see, because the database
doesn't answer or it was asleep itself, counts for `LONGEST_LOOK` at most, and a controller that has just begun has
missed nobody yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

LOST_SECONDS = 8.0
"""Without a sign of life for so long a node is lost: four reports that didn't come."""

LONGEST_LOOK = 2.0
"""Seconds between two looks that count: more than a controller that is well takes."""


@dataclass(slots=True)
class Silence:
    """How long nodes have been silent, as far as was seen."""

    _looked: float | None = None
    _seen: dict[str, int] = field(default_factory=dict)
    _silent: dict[str, float] = field(default_factory=dict)

    def look(self, beats: Mapping[str, int], now: float) -> dict[str, int]:
        """Take what is known now; the nodes that are lost, with the number at which they fell silent.

        Args:
            beats: the number of each node that isn't lost already.
            now: on a clock that only goes forward, in seconds.
        """
        passed = 0.0 if self._looked is None else min(now - self._looked, LONGEST_LOOK)
        self._silent = {
            node: self._silent.get(node, 0.0) + passed if self._seen.get(node) == number else 0.0
            for node, number in beats.items()
        }
        self._looked, self._seen = now, dict(beats)
        return {node: beats[node] for node, seconds in self._silent.items() if seconds >= LOST_SECONDS}
