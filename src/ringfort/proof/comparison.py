"""Two rulesets side by side: does the second accept the same packets, more, or fewer?"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ringfort.proof.execute import DoubtAt, Result, execute
from ringfort.proof.fields import Universe
from ringfort.proof.hooks import Hook, hooks
from ringfort.proof.packets import PacketSet
from ringfort.proof.ruleset import Ruleset
from ringfort.proof.variables import Space


class Relation(StrEnum):
    """How what the second ruleset accepts relates to what the first accepts."""

    EQUAL = "equal"
    NARROWER = "narrower"
    WIDER = "wider"
    DIFFERENT = "different"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class HookComparison:
    """One hook and universe.

    ``added`` packets are accepted by the second ruleset and refused by the first, ``removed`` the other way round,
    both whatever the unknown turns out to be. ``open_packets`` may differ, depending on ``doubts``.
    """

    hook: Hook
    universe: Universe
    relation: Relation
    domain: PacketSet
    added: PacketSet
    removed: PacketSet
    open_packets: PacketSet
    doubts: tuple[DoubtAt, ...]


def compare(first: Ruleset, second: Ruleset) -> tuple[HookComparison, ...]:
    """Compare at every hook that one of them uses, in every universe that comes there."""
    both = list(dict.fromkeys([*hooks(first), *hooks(second)]))
    spaces: dict[Universe, Space] = {}
    found: list[HookComparison] = []
    for hook in both:
        for universe in hook.universes:
            if universe not in spaces:
                spaces[universe] = Space(universe)
            found.append(_at_hook(first, second, hook, universe, spaces[universe]))
    return tuple(found)


def _at_hook(first: Ruleset, second: Ruleset, hook: Hook, universe: Universe, space: Space) -> HookComparison:
    one = execute(first, hook, universe, space=space, details=False)
    two = execute(second, hook, universe, space=space, details=False)
    added, removed = two.must - one.may, one.must - two.may
    if one.may == two.may and one.must == two.must and _same_doubts(one, two):
        open_packets = added  # nothing: the same statements decide about the same packets in both
    else:
        open_packets = ((two.may - one.must) | (one.may - two.must)) - added - removed
    doubts = tuple(doubt for doubt in (*one.doubts, *two.doubts) if doubt.packets.overlaps(open_packets))
    relation = _relation(added, removed, open_packets, one, two)
    return HookComparison(hook, universe, relation, one.domain, added, removed, open_packets, doubts)


def _same_doubts(one: Result, two: Result) -> bool:
    def told(result: Result) -> set[tuple[str, PacketSet]]:
        torn = result.may - result.must
        return {(doubt.text, doubt.packets & torn) for doubt in result.doubts if doubt.packets.overlaps(torn)}

    return told(one) == told(two)


def _relation(added: PacketSet, removed: PacketSet, open_packets: PacketSet, one: Result, two: Result) -> Relation:
    if added and removed:
        return Relation.DIFFERENT
    if not open_packets:
        return Relation.WIDER if added else Relation.NARROWER if removed else Relation.EQUAL
    if added:
        return Relation.WIDER if one.may <= two.must else Relation.DIFFERENT
    if removed:
        return Relation.NARROWER if two.may <= one.must else Relation.DIFFERENT
    return Relation.UNKNOWN


def overall(comparisons: tuple[HookComparison, ...]) -> Relation:
    """One word for all hooks together."""
    relations = {comparison.relation for comparison in comparisons} - {Relation.EQUAL}
    if not relations:
        return Relation.EQUAL
    if Relation.DIFFERENT in relations or {Relation.WIDER, Relation.NARROWER} <= relations:
        return Relation.DIFFERENT
    if Relation.UNKNOWN in relations and len(relations) > 1:
        return Relation.DIFFERENT
    return relations.pop()
