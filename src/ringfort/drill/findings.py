"""What a drill has found so far, and the result that it makes of it in the end."""

from __future__ import annotations

from dataclasses import dataclass, field

from ringfort.drill.attacks import SENTENCES, Attack
from ringfort.drill.cells import Cell
from ringfort.drill.result import Delivered, Disagreement, DrillResult, Exercise, Observation
from ringfort.drill.volley import Outcome

FIRST_REFUSED = "first refused by"
"""How a disagreement about the first refuser begins."""


@dataclass(slots=True)
class Findings:
    """Grows while a drill runs.

    Attributes:
        situations: what was taken away, one after the other.
        skipped: probes that a failure can't affect. ``compared``: probes that were compared with the proof one by one.
    """

    situations: list[str] = field(default_factory=list)
    exercises: list[Exercise] = field(default_factory=list)
    observations: list[Observation] = field(default_factory=list)
    delivered: list[Delivered] = field(default_factory=list)
    disagreements: list[Disagreement] = field(default_factory=list)
    skipped: int = 0
    compared: int = 0
    _cells: dict[tuple[Attack, str], Outcome] = field(default_factory=dict)

    def cell(self, attack: Attack, situation: str) -> Outcome:
        """Where the outcomes of an attack in a situation are added up."""
        return self._cells.setdefault((attack, situation), Outcome())

    def got_through(self, found: Delivered, proof: str) -> None:
        """Something undeclared got through; unless the proof had predicted it, the two disagree."""
        self.delivered.append(found)
        if not found.predicted:
            self.disagreements.append(Disagreement(found.attack, found.failure, found.probe, proof, found.evidence))

    def result(self, environment: str, seconds: float, *, is_sample: bool) -> DrillResult:
        """All of it, with the drill's own accounts."""
        cells = tuple(
            Cell(
                attack, situation, outcome.sent, dict(outcome.refused_by), len(outcome.delivered), dict(outcome.reasons)
            )
            for (attack, situation), outcome in self._cells.items()
        )
        return DrillResult(
            environment,
            dict(SENTENCES),
            tuple(self.situations),
            cells,
            tuple(self.exercises),
            (*self.observations, *self._accounts(cells)),
            tuple(self.delivered),
            tuple(self.disagreements),
            self.skipped,
            seconds,
            self._notes(is_sample=is_sample),
        )

    def _accounts(self, cells: tuple[Cell, ...]) -> list[Observation]:
        missing = sum(cell.unexplained for cell in cells)
        words = f"{missing} probes were counted by nobody" if missing else "each probe was counted by what refused it"
        found = [Observation("accounting", not missing, words)]
        if self.compared:
            words = (
                f"{self.compared} probes fired by themselves were refused by the mechanism that the proof names first"
            )
            held = not any(seen.proof.startswith(FIRST_REFUSED) for seen in self.disagreements)
            found.append(Observation("agreement", held, words))
        return found

    def _notes(self, *, is_sample: bool) -> tuple[str, ...]:
        background = sum(outcome.background for outcome in self._cells.values())
        notes = [f"{background} packets that were no probes met a counter and were taken out"] if background else []
        if is_sample:
            notes.append("each host attacked its own segment and a spread of the others, because there are many")
        return tuple(notes)
