"""Statements that change packets: marks, header fields, network address translation."""

from __future__ import annotations

from oxidd.bdd import BDDFunction

from ringfort.proof.changes import Bit, Changes, State
from ringfort.proof.evaluate import Evaluator
from ringfort.proof.fields import CT_STATUS, CtStatus, Field, Universe
from ringfort.proof.ruleset import Assign, Expression, Interval, Translate
from ringfort.proof.variables import Space, Vector

_ROUTED_BY = {"saddr": "saddr", "daddr": "daddr", "meta mark": "mark"}
"""Field -> the word for it in the name of a fib lookup."""


def translated_mark(*, source: bool) -> Bit:
    """A bit beside the packet's own: whether its source or destination has been translated."""
    return "translated", int(source)


_HOPS = {Universe.IP: Field("nh", 64, 8, "ip ttl"), Universe.IP6: Field("nh", 56, 8, "ip6 hoplimit")}
_IP_CHECKSUM = Field("nh", 80, 16, "ip checksum")


def forwarded(space: Space, changes: Changes) -> Changes:
    """What the kernel itself changes before the forward hook: one hop less (ip_forward, ip6_forward)."""
    hops = _HOPS.get(space.universe)
    vector = changes.vector(space, hops) if hops is not None else None
    if hops is None or vector is None:
        return changes
    borrow = space.true
    less: list[BDDFunction] = []
    for bit in reversed(vector):
        less.append(bit ^ borrow)
        borrow = borrow & ~bit
    changes = changes.assign(space, hops, tuple(reversed(less)))
    if space.universe is Universe.IP:
        changes = changes.lose(space, _IP_CHECKSUM, "the checksum changes with the time to live")
    return changes


class Rewriter:
    """Applies changes to states."""

    def __init__(self, evaluator: Evaluator) -> None:
        self.evaluator = evaluator
        self.space = evaluator.space

    def assign(self, statement: Assign, state: State, place: str) -> tuple[list[State], list[State]]:
        """The changed packets, and those the statement could not be applied to: their rule ends there."""
        holds = self.evaluator.conditions(statement.conditions, statement.universes, state.changes)
        through = [State(state.live & ~holds.must, state.changes)]
        live = state.live & holds.may
        vector: Vector | None = None
        if statement.value is not None:
            value = self.evaluator.value(statement.value, state.changes)
            through.append(State(live & ~value.readable.must, state.changes))
            live, vector = live & value.readable.may, value.vector
        changes = self._replace(state.changes, statement.field, vector, f"{statement.text} ({place})")
        return [State(live, changes)], through

    def translate(self, statement: Translate, state: State) -> tuple[list[State], list[State]]:
        """The translated packets, which are accepted, and those for which the statement does nothing."""
        if self.space.universe not in statement.universes:
            return [], [state]
        source = statement.kind in ("snat", "masquerade")
        address = self.space.fields["saddr" if source else "daddr"]
        port = self.space.fields["sport" if source else "dport"]
        through: list[State] = []
        if statement.both is not None:
            live, changes = self._by_both(statement, state, address, port, through)
        else:
            live, changes = state.live, state.changes
            for target, new in ((address, statement.address), (port, statement.port)):
                live, changes = self._by_one(statement, target, new, State(live, changes), state.changes, through)
        changes = self._noted(changes, state.changes, (address, port), source=source)
        return [State(live, changes)], through

    def _by_both(
        self, statement: Translate, state: State, address: Field, port: Field, through: list[State]
    ) -> tuple[BDDFunction, Changes]:
        assert statement.both is not None
        found = self.evaluator.value(statement.both, state.changes)
        through.append(State(state.live & ~found.readable.must, state.changes))
        vector = found.vector
        changes = self._replace(
            state.changes, address, None if vector is None else vector[: address.width], statement.text
        )
        changes = self._replace(changes, port, None if vector is None else vector[address.width :], statement.text)
        return state.live & found.readable.may, changes

    def _by_one(
        self,
        statement: Translate,
        target: Field,
        new: Expression | Interval | None,
        state: State,
        before: Changes,
        through: list[State],
    ) -> tuple[BDDFunction, Changes]:
        if new is None:
            # masquerade and redirect take the interface's own address, which no ruleset tells.
            own = target.name in ("saddr", "daddr") and statement.kind in ("masquerade", "redirect")
            changes = self._replace(state.changes, target, None, statement.text) if own else state.changes
            return state.live, changes
        if isinstance(new, tuple):
            vector = self.space.constant(new[0], target.width) if new[0] == new[1] else None
            return state.live, self._replace(state.changes, target, vector, statement.text)
        found = self.evaluator.value(new, before)
        through.append(State(state.live & ~found.readable.must, before))
        return state.live & found.readable.may, self._replace(state.changes, target, found.vector, statement.text)

    def _replace(self, changes: Changes, target: Field, vector: Vector | None, text: str) -> Changes:
        if vector is None:
            changes = changes.lose(self.space, target, f"{target.name or 'a field'} was set by: {text}")
        else:
            changes = changes.assign(self.space, target, vector)
        return self._forget_routes(changes, target)

    def _forget_routes(self, changes: Changes, target: Field) -> Changes:
        # What the routing table says about a changed address or mark is another answer than before.
        word = _ROUTED_BY.get(target.name.split(" ", 1)[-1] if target.name.startswith("ip") else target.name)
        if word is not None:
            for region, width in self.space.regions("fib ").items():
                if word in region.split():
                    reason = f"{region} of a changed {word}"
                    changes = changes.lose(self.space, Field(region, 0, width), reason)
        return changes

    def _noted(self, changes: Changes, before: Changes, targets: tuple[Field, ...], *, source: bool) -> Changes:
        """Conntrack notes that the packet was translated, if anything really changed (nf_nat_setup_info)."""
        flag = CtStatus.SNAT if source else CtStatus.DNAT
        place = (CT_STATUS.region, CT_STATUS.width - flag.bit_length())
        bits, unknown = dict(changes.bits), dict(changes.unknown)
        bits[translated_mark(source=source)] = self.space.true
        differs = self.space.false
        known = True
        for target in targets:
            old, new = before.vector(self.space, target), changes.vector(self.space, target)
            if old is None or new is None:
                known = False
            else:
                differs = differs | ~self.space.equal(old, new)
        if known:
            bits[place] = differs
            unknown.pop(place, None)
        else:
            bits.pop(place, None)
            unknown[place] = "whether translation changed anything"
        return Changes(bits, unknown)
