"""A packet set as a short list for people: each entry a plain condition on fields, entries may overlap.

The list is exact: its union is the set, within the domain (the packets that can exist). Only its length is limited.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from oxidd.bdd import BDDFunction

from ringfort.proof.fields import EXTENSION_HEADERS, Field, Universe
from ringfort.proof.nftables.symbols import SYMBOLS
from ringfort.proof.packets import Interval, PacketSet, TooManyBoxesError, where
from ringfort.proof.simplify import halves, simplify
from ringfort.proof.variables import Space
from ringfort.proof.words import complement, intervals_text, value_text

MOST_INTERVALS = 2_000
"""Intervals of one field that a list may need before it is given up as not short."""

MOST_CHILDREN = 40
"""Different remainders up to which overlapping entries are looked for; the search is quadratic."""

ENUMERATED_BITS = 16
"""Fields up to this width are shown without the values that no packet of the domain has."""

_UNIMPORTANT = (
    "ct direction",
    "ct status",
    "iiftype",
    "oiftype",
    "ip frag-off",
    "later fragment",
    "ip6 nexthdr",
    "transport header",
)

_BY_BIT = ("ct_status", "tcp_flag")
"""Datatypes of independent flags: each flag is a condition of its own."""


@dataclass(frozen=True, slots=True)
class Condition:
    """What must hold of one field: it lies in ``intervals``, or, if there are ``masks``, it has one of these bits.

    ``masks`` are pairs of mask and value; they are used where intervals would be too many to tell.
    """

    field: Field
    intervals: tuple[Interval, ...]
    masks: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Cube:
    """One entry: conditions that hold together. No conditions: everything."""

    universe: Universe
    conditions: tuple[Condition, ...]

    def __str__(self) -> str:
        return cube_text(self)


@dataclass(frozen=True, slots=True)
class CubeList:
    """Entries that together are the set, or as many as were asked for (then ``complete`` is false)."""

    cubes: tuple[Cube, ...]
    complete: bool


def cubes(packets: PacketSet, domain: PacketSet, limit: int = 20) -> CubeList:
    """``packets`` as at most ``limit`` entries, within ``domain``."""
    space = packets.space
    shown, care = _without_needless_fields(packets & domain, domain), domain
    if space.universe is Universe.IP6:
        shown, care = _by_extension_headers(shown), domain.forget(space.fields["ip6 nexthdr"])
    try:
        found = _Lister(space, domain, limit).cover(simplify(shown.function, care.function))
    except TooManyBoxesError:
        return CubeList((), complete=False)
    listed = tuple(Cube(space.universe, conditions) for conditions in found[:limit])
    return CubeList(listed, complete=len(found) <= limit)


_Conditions = tuple[Condition, ...]


def _without_needless_fields(packets: PacketSet, domain: PacketSet) -> PacketSet:
    space = packets.space
    fields = {field.name: field for field in space.main_fields}
    ordered = [fields[name] for name in _UNIMPORTANT if name in fields]
    ordered += [field for field in reversed(space.main_fields) if field.name not in _UNIMPORTANT]
    shown = packets
    for field in ordered:
        wider = shown.forget(field)
        if wider & domain == packets:
            shown = wider
    return shown


def _by_extension_headers(packets: PacketSet) -> PacketSet:
    """For packets that cannot be (a first header that is neither an extension nor the protocol): as without extensions.

    The first header then says whether there are extension headers, and the protocol alone which protocol it is.
    """
    space = packets.space
    first, protocol = space.fields["ip6 nexthdr"], space.fields["l4proto"]
    pairs = zip(space.variables(first), space.vector(protocol), strict=True)
    plain = packets.function.substitute(packets.function.make_substitution(pairs))
    extended = where(space, first, *EXTENSION_HEADERS).function
    return PacketSet(space, extended.ite(packets.function, plain))


class _Lister:
    def __init__(self, space: Space, domain: PacketSet, limit: int) -> None:
        self.space = space
        self.domain = domain
        self.limit = limit
        self._known: dict[BDDFunction, list[_Conditions]] = {}
        self._fields = dict(_fields_by_variable(space))
        self._domains: dict[Field, PacketSet] = {}

    def cover(self, function: BDDFunction) -> list[_Conditions]:
        """Conditions whose union is ``function``; cut off where there are more than the limit."""
        known = self._known.get(function)
        if known is None:
            known = self._known[function] = list(islice(self._cover(function), self.limit + 1))
        return known

    def _cover(self, function: BDDFunction) -> Iterator[_Conditions]:
        variable = function.node_var()
        if variable is None:
            if function.satisfiable():
                yield ()
            return
        field = self._fields[variable]
        try:
            pieces = PacketSet(self.space, function).split(field, MOST_INTERVALS)
        except TooManyBoxesError:
            yield from self._masked(field, function)
            return
        if len(pieces) == 1 or len(pieces) > MOST_CHILDREN:
            for rest, intervals in pieces.items():
                yield from self._with(field, intervals, rest.function)
        else:
            yield from self._overlapping(field, pieces)

    def _with(self, field: Field, intervals: Sequence[Interval], rest: BDDFunction) -> Iterator[_Conditions]:
        values = self._possible(field, intervals)
        everything = values == ((0, (1 << field.width) - 1),)
        for conditions in self.cover(rest) if values else ():
            yield conditions if everything else (Condition(field, values), *conditions)

    def _possible(self, field: Field, intervals: Sequence[Interval]) -> tuple[Interval, ...]:
        """Less the values that no packet has, or, where that is shorter to tell, with all of them."""
        if field.width > ENUMERATED_BITS:
            return tuple(intervals)
        if field not in self._domains:
            self._domains[field] = self.domain.project(field)
        can = self._domains[field]
        less = (where(self.space, field, *intervals) & can).values(field)
        more = (where(self.space, field, *intervals) | ~can).values(field)
        return less if len(less) <= len(complement(more, (1 << field.width) - 1)) else more

    def _masked(self, field: Field, function: BDDFunction) -> Iterator[_Conditions]:
        by_rest: dict[PacketSet, list[tuple[int, int]]] = {}
        paths = _paths(function, self.space.variables(field))
        for rest, mask, value in islice(paths, self.limit + 1):  # each is an entry at least
            by_rest.setdefault(PacketSet(self.space, rest), []).append((mask, value))
        for rest_set, masks in by_rest.items():
            for conditions in self.cover(rest_set.function):
                yield (_masks_or_intervals(field, masks), *conditions)

    def _overlapping(self, field: Field, pieces: dict[PacketSet, list[Interval]]) -> Iterator[_Conditions]:
        # A remainder that is part of others holds for their values too: list it once, for all of them.
        done: list[PacketSet] = []
        for rest in sorted(pieces, key=lambda rest: sum(other <= rest for other in pieces)):
            left = rest
            for other in done:
                if other <= rest:
                    left = left - other
            if not left:
                continue
            values = sorted(interval for other in pieces if rest <= other for interval in pieces[other])
            # What is not listed yet, or all of it again where that is simpler to tell.
            whole = len(self.cover(left.function)) > 1 and len(self.cover(rest.function)) == 1
            yield from self._with(field, joined(values), (rest if whole else left).function)
            done.append(rest)


def _masks_or_intervals(field: Field, masks: Sequence[tuple[int, int]]) -> Condition:
    top = (1 << field.width) - 1
    intervals = [(value, value | (top & ~mask)) for mask, value in masks]
    if all(high - low == high ^ low and (high - low) & (high - low + 1) == 0 for low, high in intervals):
        return Condition(field, tuple(joined(sorted(intervals))))
    return Condition(field, (), tuple(masks))


def _paths(root: BDDFunction, variables: Sequence[int]) -> Iterator[tuple[BDDFunction, int, int]]:
    """The ways through the bits of one field: what remains, which bits were asked, and their values."""
    stack = [(root, 0, 0)]
    while stack:
        function, mask, value = stack.pop()
        variable = function.node_var()
        if variable is None or variable > variables[-1]:
            if function.satisfiable():
                yield function, mask, value
            continue
        bit = 1 << (len(variables) - 1 - variables.index(variable))
        high, low = halves(function)
        stack.append((high, mask | bit, value | bit))
        stack.append((low, mask | bit, value))


def joined(intervals: Sequence[Interval]) -> list[Interval]:
    """Sorted intervals with those that touch made one."""
    result: list[Interval] = []
    for low, high in intervals:
        if result and low <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(high, result[-1][1]))
        else:
            result.append((low, high))
    return result


def _fields_by_variable(space: Space) -> Iterator[tuple[int, Field]]:
    known: set[int] = set()
    for field in space.main_fields:
        for i, variable in enumerate(space.variables(field)):
            known.add(variable)
            if field.kind in _BY_BIT and len(space.variables(field)) == field.width:
                yield variable, _flag(field, i)
            else:
                yield variable, field
    rest = [v for v in range(space.opaque_count, space.manager.num_vars()) if v not in known]
    run: list[int] = []
    for variable in rest:
        region, offset = space.owner(variable)
        if run and (variable != run[-1] + 1 or space.owner(run[-1]) != (region, offset - 1)):
            yield from _run(space, run)
            run = []
        run.append(variable)
    yield from _run(space, run)


def _flag(field: Field, bit: int) -> Field:
    value = 1 << (field.width - 1 - bit)
    name = next((n for n, v in SYMBOLS[field.kind].items() if v == value), f"{value:#x}")
    return Field(field.region, field.offset + bit, 1, f"{field.name} {name}", "boolean")


def _run(space: Space, run: Sequence[int]) -> Iterator[tuple[int, Field]]:
    if run:
        region, offset = space.owner(run[0])
        field = Field(region, offset, len(run), region_name(region, offset, len(run)), _kind(region))
        for variable in run:
            yield variable, field


def region_name(region: str, offset: int, width: int) -> str:
    """What to call bits that have no name of their own."""
    header = {"nh": "network", "th": "transport", "ll": "link"}.get(region)
    return f"{header} header bits {offset}-{offset + width - 1}" if header else region


def _kind(region: str) -> str:
    if region.startswith("fib "):
        return "fib_addrtype" if region.endswith("type") else "ifname"
    return "integer"


def cube_text(cube: Cube) -> str:
    """An entry in one line: protocol, addresses and ports first, then what else must hold."""
    conditions = {condition.field.name: condition for condition in cube.conditions}
    words: list[str] = []
    icmp = _icmp_text(conditions)
    words += icmp
    for name, word in (("saddr", "from"), ("sport", "source port"), ("daddr", "to"), ("dport", "port")):
        if name in conditions and not (name == "sport" and icmp):
            words.append(f"{word} {_values_text(conditions[name])}")
    told = {"l4proto", "saddr", "daddr", "sport", "dport"}
    # What goes without saying is not said: ports are those of a whole packet, Ethernet addresses of Ethernet.
    if _says(conditions, "later fragment", 0) and ("sport" in conditions or "dport" in conditions):
        told.add("later fragment")
    if _says(conditions, "iiftype", 1) and ("ether saddr" in conditions or "ether daddr" in conditions):
        told.add("iiftype")
    words += [_other_text(condition) for name, condition in conditions.items() if name not in told]
    told_words = [word for word in words if word]
    if not told_words and "l4proto" not in conditions:
        return "everything"
    return " ".join([_protocol_text(conditions), *told_words])


def _says(conditions: Mapping[str, Condition], name: str, value: int) -> bool:
    return name in conditions and conditions[name].intervals == ((value, value),)


def _other_text(condition: Condition) -> str:
    name = condition.field.name
    if name == "transport header":
        return "(cut short)" if condition.intervals == ((0, 0),) else ""
    if name == "ip6 nexthdr":
        top = (1 << condition.field.width) - 1
        if condition.intervals == EXTENSION_HEADERS:
            return "with extension headers"
        if condition.intervals == tuple(complement(EXTENSION_HEADERS, top)):
            return "without extension headers"
    if condition.field.kind == "boolean" and condition.field.width == 1:
        return name if condition.intervals == ((1, 1),) else f"not {name}"
    return f"{name} {_values_text(condition)}"


def _protocol_text(conditions: Mapping[str, Condition]) -> str:
    if "l4proto" not in conditions:
        return "any protocol"
    return _values_text(conditions["l4proto"])


def _icmp_text(conditions: Mapping[str, Condition]) -> list[str]:
    """For ICMP the first two bytes are no port but type and code."""
    protocols = conditions["l4proto"].intervals if "l4proto" in conditions else ()
    kind = "icmp" if protocols == ((1, 1),) else "icmpv6" if protocols == ((58, 58),) else ""
    if not kind or "sport" not in conditions or not conditions["sport"].intervals:
        return []
    values = conditions["sport"].intervals
    if all(low & 0xFF == 0 and high & 0xFF == 0xFF for low, high in values):
        types = Field("th", 0, 8, "type", f"{kind}_type")
        return [f"type {intervals_text(types, [(low >> 8, high >> 8) for low, high in values])}"]
    return [f"type and code {intervals_text(Field('th', 0, 16), values)}"]


def _values_text(condition: Condition) -> str:
    field = condition.field
    if not condition.masks:
        return intervals_text(field, condition.intervals)
    words = [f"& {value_text(field, mask)} = {value_text(field, value)}" for mask, value in condition.masks[:6]]
    more = len(condition.masks) - len(words)
    return " or ".join(words) + (f" or {more} more" if more else "")
