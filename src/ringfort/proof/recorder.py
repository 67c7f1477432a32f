"""What an execution notes on its way: what each rule met, and where packets were followed both ways."""

from __future__ import annotations

from collections.abc import Iterable

from oxidd.bdd import BDDFunction

from ringfort.proof.ruleset import Chain, Doubt, Outcome, Place, Rule
from ringfort.proof.variables import Space


class Recorder:
    """Collects what rules met. Subclasses may listen to each step (see `ringfort.proof.trace`).

    Args:
        space: the variables.
        detailed: tell what each rule met. Without it, rules with the same verdict may be taken together, which is
            several times faster for long chains; results and doubts are the same.
    """

    def __init__(self, space: Space, *, detailed: bool = True) -> None:
        self.space = space
        self.doubts: dict[tuple[Place, str, Doubt, str], BDDFunction] = {}
        self.uses: dict[Place, tuple[BDDFunction, BDDFunction]] = {}
        self.detailed = detailed

    def doubt(self, place: Place, text: str, doubts: Iterable[tuple[Doubt, str]], live: BDDFunction) -> None:
        """Packets were followed both ways."""
        for doubt, reason in doubts:
            key = (place, text, doubt, reason)
            self.doubts[key] = self.doubts.get(key, self.space.false) | live

    def use(self, place: Place, reached: BDDFunction, matched: BDDFunction) -> None:
        """Packets reached a rule, and some matched."""
        if place in self.uses:
            before = self.uses[place]
            reached, matched = before[0] | reached, before[1] | matched
        self.uses[place] = (reached, matched)

    def step(self, rule: Rule, verdict: str, live: BDDFunction) -> None:
        """Packets matched all of a rule; ``verdict`` is what it did with them, "" for nothing."""

    def policy(self, chain: Chain, outcome: Outcome, live: BDDFunction) -> None:
        """No rule of a base chain decided about these packets."""
