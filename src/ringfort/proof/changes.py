"""What rules have changed of a packet on its way, as functions of the packet as it arrived."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from oxidd.bdd import BDDFunction

from ringfort.proof.fields import Field
from ringfort.proof.variables import Space, Vector

Bit = tuple[str, int]
"""A region and a bit of it."""

MERGE_AT = 8
"""States of one packet flow that may differ in what was changed before they are merged."""


@dataclass(frozen=True, slots=True)
class Changes:
    """The changed bits. ``unknown`` bits have a value that is not known here, with the reason."""

    bits: Mapping[Bit, BDDFunction] = field(default_factory=dict)
    unknown: Mapping[Bit, str] = field(default_factory=dict)

    def vector(self, space: Space, target: Field) -> Vector | None:
        """The present value of a field, or None if some of its bits are unknown."""
        if not self.bits and not self.unknown:
            return space.vector(target)
        original = space.vector(target)
        places = [space.place(target.region, target.offset + i) for i in range(target.width)]
        if any(place in self.unknown for place in places):
            return None
        return tuple(self.bits.get(place, bit) for place, bit in zip(places, original, strict=True))

    def why_unknown(self, space: Space, target: Field) -> str:
        """Why a field's value is not known; "" if it is."""
        if not self.unknown:
            return ""
        for i in range(target.width):
            reason = self.unknown.get(space.place(target.region, target.offset + i))
            if reason:
                return reason
        return ""

    def touches(self, space: Space, target: Field) -> bool:
        """Whether a bit of ``target`` was changed."""
        if not self.bits and not self.unknown:
            return False
        places = (space.place(target.region, target.offset + i) for i in range(target.width))
        return any(place in self.bits or place in self.unknown for place in places)

    def assign(self, space: Space, target: Field, value: Vector) -> Changes:
        """The changes after ``target`` was set to ``value``."""
        bits, unknown = dict(self.bits), dict(self.unknown)
        for i, function in enumerate(value):
            place = space.place(target.region, target.offset + i)
            unknown.pop(place, None)
            bits[place] = function
        return Changes(bits, unknown)

    def lose(self, space: Space, target: Field, reason: str) -> Changes:
        """The changes after ``target`` was set to something not known here."""
        bits, unknown = dict(self.bits), dict(self.unknown)
        for i in range(target.width):
            place = space.place(target.region, target.offset + i)
            bits.pop(place, None)
            unknown[place] = reason
        return Changes(bits, unknown)

    def without(self, places: Iterable[Bit]) -> Changes:
        """The changes with ``places`` as they were at first."""
        gone = set(places)
        return Changes(
            {place: bit for place, bit in self.bits.items() if place not in gone},
            {place: reason for place, reason in self.unknown.items() if place not in gone},
        )


@dataclass(frozen=True, slots=True)
class State:
    """Packets that are at the same point of the ruleset, with what was changed of them so far."""

    live: BDDFunction
    changes: Changes = Changes()


def merge(space: Space, states: Iterable[State]) -> list[State]:
    """As few states as keep every packet's possible values apart.

    States with equal changes are joined. When many are left, states without a common packet are joined by choosing
    each changed bit by the packet; what then still differs for one packet becomes unknown.
    """
    groups: list[State] = []
    for state in states:
        if not state.live.satisfiable():
            continue
        for i, group in enumerate(groups):
            if group.changes == state.changes:
                groups[i] = State(group.live | state.live, group.changes)
                break
        else:
            groups.append(state)
    return groups if len(groups) <= MERGE_AT else _squeeze(space, groups)


def _squeeze(space: Space, groups: list[State]) -> list[State]:
    joined: list[State] = []
    for state in groups:
        for i, other in enumerate(joined):
            if not (state.live & other.live).satisfiable():
                joined[i] = _join(space, other, state)
                break
        else:
            joined.append(state)
    while len(joined) > MERGE_AT:
        joined.append(_join(space, joined.pop(), joined.pop()))
    return joined


def _join(space: Space, a: State, b: State) -> State:
    shared = (a.live & b.live).satisfiable()
    bits: dict[Bit, BDDFunction] = {}
    unknown: dict[Bit, str] = dict(a.changes.unknown) | dict(b.changes.unknown)
    for place in {**a.changes.bits, **b.changes.bits}:
        if place in unknown:
            continue
        original = space.bit(place)
        of_a, of_b = a.changes.bits.get(place, original), b.changes.bits.get(place, original)
        if of_a == of_b:
            bits[place] = of_a
        elif shared:
            unknown[place] = "several rules may or may not have changed it"
        else:
            bits[place] = a.live.ite(of_a, of_b)
    return State(a.live | b.live, Changes(bits, unknown))
