"""From a set over opaque lookups and packet fields to boxes: the elements come back in, joined like tables.

A term "in @flows4 and in @bound4 and to TCP" becomes the elements of one set joined with those of the other where they
overlap, less what must not hold. Nothing is lost: a lookup on a field that is not a coordinate is reported as such.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ringfort.proof.boxes import ICMP, ICMPV6
from ringfort.proof.execute import Result
from ringfort.proof.fields import DPORT, ETHER_DADDR, ETHER_SADDR, IIFNAME, OIFNAME, SPORT, Field, Universe
from ringfort.proof.opaque import Opaque
from ringfort.proof.packets import Interval, PacketSet, where
from ringfort.proof.ruleset import Element

Box = tuple[Interval, ...]
"""One interval for each coordinate."""

IIF, OIF, SOURCE_MAC, DESTINATION_MAC, SOURCE, DESTINATION, PROTOCOL, PORT, TYPE, ARP_MAC = range(10)
"""Coordinates of a box: interfaces as numbers of their names, ``TYPE`` is an ICMP message's type and code.

In an ARP message the source is the sender's protocol address and ``ARP_MAC`` its hardware address.
"""

WIDTHS = (128, 128, 48, 48, 128, 128, 8, 16, 16, 48)
FULL: Box = tuple((0, (1 << width) - 1) for width in WIDTHS)

FEW = 100
"""Pairs of boxes and elements that are compared one by one rather than looked up."""

ElementsOf = Callable[[Opaque], Sequence[Element]]


class NotPlainError(Exception):
    """A lookup reads something that is no coordinate: the set has to be executed element by element."""


def coordinates(result: Result) -> dict[tuple[str, int, int], int]:
    """Which field is which coordinate."""
    universe = result.space.universe
    names = result.space.fields
    fields = {IIFNAME: IIF, OIFNAME: OIF, ETHER_SADDR: SOURCE_MAC, ETHER_DADDR: DESTINATION_MAC}
    if universe is not Universe.OTHER:
        fields |= {names["saddr"]: SOURCE, names["daddr"]: DESTINATION}
    if universe is Universe.ARP:
        fields |= {names["arp saddr ether"]: ARP_MAC}
    if universe in (Universe.IP, Universe.IP6):
        fields |= {names["l4proto"]: PROTOCOL, DPORT: PORT, SPORT: TYPE}
    return {field.key: place for field, place in fields.items()}


def essential(result: Result, packets: PacketSet) -> PacketSet:
    """``packets`` as far as coordinates and lookups tell: every other field is forgotten."""
    space = packets.space
    keep = set(range(space.opaque_count))
    for region, offset, width in coordinates(result):
        keep.update(space.variables(Field(region, offset, width)))
    gone = [number for number in range(space.manager.num_vars()) if number not in keep]
    return PacketSet(space, packets.function.exists(space.cube(gone)))


def services_of(box: Box) -> Iterator[Interval]:
    """The service numbers of a box (see `ringfort.proof.boxes`)."""
    first, last = box[PROTOCOL]
    if first == last and first in (ICMP, ICMPV6):
        yield first << 16 | box[TYPE][0], first << 16 | box[TYPE][1]
    elif box[PORT] == FULL[PORT]:
        yield first << 16, last << 16 | 0xFFFF
    else:
        for protocol in range(first, last + 1):
            yield protocol << 16 | box[PORT][0], protocol << 16 | box[PORT][1]


def by_interface(packets: PacketSet, field: Field, names: Iterable[int]) -> list[tuple[PacketSet, tuple[int, ...]]]:
    """The set for each interface of interest; interfaces that are treated alike are kept together."""
    groups: dict[PacketSet, list[int]] = {}
    for name in names:
        rest = (packets & where(packets.space, field, (name, name))).forget(field)
        if rest:
            groups.setdefault(rest, []).append(name)
    return [(rest, tuple(group)) for rest, group in groups.items()]


@dataclass(frozen=True, slots=True)
class Part:
    """Boxes over plain fields, for the packets that are in all of ``true`` and in none of ``false``."""

    true: tuple[Lookup, ...]
    false: tuple[Lookup, ...]
    boxes: tuple[Box, ...]


@dataclass(frozen=True, slots=True)
class Lookup:
    """An opaque variable and the coordinates its keys are made of."""

    opaque: Opaque
    places: tuple[int, ...]


def skeleton(result: Result, packets: PacketSet) -> tuple[Part, ...]:
    """``packets`` before elements are put in; they must not depend on the interfaces but through lookups.

    Raises:
        NotPlainError: a lookup's key is computed, or reads a field that is no coordinate.
    """
    places = coordinates(result)
    lookups: dict[int, Lookup] = {}
    for entry in result.opaque:
        keys = [field.key for field in entry.fields if field is not None]
        if len(keys) == len(entry.fields) and all(key in places for key in keys):
            lookups[entry.number] = Lookup(entry, tuple(places[key] for key in keys))
    parts = []
    for term in result.terms(packets):
        if not (term.true | term.false) <= lookups.keys():
            raise NotPlainError
        true, false = ([lookups[n] for n in sorted(numbers)] for numbers in (term.true, term.false))
        parts.append(Part(tuple(true), tuple(false), tuple(_plain(term.packets, places))))
    return tuple(parts)


def fill_in(parts: Iterable[Part], elements_of: ElementsOf) -> Iterator[Box]:
    """The boxes of a set, with the elements of one ruleset."""
    for part in parts:
        boxes = list(part.boxes)
        wanted = [(lookup.places, elements_of(lookup.opaque)) for lookup in part.true]
        for places, elements in sorted(wanted, key=lambda pair: len(pair[1])):  # what cannot be is found early
            boxes = _join(boxes, places, elements)
        for lookup in part.false:
            if boxes:
                boxes = _without(boxes, lookup.places, elements_of(lookup.opaque))
        yield from boxes


def _plain(packets: PacketSet, places: dict[tuple[str, int, int], int]) -> Iterable[Box]:
    """The boxes of a set without lookups; ICMP is read by type and code, everything else by port."""
    space = packets.space
    names = space.fields
    shared = [ETHER_SADDR, ETHER_DADDR]
    if space.universe is not Universe.OTHER:
        shared += [names["saddr"], names["daddr"]]
    if space.universe is Universe.ARP:
        shared += [names["arp saddr ether"]]
    if space.universe not in (Universe.IP, Universe.IP6):
        yield from (_placed(box, shared, places) for box in packets.boxes(*shared))
        return
    protocol = names["l4proto"]
    icmp = where(space, protocol, (1, 1), (58, 58))
    for part, last in ((packets & icmp, SPORT), (packets - icmp, DPORT)):
        fields = [*shared, protocol, last]
        yield from (_placed(box, fields, places) for box in part.boxes(*fields))


def _placed(box: Box, fields: Sequence[Field], places: dict[tuple[str, int, int], int]) -> Box:
    full = list(FULL)
    for interval, field in zip(box, fields, strict=True):
        full[places[field.key]] = interval
    return tuple(full)


def _join(boxes: list[Box], places: tuple[int, ...], elements: Sequence[Element]) -> list[Box]:
    """Every box cut to every element it overlaps."""
    if not boxes:
        return []
    pick = _index(boxes, places, elements)
    joined = []
    for box in boxes:
        for element in pick(box):
            cut = _meet(box, places, element.key)
            if cut is not None:
                joined.append(cut)
    return joined


def _index(
    boxes: list[Box], places: tuple[int, ...], elements: Sequence[Element]
) -> Callable[[Box], Sequence[Element]]:
    """For a box the elements that may overlap it: by a coordinate in which all are points, else all."""
    for part, place in enumerate(places):
        if len(elements) * len(boxes) <= FEW:
            break
        keys = [element.key[part] for element in elements]
        if all(low == high for low, high in keys) and all(box[place][0] == box[place][1] for box in boxes):
            return _table(elements, part, place)
    return lambda _: elements


def _table(elements: Sequence[Element], part: int, place: int) -> Callable[[Box], Sequence[Element]]:
    table: dict[int, list[Element]] = {}
    for element in elements:
        table.setdefault(element.key[part][0], []).append(element)
    return lambda box: table.get(box[place][0], ())


def _meet(box: Box, places: tuple[int, ...], key: tuple[Interval, ...]) -> Box | None:
    cut: list[Any] = list(box)
    for place, (first, last) in zip(places, key, strict=True):
        own = cut[place]
        low, high = max(own[0], first), min(own[1], last)
        if low > high:
            return None
        cut[place] = (low, high)
    return tuple(cut)


def _without(boxes: list[Box], places: tuple[int, ...], elements: Sequence[Element]) -> list[Box]:
    """What is left of the boxes outside all elements, as disjoint boxes."""
    pick = _index(boxes, places, elements)
    left = []
    for box in boxes:
        pieces = [box]
        for element in pick(box):
            pieces = [piece for one in pieces for piece in _cut_out(one, places, element.key)]
        left += pieces
    return left


def _cut_out(box: Box, places: tuple[int, ...], key: tuple[Interval, ...]) -> Iterable[Box]:
    if _meet(box, places, key) is None:
        yield box
        return
    rest = list(box)
    for place, (low, high) in zip(places, key, strict=True):
        first, last = rest[place]
        if first < low:
            yield (*rest[:place], (first, low - 1), *rest[place + 1 :])
        if last > high:
            yield (*rest[:place], (high + 1, last), *rest[place + 1 :])
        rest[place] = max(first, low), min(last, high)
