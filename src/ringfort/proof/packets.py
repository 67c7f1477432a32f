"""Packet sets: exact sets of packets with the algebra of sets, boxes for computation and one packet for people.

A `PacketSet` belongs to one `Space` and never changes. Equality is equality of the sets: it takes constant time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from oxidd.bdd import BDDFunction

from ringfort.errors import RingfortError
from ringfort.proof.fields import Field, Universe
from ringfort.proof.variables import Space

Interval = tuple[int, int]
"""First and last value, both included."""

Box = tuple[Interval, ...]
"""One interval for each of the fields that were asked for."""


class TooManyBoxesError(RingfortError):
    """A set falls into more boxes than the caller is ready to take."""

    def __init__(self, limit: int) -> None:
        message = f"the packet set falls into more than {limit:,} boxes"
        super().__init__("too-many-boxes", message, "narrow the question")


@dataclass(frozen=True, slots=True)
class Packet:
    """One concrete packet: the value of each named field, and of any further bits that matter."""

    universe: Universe
    values: Mapping[str, int]
    other: Mapping[tuple[str, int], bool]


class PacketSet:
    """An exact set of packets of one universe."""

    __slots__ = ("function", "space")

    def __init__(self, space: Space, function: BDDFunction) -> None:
        self.space = space
        self.function = function

    # -- algebra -----------------------------------------------------------------------------------------------

    def __and__(self, other: PacketSet) -> PacketSet:
        return PacketSet(self.space, self.function & other.function)

    def __or__(self, other: PacketSet) -> PacketSet:
        return PacketSet(self.space, self.function | other.function)

    def __xor__(self, other: PacketSet) -> PacketSet:
        return PacketSet(self.space, self.function ^ other.function)

    def __sub__(self, other: PacketSet) -> PacketSet:
        return PacketSet(self.space, other.function.imp_strict(self.function))

    def __invert__(self) -> PacketSet:
        return PacketSet(self.space, ~self.function)

    def __le__(self, other: PacketSet) -> bool:
        return not (self - other)

    def __lt__(self, other: PacketSet) -> bool:
        return self != other and self <= other

    def __ge__(self, other: PacketSet) -> bool:
        return other <= self

    def __gt__(self, other: PacketSet) -> bool:
        return other < self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PacketSet) and self.space is other.space and self.function == other.function

    def __hash__(self) -> int:
        return hash(self.function)

    def __bool__(self) -> bool:
        """Whether any packet is in the set."""
        return self.function.satisfiable()

    @property
    def is_empty(self) -> bool:
        """Whether no packet is in the set."""
        return not self.function.satisfiable()

    @property
    def is_full(self) -> bool:
        """Whether every packet of the universe is in the set."""
        return self.function.valid()

    def overlaps(self, other: PacketSet) -> bool:
        """Whether the two sets share a packet."""
        return bool(self & other)

    def __repr__(self) -> str:
        return f"<PacketSet {self.space.universe} of {self.function.node_count()} nodes>"

    # -- fields ------------------------------------------------------------------------------------------------

    def forget(self, *fields: Field) -> PacketSet:
        """The packets that are in the set after some change of ``fields``: the set no longer depends on them."""
        variables = [v for field in fields for v in self.space.variables(field)]
        return PacketSet(self.space, self.function.exists(self.space.cube(variables)))

    def project(self, *fields: Field) -> PacketSet:
        """The set as far as ``fields`` tell: every other bit is forgotten, atoms included."""
        keep = {v for field in fields for v in self.space.variables(field)}
        gone = [v for v in range(self.space.manager.num_vars()) if v not in keep]
        return PacketSet(self.space, self.function.exists(self.space.cube(gone)))

    def depends_on(self, field: Field) -> bool:
        """Whether membership depends on ``field``."""
        return self.space.has(field) and self.forget(field) != self

    # -- boxes -------------------------------------------------------------------------------------------------

    def split(self, field: Field, limit: int = 100_000) -> dict[PacketSet, list[Interval]]:
        """The set cut by the values of ``field``: for each different remainder, the values that lead to it.

        The set must not depend on a variable above ``field``'s in the order: split by fields in the order of
        `Space.fields`. The empty remainder is left out.

        Raises:
            TooManyBoxesError: more than ``limit`` intervals.
        """
        pieces: dict[PacketSet, list[Interval]] = {}
        last: BDDFunction | None = None
        count = 0
        for function, low, high in _pieces(self.function, self.space.variables(field)):
            if not function.satisfiable():
                last = None
                continue
            intervals = pieces.setdefault(PacketSet(self.space, function), [])
            if last is not None and last == function and intervals[-1][1] == low - 1:
                intervals[-1] = (intervals[-1][0], high)
            else:
                intervals.append((low, high))
                count += 1
                if count > limit:
                    raise TooManyBoxesError(limit)
            last = function
        return pieces

    def boxes(self, *fields: Field, limit: int = 1_000_000) -> Iterator[Box]:
        """Disjoint boxes over ``fields`` that together are the set, as far as those fields tell.

        Raises:
            TooManyBoxesError: more than ``limit`` boxes.
        """
        ordered = sorted(fields, key=self.space.variables)
        places = [ordered.index(field) for field in fields]
        for count, box in enumerate(_boxes(self.project(*fields), ordered, limit)):
            if count >= limit:
                raise TooManyBoxesError(limit)
            yield tuple(box[place] for place in places)

    def values(self, field: Field) -> tuple[Interval, ...]:
        """The values ``field`` takes in the set, as intervals in ascending order."""
        return tuple(sorted(box[0] for box in self.boxes(field)))

    def contains(self, packet: Packet) -> bool:
        """Whether ``packet`` is in the set; bits the packet does not name count as 0."""
        return self.function.eval(_assignment(self.space, packet))


def _pieces(root: BDDFunction, variables: Sequence[int]) -> Iterator[tuple[BDDFunction, int, int]]:
    width = len(variables)
    last = variables[-1]
    stack = [(root, 0, 0)]
    while stack:
        function, depth, value = stack.pop()
        variable = function.node_var()
        if depth == width or variable is None or variable > last:
            rest = width - depth
            yield function, value << rest, ((value + 1) << rest) - 1
        elif variable == variables[depth]:
            cofactors = function.cofactors()
            assert cofactors is not None
            stack.append((cofactors[0], depth + 1, value * 2 + 1))
            stack.append((cofactors[1], depth + 1, value * 2))
        else:
            stack.append((function, depth + 1, value * 2 + 1))
            stack.append((function, depth + 1, value * 2))


def _boxes(packets: PacketSet, fields: Sequence[Field], limit: int) -> Iterator[Box]:
    if not fields:
        if packets:
            yield ()
        return
    for remainder, intervals in packets.split(fields[0], limit).items():
        for box in _boxes(remainder, fields[1:], limit):
            for interval in intervals:
                yield (interval, *box)


def _assignment(space: Space, packet: Packet) -> list[tuple[int, bool]]:
    bits: dict[tuple[str, int], bool] = dict(packet.other)
    for name, value in packet.values.items():
        field = space.fields[name]
        for i in range(field.width):
            bits[field.region, field.offset + i] = bool(value >> (field.width - 1 - i) & 1)
    assignment = [(number, False) for number in range(space.manager.num_vars())]
    assignment += [(space.variable(*bit), value) for bit, value in bits.items() if space.owns(*bit)]
    return assignment


# -- making sets ---------------------------------------------------------------------------------------------------


def everything(space: Space) -> PacketSet:
    """All packets of the universe."""
    return PacketSet(space, space.true)


def nothing(space: Space) -> PacketSet:
    """No packet."""
    return PacketSet(space, space.false)


def where(space: Space, field: Field, *intervals: Interval) -> PacketSet:
    """The packets whose ``field`` lies in one of ``intervals``."""
    vector = space.vector(field)
    return PacketSet(space, space.union(space.between(vector, low, high) for low, high in intervals))


def of_boxes(space: Space, fields: Sequence[Field], boxes: Sequence[Box]) -> PacketSet:
    """The packets whose ``fields`` lie in one of ``boxes``."""
    vectors = [space.vector(field) for field in fields]
    functions = []
    for box in boxes:
        function = space.true
        for vector, (low, high) in zip(reversed(vectors), reversed(box), strict=True):
            function = space.between(vector, low, high) & function
        functions.append(function)
    return PacketSet(space, space.union(functions))
