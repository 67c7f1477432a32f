"""The way of packets through a ruleset, step by step: which rules matched and what they did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from oxidd.bdd import BDDFunction

from ringfort.proof.execute import Result, execute
from ringfort.proof.hooks import Hook
from ringfort.proof.packets import Packet, PacketSet
from ringfort.proof.recorder import Recorder
from ringfort.proof.ruleset import Chain, Outcome, Place, Rule, Ruleset
from ringfort.proof.variables import Space


@dataclass(frozen=True, slots=True)
class Step:
    """One rule that matched, or a policy that applied.

    Attributes:
        place: the rule; number 0 for a policy.
        text: the rule as an operator would write it.
        comment: its comment.
        verdict: what it did: a verdict, a translation, or "" if the packet just went on.
        all_packets: whether this happened to every packet that was asked about, and not only to some.
        certain: whether nothing before, and nothing in the rule, was followed both ways.
    """

    place: Place
    text: str
    comment: str
    verdict: str
    all_packets: bool
    certain: bool


class _Steps(Recorder):
    def __init__(self, space: Space, asked: BDDFunction) -> None:
        super().__init__(space)
        self.asked = asked
        self.steps: list[Step] = []

    def step(self, rule: Rule, verdict: str, live: BDDFunction) -> None:
        self.steps.append(Step(rule.place, rule.text, rule.comment, verdict, self._all(live), not self.doubts))

    def policy(self, chain: Chain, outcome: Outcome, live: BDDFunction) -> None:
        place = Place(chain.family, chain.table, chain.name, 0)
        self.steps.append(Step(place, f"policy {outcome}", "", outcome.value, self._all(live), not self.doubts))

    def _all(self, live: BDDFunction) -> bool:
        return not live.imp_strict(self.asked).satisfiable()


def trace(
    ruleset: Ruleset,
    hook: Hook | str | Sequence[Hook | str],
    packets: PacketSet,
    *,
    quiet: bool = False,
) -> tuple[tuple[Step, ...], Result]:
    """Follow ``packets``, usually one, through the hook or hooks.

    Returns:
        The steps in order, and the result of the execution: what became of the packets.
    """
    recorder = _Steps(packets.space, packets.function)
    result = execute(
        ruleset, hook, packets.space.universe, space=packets.space, start=packets, quiet=quiet, recorder=recorder
    )
    return tuple(recorder.steps), result


def exactly(space: Space, packet: Packet) -> PacketSet:
    """The set with this one packet in it, as far as it names its bits."""
    function = space.true
    for name, value in packet.values.items():
        function = function & space.between(space.vector(space.fields[name]), value, value)
    for place, bit in packet.other.items():
        variable = space.bit(place)
        function = function & (variable if bit else ~variable)
    return PacketSet(space, function)
