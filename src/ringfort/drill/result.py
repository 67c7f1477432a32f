"""What a drill found: values that print, serialise and compare.

Words: a *probe* is one packet (or one TLS connection) that should be refused; an *attack* is a kind of probe; a
*failure* is one mechanism taken away. A *cell* is one attack under one failure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ringfort.drill.cells import EVERYTHING_ON, RESTORED, Cell, Matrix, matrix_of

HELD = 0
GOT_THROUGH = 1
DISAGREES = 4
"""Exit codes: all held; something got through (and the proof had said so); drill and proof disagree."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """One undeclared probe that got through.

    ``predicted`` is true when the proof says that under this failure nothing refuses it.
    """

    attack: str
    failure: str
    probe: str
    evidence: str
    predicted: bool


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Where drill and proof contradict each other: an error of Ringfort, or rules changed during the drill."""

    attack: str
    failure: str
    probe: str
    proof: str
    drill: str


@dataclass(frozen=True, slots=True)
class Exercise:
    """Declared flows really used: ``situation`` says which routers were active or what was taken away."""

    situation: str
    tried: int
    worked: int
    failed: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Observation:
    """Something the drill showed that is not a matter of one cell (scan detection, connection limits)."""

    name: str
    held: bool
    words: str


@dataclass(frozen=True, slots=True)
class DrillResult:
    """The whole drill.

    ``attacks`` maps each attack's key to its sentence, ``skipped`` counts probes that a failure can't affect.
    """

    environment: str
    attacks: Mapping[str, str]
    failures: tuple[str, ...]
    cells: tuple[Cell, ...]
    exercises: tuple[Exercise, ...]
    observations: tuple[Observation, ...]
    delivered: tuple[Delivered, ...]
    disagreements: tuple[Disagreement, ...]
    skipped: int
    seconds: float
    notes: tuple[str, ...] = ()

    @property
    def probes(self) -> int:
        """Undeclared probes sent."""
        return sum(cell.probes for cell in self.cells)

    @property
    def got_through(self) -> int:
        """Probes that got through."""
        return sum(cell.delivered for cell in self.cells)

    @property
    def single_failures(self) -> int:
        """How many failures were drilled, one at a time."""
        return sum(failure not in (EVERYTHING_ON, RESTORED) for failure in self.failures)

    @property
    def tried(self) -> int:
        """Declared connections that were tried."""
        return sum(exercise.tried for exercise in self.exercises)

    @property
    def worked(self) -> int:
        """Declared connections that worked."""
        return sum(exercise.worked for exercise in self.exercises)

    @property
    def exit_code(self) -> int:
        """0 held, 1 something broke as the proof had said, 4 drill and proof disagree."""
        if self.disagreements:
            return DISAGREES
        broken = self.delivered or any(exercise.failed for exercise in self.exercises)
        return GOT_THROUGH if broken or not all(seen.held for seen in self.observations) else HELD

    @property
    def verdict(self) -> str:
        """The result in few words."""
        if self.disagreements:
            return "drill and proof disagree"
        if self.delivered:
            return "something got through"
        return "everything held" if self.exit_code == HELD else "not everything held"

    @property
    def matrix(self) -> Matrix:
        """The cells summed up: attacks against kinds of failures."""
        return matrix_of(self.attacks, self.failures, self.cells)

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``json.dumps``."""
        return {
            "environment": self.environment,
            "exit_code": self.exit_code,
            "probes": self.probes,
            "skipped": self.skipped,
            "attacks": dict(self.attacks),
            "failures": list(self.failures),
            "cells": [{**asdict(cell), "refused_by": dict(cell.refused_by)} for cell in self.cells],
            "exercises": [asdict(exercise) for exercise in self.exercises],
            "observations": [asdict(seen) for seen in self.observations],
            "delivered": [asdict(probe) for probe in self.delivered],
            "disagreements": [asdict(found) for found in self.disagreements],
            "notes": list(self.notes),
            "seconds": round(self.seconds, 3),
        }
