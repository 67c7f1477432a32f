"""Expressions and matches on sets of packets: for which packets does a match hold, for which may it.

Each answer is a pair of sets, *may* and *must*: the packets for which the match can hold, and those for which it holds
whatever is not known turns out to be. They are equal where everything is known.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from oxidd.bdd import BDDFunction

from ringfort.proof.changes import Changes
from ringfort.proof.fields import Universe
from ringfort.proof.ruleset import (
    AnyBit,
    Bitwise,
    Condition,
    Constant,
    Doubt,
    Element,
    Expression,
    Interval,
    Lookup,
    Match,
    NamedSet,
    Read,
    Shift,
    Verdict,
)
from ringfort.proof.variables import Space, Vector


@dataclass(frozen=True, slots=True)
class Truth:
    """For which packets something may and must hold, and why the two differ."""

    may: BDDFunction
    must: BDDFunction
    doubts: tuple[tuple[Doubt, str], ...] = ()

    @property
    def certain(self) -> bool:
        """Whether nothing is open."""
        return self.may is self.must

    def negated(self) -> Truth:
        """The opposite statement."""
        may = ~self.must
        return Truth(may, may if self.certain else ~self.may, self.doubts)


@dataclass(frozen=True, slots=True)
class Value:
    """What an expression yields: a vector (None if not known), and where it can be read at all."""

    vector: Vector | None
    readable: Truth
    reason: str = ""


_UNCHANGED = Changes()


class Evaluator:
    """Evaluation in one space, for one table's sets.

    Args:
        space: the variables.
        sets: the table's named sets and maps.
        quiet: resolve what depends on state as when nothing unusual happens.
    """

    def __init__(self, space: Space, sets: dict[str, NamedSet], quiet: bool) -> None:
        self.space = space
        self.sets = sets
        self.quiet = quiet
        self._always = Truth(space.true, space.true)
        self._unions: dict[tuple[tuple[Vector | None, ...], int], BDDFunction] = {}
        self._readable: dict[Read, BDDFunction] = {}
        self._groups: dict[int, list[tuple[Verdict, tuple[Element, ...]]]] = {}
        self._kept: list[tuple[Element, ...]] = []

    # -- expressions -------------------------------------------------------------------------------------------

    def always(self) -> Truth:
        """Holds for every packet."""
        return self._always

    def both(self, truths: Iterable[Truth]) -> Truth:
        """The conjunction."""
        may = must = self.space.true
        doubts: tuple[tuple[Doubt, str], ...] = ()
        certain = True
        for truth in truths:
            if truth is self._always:
                continue
            certain = certain and truth.certain
            may = may & truth.may
            must = may if certain else must & truth.must
            doubts += truth.doubts
        return Truth(may, must, doubts)

    def conditions(self, conditions: tuple[Condition, ...], universes: frozenset[Universe], changes: Changes) -> Truth:
        """Where every condition holds; nowhere in another universe."""
        if self.space.universe not in universes:
            return Truth(self.space.false, self.space.false)
        if not conditions:
            return self._always
        return self.both(self._condition(condition, changes) for condition in conditions)

    def _condition(self, condition: Condition, changes: Changes) -> Truth:
        vector = changes.vector(self.space, condition.field)
        if vector is None:
            reason = changes.why_unknown(self.space, condition.field)
            return Truth(self.space.true, self.space.false, ((Doubt.UNKNOWN, reason),))
        holds = self.space.union(self.space.between(vector, *interval) for interval in condition.intervals)
        return Truth(holds, holds)

    def value(self, expression: Expression, changes: Changes) -> Value:
        """What ``expression`` yields."""
        match expression:
            case Read():
                readable = self.conditions(expression.conditions, expression.universes, changes)
                vector = changes.vector(self.space, expression.field)
                return Value(vector, readable, changes.why_unknown(self.space, expression.field))
            case Constant():
                return Value(self.space.constant(expression.value, expression.width), self.always())
            case Bitwise():
                return self._bitwise(expression, changes)
            case Shift():
                return self._shift(expression, changes)
            case Lookup():
                return self._lookup(expression, changes)

    def _bitwise(self, expression: Bitwise, changes: Changes) -> Value:
        inner = self.value(expression.operand, changes)
        if inner.vector is None:
            return inner
        width = len(inner.vector)
        bits = []
        for i, bit in enumerate(inner.vector):
            kept = bit if expression.mask >> (width - 1 - i) & 1 else self.space.false
            bits.append(~kept if expression.flip >> (width - 1 - i) & 1 else kept)
        return Value(tuple(bits), inner.readable)

    def _shift(self, expression: Shift, changes: Changes) -> Value:
        inner = self.value(expression.operand, changes)
        if inner.vector is None:
            return inner
        width, by = len(inner.vector), expression.bits
        moved = [inner.vector[i + by] if 0 <= i + by < width else self.space.false for i in range(width)]
        return Value(tuple(moved), inner.readable)

    def _lookup(self, expression: Lookup, changes: Changes) -> Value:
        if isinstance(expression.elements, str):
            named = self.sets.get(expression.elements)
            if not self._is_plain_map(named, len(expression.key)):
                reason = f"map {expression.elements} cannot be read"
                doubtful = Truth(self.space.true, self.space.false, ((Doubt.UNKNOWN, reason),))
                return Value(None, doubtful, reason)
            assert named is not None
            elements = named.elements
        else:
            elements = expression.elements
        values = [self.value(part, changes) for part in expression.key]
        readable = self.both(value.readable for value in values)
        return self._mapped(elements, values, readable, expression.width)

    def _is_plain_map(self, named: NamedSet | None, parts: int) -> bool:
        if named is None or named.unread or named.catch_all or (named.dynamic and not self.quiet):
            return False
        lasting = self.quiet or not any(element.transient for element in named.elements)
        return lasting and all(len(element.key) == parts for element in named.elements[:1])

    def _mapped(self, elements: tuple[Element, ...], values: list[Value], readable: Truth, width: int) -> Value:
        bits = [self.space.false] * width
        found = self.space.false
        for element in elements:
            data = element.data
            if any(value.vector is None for value in values) or not isinstance(data, tuple):
                return Value(None, readable, "a looked-up value")
            if any(low != high for low, high in data):
                return Value(None, readable, "a value chosen from a range")
            here = self._box(element, values)
            found = found | here
            for i, bit in enumerate(_data_bits(data, width)):
                if bit:
                    bits[i] = bits[i] | here
        return Value(tuple(bits), Truth(readable.may & found, readable.must & found, readable.doubts))

    # -- matches -----------------------------------------------------------------------------------------------

    def any_bit(self, statement: AnyBit, changes: Changes) -> tuple[Truth, Truth]:
        """Where the statement's expression can be read, and where the match then holds."""
        value = self.value(statement.operand, changes)
        if value.vector is None:
            return value.readable, Truth(self.space.true, self.space.false, ((Doubt.UNKNOWN, value.reason),))
        some = self.space.any_bit(value.vector, statement.mask)
        truth = Truth(some, some)
        return value.readable, truth.negated() if statement.negated else truth

    def match(self, statement: Match, changes: Changes) -> tuple[Truth, Truth]:
        """Where the statement's key can be read, and where the match then holds."""
        values = [self.value(part, changes) for part in statement.key]
        readable = self.both(value.readable for value in values)
        truth = self.member(statement.elements, values)
        return readable, truth.negated() if statement.negated else truth

    def member(self, elements: tuple[Element, ...] | str, values: list[Value]) -> Truth:
        """Whether the key is among ``elements``, or in the named set."""
        if not isinstance(elements, str):
            return self.among(elements, values)
        named = self.sets.get(elements)
        if named is None:
            return self._either(Doubt.UNKNOWN, f"set {elements} is not listed")
        if named.unread:
            return self._either(Doubt.UNKNOWN, f"set {elements}: {named.unread}")
        if any(len(element.key) != len(values) for element in named.elements[:1]):
            return self._either(Doubt.UNKNOWN, f"set {elements} has keys of another kind")
        if named.catch_all is not None:
            return self.always()
        if named.dynamic and not self.quiet:
            return self._either(Doubt.STATE, f"packets fill set {elements}")
        truth = self.among(named.elements, values)
        lasting = tuple(element for element in named.elements if not element.transient)
        if len(lasting) < len(named.elements) and not self.quiet:
            kept = self.among(lasting, values)
            doubt = (Doubt.STATE, f"elements of set {elements} expire")
            return Truth(truth.may, kept.must, (*truth.doubts, doubt))
        return truth

    def _either(self, doubt: Doubt, reason: str) -> Truth:
        return Truth(self.space.true, self.space.false, ((doubt, reason),))

    def plainly(self, statement: Match) -> BDDFunction | None:
        """Where a match holds that reads nothing but fields and asks no named set, as packets arrive; else None.

        Most matches are of this kind, and the answer is the same as `match` gives, sooner.
        """
        if isinstance(statement.elements, str):
            return None
        readable = self.space.true
        vectors: list[Vector] = []
        for part in statement.key:
            if not isinstance(part, Read):
                return None
            known = self._readable.get(part)
            if known is None:
                known = self.conditions(part.conditions, part.universes, _UNCHANGED).must
                self._readable[part] = known
            readable = readable & known
            vectors.append(self.space.vector(part.field))
        inside = self.space.union(self._plain_box(element, vectors) for element in statement.elements)
        return inside.imp_strict(readable) if statement.negated else readable & inside

    def _plain_box(self, element: Element, vectors: list[Vector]) -> BDDFunction:
        if len(vectors) == 1:
            return self.space.between(vectors[0], *element.key[0])
        function = self.space.true
        for vector, (low, high) in zip(reversed(vectors), reversed(element.key), strict=True):
            function = self.space.between(vector, low, high) & function
        return function

    def among(self, elements: Iterable[Element], values: list[Value]) -> Truth:
        """Whether the key is one of ``elements``; parts that are not known may be anything."""
        elements = tuple(elements)
        cached = (tuple(value.vector for value in values), id(elements))
        may = self._unions.get(cached)
        if may is None:
            may = self.space.union(self._box(element, values) for element in elements)
            self._kept.append(elements)  # the cache is keyed by identity: the tuple must stay alive
            self._unions[cached] = may
        unknown = [value.reason for value in values if value.vector is None]
        if not unknown:
            return Truth(may, may)
        return Truth(may, self.space.false, ((Doubt.UNKNOWN, unknown[0]),))

    def by_verdict(self, elements: tuple[Element, ...]) -> list[tuple[Verdict, tuple[Element, ...]]]:
        """The elements of a verdict map, for each verdict."""
        known = self._groups.get(id(elements))
        if known is None:
            groups: dict[Verdict, list[Element]] = {}
            for element in elements:
                if isinstance(element.data, Verdict):
                    groups.setdefault(element.data, []).append(element)
            known = [(verdict, tuple(group)) for verdict, group in groups.items()]
            self._groups[id(elements)] = known
            self._kept.append(elements)
        return known

    def _box(self, element: Element, values: list[Value]) -> BDDFunction:
        function = self.space.true
        for value, (low, high) in zip(reversed(values), reversed(element.key), strict=True):
            if value.vector is not None:
                function = self.space.between(value.vector, low, high) & function
        return function


def _data_bits(data: tuple[Interval, ...], width: int) -> list[bool]:
    # The parts of a map's data lie one after the other; the widths of all but the last are multiples known by width.
    widths = {32: [32], 128: [128], 48: [32, 16] if len(data) == 2 else [48], 144: [128, 16]}.get(width, [width])
    bits: list[bool] = []
    for (value, _), size in zip(data, widths, strict=True):
        bits += [bool(value >> (size - 1 - i) & 1) for i in range(size)]
    return bits
