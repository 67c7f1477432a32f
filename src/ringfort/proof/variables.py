"""The variables of one universe of packets and the elementary sets over them.

One Boolean variable stands for one bit of a packet. Order: opaque variables (see `ringfort.proof.execute`), source,
destination, source port, destination port, protocol, then the rest, most significant bit first; measured best for
rulesets.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from oxidd.bdd import BDDFunction, BDDManager

from ringfort.errors import RingfortError
from ringfort.proof.fields import ALIASES, CONSTANT_BITS, ORDER, Field, Universe, named

INNER_NODES = 1 << 24
"""Most nodes a space may hold at once: about 0.5 GiB."""

APPLY_CACHE = 1 << 18
"""Entries of the manager's operation cache."""
OPAQUE_CACHE = 1 << 16
"""The same where sets are variables: these diagrams are small, and many spaces are made, each with its cache."""

CACHED_INTERVALS = 200_000
"""Intervals a space remembers."""

Vector = tuple[BDDFunction, ...]
"""The bits of a value, most significant first, each as a function of the original packet."""


class _FieldVector(tuple[BDDFunction, ...]):  # noqa: SLOT001 - a tuple has no room for slots
    """A field's own bits: as a key of a cache it is looked up all the time, so its hash is computed once."""

    _hash: int | None = None

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = super().__hash__()
        return self._hash

    __eq__ = tuple.__eq__


class TooLargeError(RingfortError):
    """The question needs more memory than a proof may take."""

    def __init__(self) -> None:
        super().__init__(
            "proof-too-large",
            f"the packet sets of this question need more than {INNER_NODES:,} nodes",
            "ask about a part: one hook, or a narrower query",
        )


class Space:
    """The variables of one universe. Sets of two spaces never mix.

    Args:
        universe: which packets.
        opaque: how many opaque variables to put before the packet's own (see `ringfort.proof.execute`).
    """

    def __init__(self, universe: Universe, opaque: int = 0) -> None:
        self.universe = universe
        self.opaque_count = opaque
        self.manager = BDDManager(INNER_NODES, OPAQUE_CACHE if opaque else APPLY_CACHE, 1)
        self.fields: dict[str, Field] = dict(named(universe))
        self.main_fields: tuple[Field, ...] = ORDER[universe]
        self._variables: dict[tuple[str, int], int] = {}
        self._owners: dict[int, tuple[str, int]] = {}
        self._constants: dict[tuple[str, int], bool] = {}
        self._intervals: dict[tuple[Vector, int, int], BDDFunction] = {}
        self._vectors: dict[tuple[str, int, int], Vector] = {}
        self._numbers: dict[tuple[str, int, int], tuple[int, ...]] = {}
        self._cubes: dict[tuple[int, ...], BDDFunction] = {}
        if opaque:
            self.manager.add_vars(opaque)
        self.true = self.manager.true()
        self.false = self.manager.false()
        for (region, offset), (width, value) in CONSTANT_BITS[universe].items():
            for i in range(width):
                self._constants[region, offset + i] = bool(value >> (width - 1 - i) & 1)
        self._lay_out(ORDER[universe])

    def _lay_out(self, fields: Iterable[Field]) -> None:
        places = [self.place(f.region, f.offset + i) for f in fields for i in range(f.width)]
        new = [place for place in dict.fromkeys(places) if place not in self._constants]
        for place, number in zip(new, self.manager.add_vars(len(new)), strict=True):
            self._variables[place] = number
            self._owners[number] = place

    # -- variables ---------------------------------------------------------------------------------------------

    def vector(self, field: Field) -> Vector:
        """The bits of ``field`` in the packet as it arrives; new regions get variables when first asked for."""
        known = self._vectors.get(field.key)
        if known is None:
            known = _FieldVector(self._bit(field.region, field.offset + i) for i in range(field.width))
            self._vectors[field.key] = known
        return known

    def place(self, region: str, offset: int) -> tuple[str, int]:
        """The region and offset under which a bit is known, whatever name it was asked for by."""
        alias = ALIASES[self.universe].get(region)
        if alias is not None:
            first, width, target, start = alias
            if first <= offset < first + width:
                return target, start + offset - first
        return region, offset

    def _bit(self, region: str, offset: int) -> BDDFunction:
        region, offset = self.place(region, offset)
        constant = self._constants.get((region, offset))
        if constant is not None:
            return self.true if constant else self.false
        return self.manager.var(self.variable(region, offset))

    def bit(self, place: tuple[str, int]) -> BDDFunction:
        """One bit of the packet as it arrives."""
        return self._bit(*place)

    def variable(self, region: str, offset: int) -> int:
        """The number of the variable of one bit."""
        number = self._variables.get((region, offset))
        if number is None:
            number = self.manager.add_vars(1)[0]
            self._variables[region, offset] = number
            self._owners[number] = (region, offset)
        return number

    def variables(self, field: Field) -> tuple[int, ...]:
        """The variable numbers of ``field``'s bits that are not constant."""
        known = self._numbers.get(field.key)
        if known is None:
            self.vector(field)
            bits = (self.place(field.region, field.offset + i) for i in range(field.width))
            known = self._numbers[field.key] = tuple(self._variables[bit] for bit in bits if bit in self._variables)
        return known

    def owner(self, variable: int) -> tuple[str, int]:
        """The region and bit a variable stands for."""
        return self._owners[variable]

    def owns(self, region: str, offset: int) -> bool:
        """Whether one bit has a variable."""
        return (region, offset) in self._variables

    def has(self, field: Field) -> bool:
        """Whether any bit of ``field`` has a variable already."""
        return any(self.place(field.region, field.offset + i) in self._variables for i in range(field.width))

    def regions(self, start: str) -> dict[str, int]:
        """The regions whose name begins with ``start``, with the number of bits they have."""
        found: dict[str, int] = {}
        for region, offset in self._variables:
            if region.startswith(start):
                found[region] = max(found.get(region, 0), offset + 1)
        return found

    def opaque(self, number: int) -> BDDFunction:
        """The opaque variable ``number``."""
        if not 0 <= number < self.opaque_count:
            raise IndexError(number)
        return self.manager.var(number)

    # -- elementary sets ---------------------------------------------------------------------------------------

    def constant(self, value: int, width: int) -> Vector:
        """``value`` as a vector of constant bits."""
        return tuple(self.true if value >> (width - 1 - i) & 1 else self.false for i in range(width))

    def between(self, vector: Vector, low: int, high: int) -> BDDFunction:
        """The packets whose ``vector``, read as a number, lies in ``low`` to ``high``, both included."""
        low, high = max(low, 0), min(high, (1 << len(vector)) - 1)
        if low > high:
            return self.false
        key = (vector, low, high)
        known = self._intervals.get(key)
        if known is None:
            known = self._between(vector, low, high)
            if len(self._intervals) < CACHED_INTERVALS:
                self._intervals[key] = known
        return known

    def _between(self, vector: Vector, low: int, high: int) -> BDDFunction:
        # The common prefix is a cube; below it, "at least low" on one side and "at most high" on the other.
        width = len(vector)
        shared = width - (low ^ high).bit_length()
        if shared == width:
            result = self.true
        else:
            rest = vector[shared + 1 :]
            upper = self._at_least(rest, low)
            lower = self._at_most(rest, high)
            result = lower if lower == upper else vector[shared].ite(lower, upper)
        for i in range(shared - 1, -1, -1):
            result = vector[i] & result if low >> (width - 1 - i) & 1 else vector[i].imp_strict(result)
        return result

    def _at_least(self, vector: Vector, low: int) -> BDDFunction:
        result = self.true
        for i, bit in enumerate(reversed(vector)):
            result = bit & result if low >> i & 1 else bit | result
        return result

    def _at_most(self, vector: Vector, high: int) -> BDDFunction:
        result = self.true
        for i, bit in enumerate(reversed(vector)):
            result = bit.imp(result) if high >> i & 1 else bit.imp_strict(result)
        return result

    def any_bit(self, vector: Vector, mask: int) -> BDDFunction:
        """The packets where some bit of ``mask`` is set in ``vector``."""
        width = len(vector)
        return self.union(bit for i, bit in enumerate(vector) if mask >> (width - 1 - i) & 1)

    def equal(self, left: Vector, right: Vector) -> BDDFunction:
        """The packets where two vectors of the same width hold the same number."""
        result = self.true
        for a, b in zip(reversed(left), reversed(right), strict=True):
            result = a.equiv(b) & result
        return result

    def union(self, functions: Iterable[BDDFunction]) -> BDDFunction:
        """The union, by halves, so that no large intermediate result is copied again and again."""
        work: list[BDDFunction] = list(functions)
        if not work:
            return self.false
        while len(work) > 1:
            paired = [work[i] | work[i + 1] for i in range(0, len(work) - 1, 2)]
            if len(work) % 2:
                paired.append(work[-1])
            work = paired
        return work[0]

    def cube(self, variables: Sequence[int]) -> BDDFunction:
        """The conjunction of ``variables``: what quantification takes."""
        wanted = tuple(sorted(variables, reverse=True))
        known = self._cubes.get(wanted)
        if known is None:
            known = self.true
            for variable in wanted:
                known = self.manager.var(variable) & known
            self._cubes[wanted] = known
        return known
