"""Exact symbolic execution: a set of packets goes through the rules, all at once.

A match cuts the set in two: what matches goes on in the rule, what does not goes to the next rule. A packet must be
accepted by every base chain of its hook, in order of priority; ``accept`` goes on to the next chain, ``drop`` is final.
Statements that change packets are applied as functions of the packet as it arrived, so every answer speaks of packets
as they arrive.

What cannot be decided from the packet is followed both ways. So every packet has at least one outcome, and
*may* be accepted if some way accepts it, *must* be accepted if no way drops it. `Result.doubts` says where ways parted.

The questions are about the first packet of a connection where address translation is concerned: nat chains see no
other (nf_nat_inet_fn).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from oxidd.bdd import BDDFunction
from oxidd.util import DDMemoryError

from ringfort.proof.changes import Changes, State, merge
from ringfort.proof.evaluate import Evaluator
from ringfort.proof.fields import Field, Universe
from ringfort.proof.hooks import Hook, chains_at, possible
from ringfort.proof.opaque import Opaque, OpaqueTable, opaque_bound
from ringfort.proof.packets import Interval, PacketSet
from ringfort.proof.recorder import Recorder
from ringfort.proof.rewrite import forwarded
from ringfort.proof.ruleset import Doubt, Place, Ruleset
from ringfort.proof.variables import Space, TooLargeError
from ringfort.proof.walk import Walk


@dataclass(frozen=True, slots=True)
class DoubtAt:
    """A statement that was followed both ways, and the packets that met it (as they arrived)."""

    place: Place
    text: str
    doubt: Doubt
    reason: str
    packets: PacketSet


@dataclass(frozen=True, slots=True)
class RuleUse:
    """What a rule met: the packets that reached it and those for which all its matches may hold.

    ``place.number`` 0 is the policy of a base chain.
    """

    place: Place
    reached: PacketSet
    matched: PacketSet


@dataclass(frozen=True, slots=True)
class Term:
    """A part of a set over opaque variables: the ``packets`` for which all of ``true`` and none of ``false`` hold.

    ``false`` leaves out the variables that a variable in ``true`` excludes anyway.
    """

    true: frozenset[int]
    false: frozenset[int]
    packets: PacketSet


@dataclass(frozen=True, slots=True)
class Result:
    """What an execution found.

    Attributes:
        hooks: the hooks the packets went through, in order.
        domain: the packets that were asked about: those that can exist at the first hook and were in ``start``.
        may: those that may be accepted at every hook.
        must: those that are accepted at every hook whatever the unknown turns out to be.
        doubts: where packets were followed both ways, in order of the ruleset.
        uses: what each rule that was reached met.
        opaque: the opaque variables, if asked for.
        accepted: the accepted packets with what was changed of them.
    """

    space: Space
    hooks: tuple[Hook, ...]
    domain: PacketSet
    may: PacketSet
    must: PacketSet
    doubts: tuple[DoubtAt, ...]
    uses: tuple[RuleUse, ...]
    opaque: tuple[Opaque, ...] = ()
    accepted: tuple[State, ...] = field(default=(), repr=False)

    @property
    def certain(self) -> bool:
        """Whether every packet's fate is known."""
        return self.may == self.must

    def leaving_with(self, target: Field, *intervals: Interval) -> PacketSet:
        """The accepted packets, as they arrived, whose ``target`` may lie in ``intervals`` when they leave.

        Address translation and marks count: for a packet sent to a published address, ``daddr`` is the host it was
        translated to.
        """
        found = self.space.false
        for state in self.accepted:
            vector = state.changes.vector(self.space, target)
            inside = (
                self.space.true
                if vector is None
                else self.space.union(self.space.between(vector, low, high) for low, high in intervals)
            )
            found = found | (state.live & inside)
        return PacketSet(self.space, found)

    def unchanged(self, target: Field) -> PacketSet:
        """The accepted packets whose ``target`` leaves as it arrived."""
        found = self.space.false
        for state in self.accepted:
            vector = state.changes.vector(self.space, target)
            if vector is not None:
                found = found | (state.live & self.space.equal(vector, self.space.vector(target)))
        return PacketSet(self.space, found)

    def terms(self, packets: PacketSet) -> Iterator[Term]:
        """``packets`` as disjoint parts, each a conjunction of opaque variables and a set over plain fields."""
        lookups = {entry.number: entry.lookup for entry in self.opaque}
        for true, false, rest in _terms(packets, self.space.opaque_count):
            taken = {lookups[number] for number in true}
            if len(taken) < len(true):
                continue  # two variables of one lookup: no packet
            yield Term(true, frozenset(n for n in false if lookups[n] not in taken), rest)


def _terms(packets: PacketSet, count: int) -> Iterator[tuple[frozenset[int], frozenset[int], PacketSet]]:
    stack: list[tuple[BDDFunction, frozenset[int], frozenset[int]]] = [(packets.function, frozenset(), frozenset())]
    while stack:
        function, true, false = stack.pop()
        if not function.satisfiable():
            continue
        variable = function.node_var()
        if variable is None or variable >= count:
            yield true, false, PacketSet(packets.space, function)
            continue
        cofactors = function.cofactors()
        assert cofactors is not None
        stack.append((cofactors[1], true, false | {variable}))
        stack.append((cofactors[0], true | {variable}, false))


def execute(
    ruleset: Ruleset,
    hook: Hook | str | Sequence[Hook | str],
    universe: Universe = Universe.IP,
    *,
    space: Space | None = None,
    start: PacketSet | None = None,
    opaque: bool = False,
    quiet: bool = False,
    details: bool = True,
    recorder: Recorder | None = None,
) -> Result:
    """Send packets through the base chains of a hook, or of several hooks one after the other.

    Args:
        ruleset: what is loaded.
        hook: one hook (a string is a hook of the IP layer), or the hooks of a way through the machine, such as
            ``("prerouting", "forward", "postrouting")``; what one hook changes, the next sees.
        universe: which packets.
        space: the variables to use, so that results can be compared; made when not given.
        start: ask about these packets only.
        opaque: make each lookup in a named set or map an opaque variable (see `ringfort.proof.opaque`) where the key
            has not been changed and the set does not depend on state. Without ``space`` one of the right size is made.
        quiet: resolve what depends on state as when nothing unusual happens: limits not exceeded, sets as listed.
        details: fill `Result.uses`; without it long chains execute several times faster.
        recorder: gets each step, for `ringfort.proof.trace`.

    Raises:
        TooLargeError: the sets do not fit into memory.
        RulesetError: chains lead into each other without end.
    """
    hooks = tuple(_hooks(hook))
    if space is None:
        space = Space(universe, opaque_bound(ruleset) if opaque else 0)
    try:
        return _execute(ruleset, hooks, space, start, opaque, quiet, recorder or Recorder(space, detailed=details))
    except DDMemoryError as error:
        raise TooLargeError from error


_PREROUTING, _FORWARD = Hook("prerouting"), Hook("forward")


def _hooks(hook: Hook | str | Sequence[Hook | str]) -> Iterable[Hook]:
    several = [hook] if isinstance(hook, Hook | str) else hook
    return [Hook(one) if isinstance(one, str) else one for one in several]


def _execute(
    ruleset: Ruleset,
    hooks: tuple[Hook, ...],
    space: Space,
    start: PacketSet | None,
    opaque: bool,
    quiet: bool,
    recorder: Recorder,
) -> Result:
    domain = possible_on(space, hooks)
    if start is not None:
        domain = domain & start.function
    table_of_opaque = OpaqueTable(space.opaque_count) if opaque else None
    evaluators: dict[tuple[str, str], Evaluator] = {}
    states = [State(domain, Changes())]
    dropped = space.false
    for i, hook in enumerate(hooks):
        if hook == _FORWARD and _PREROUTING in hooks[:i]:
            states = [State(state.live, forwarded(space, state.changes)) for state in states]
        for table, chain in chains_at(ruleset, hook, space.universe):
            key = (table.family, table.name)
            if key not in evaluators:
                evaluators[key] = Evaluator(space, dict(table.sets), quiet)
            walk = Walk(table, hook, evaluators[key], recorder, table_of_opaque)
            states, gone = walk.base_chain(chain, states)
            states = merge(space, states)
            dropped = dropped | gone
    may = space.union(state.live for state in states)
    return Result(
        space,
        hooks,
        PacketSet(space, domain),
        PacketSet(space, may),
        PacketSet(space, dropped.imp_strict(may)),
        tuple(
            DoubtAt(place, text, doubt, reason, PacketSet(space, live))
            for (place, text, doubt, reason), live in recorder.doubts.items()
        ),
        tuple(
            RuleUse(place, PacketSet(space, reached), PacketSet(space, matched))
            for place, (reached, matched) in recorder.uses.items()
        ),
        tuple(table_of_opaque.entries) if table_of_opaque else (),
        tuple(states),
    )


def possible_on(space: Space, hooks: Sequence[Hook]) -> BDDFunction:
    """The packets that can exist on a way through ``hooks``."""
    domain = space.true
    for hook in hooks:
        domain = domain & possible(space, hook)
    return domain
