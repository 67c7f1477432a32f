"""From boxes to buckets, and the sweep over them; the whole of it, or again what one changed segment touches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from ringfort.environment.model import Environment
from ringfort.proof import sweep as kernel
from ringfort.proof.addresses import AddressLine, lay_out
from ringfort.proof.boxes import Layer, RawBoxes
from ringfort.proof.sweep import Array, Boxes, Sink, Tables

COMPILE_FROM = 20_000
"""Pieces from which numba's import (about 0.5 s) is repaid."""

LAYER_BITS = {
    Layer.HOST_IN: kernel.HOST_IN,
    Layer.HOST_OUT: kernel.HOST_OUT,
    Layer.IDENTITY: kernel.IDENTITY,
    Layer.DECLARED: kernel.DECLARED,
}

ServiceRange = tuple[int, int, int]
"""First and last service number, and the flags MUTUAL and PUBLIC of `ringfort.proof.sweep`."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of the parties besides the boxes.

    Attributes:
        services: host -> ranges of services it enforces `mutual` for, or offers to the internet.
        routers: site -> names of its different routers; a router whose rules equal the other's is left out.
        unsent: hosts whose own packets their switch refuses; ``undelivered``: hosts it does not deliver to.
    """

    services: Mapping[str, Sequence[ServiceRange]]
    routers: Mapping[str, Sequence[str]]
    unsent: frozenset[str] = frozenset()
    undelivered: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Result:
    """What a sweep found. Columns as in `ringfort.proof.sweep`; ``ends`` gives each bucket's two zones."""

    records: Array
    minima: Array
    ends: Array
    chosen: Array
    cells: int


@dataclass(slots=True)
class Question:
    """An environment's boxes in buckets, ready to be swept."""

    frame: Frame
    boxes: Boxes
    offsets: Array
    ends: Array

    @property
    def line(self) -> AddressLine:
        """The line of addresses the boxes are on."""
        return self.frame.line

    @property
    def buckets(self) -> int:
        """How many pairs of zones some box touches."""
        return len(self.ends)

    def ask(self, chosen: Array | None = None, *, compiled: bool | None = None) -> Result:
        """Sweep all buckets, or the chosen ones; ``compiled`` or not as there are boxes to repay it, unless said."""
        chosen = np.arange(self.buckets, dtype=np.int64) if chosen is None else chosen
        minima = np.zeros((self.buckets, kernel.PLACES, 6), dtype=np.int64)
        minima[:, :, 0] = kernel.UNSEEN
        run = _runner(compiled=len(self.boxes.bit) >= COMPILE_FROM if compiled is None else compiled)
        room = 4096
        while True:
            records = np.zeros((room, kernel.COLUMNS), dtype=np.int64)
            sink = Sink(minima, records, np.zeros(2, dtype=np.int64), np.zeros((1, 1), dtype=np.int64))
            run(self.frame.tables, self.boxes, self.offsets, self.ends, chosen, sink)
            found, cells = int(sink.counters[0]), int(sink.counters[1])
            if found <= room:
                return Result(records[:found], minima, self.ends, chosen, cells)
            room = found

    def touching(self, segment: str) -> Array:
        """The buckets that have a segment at one end."""
        number = self.line.segments.index(segment)
        return np.flatnonzero((self.ends == number).any(axis=1))

    def changed(self, segment: str, raw: RawBoxes) -> Question:
        """The buckets that touch one segment, asked anew: ``raw`` are all the boxes that now touch it.

        Nothing else has to be asked again: no other bucket holds a box of these, and no answer reaches beyond its
        bucket. What the whole says now is the old answer without `touching` (segment), and this one.

        Raises:
            UnknownBoundError: a bound that divides an atom; then the whole question has to be built anew.
        """
        number = self.line.segments.index(segment)
        boxes, keys = _cut(self.frame, raw)
        zones = max(len(self.line.segments), 1)
        touched = (keys // zones == number) | (keys % zones == number)
        return _in_buckets(self.frame, _take(boxes, touched), keys[touched])


@dataclass(frozen=True, slots=True)
class Frame:
    """What boxes are placed in. ``runs``: where the zones of atoms and of entries begin and end.

    ``router_place``: router number -> site number, place among the site's different routers (-1: left out).
    """

    line: AddressLine
    tables: Tables
    router_place: Array
    atom_runs: Runs
    entry_runs: Runs


@dataclass(frozen=True, slots=True)
class Runs:
    """Stretches of one zone: first and last place of each, and for each place its stretch."""

    first: Array
    last: Array
    of: Array


def build(environment: Environment, raw: RawBoxes, facts: Facts) -> Question:
    """Lay out the line of addresses, cut the boxes at its zones and sort them into buckets."""
    line = lay_out(environment, raw.edges.keys)
    tables, places = _tables(environment, line, facts), _router_places(environment, facts)
    frame = Frame(line, tables, places, _runs(line.zone), _runs(line.entry_zone))
    return _in_buckets(frame, *_cut(frame, raw))


def _in_buckets(frame: Frame, boxes: Boxes, keys: Array) -> Question:
    line = frame.line
    order = np.argsort(keys * len(line.zone) + boxes.source_first, kind="stable")
    boxes, keys = _take(boxes, order), keys[order]
    starts = np.flatnonzero(np.diff(keys, prepend=-1))
    zones = max(len(line.segments), 1)
    ends = np.stack((keys[starts] // zones, keys[starts] % zones), axis=1).astype(np.int32)
    offsets = np.append(starts, len(keys)).astype(np.int64)
    return Question(frame, boxes, offsets, ends)


def _take(boxes: Boxes, chosen: Array) -> Boxes:
    return Boxes(*(column[chosen] for column in boxes))


def _cut(frame: Frame, raw: RawBoxes) -> tuple[Boxes, Array]:
    """Pieces of boxes inside one source zone and one destination segment each, and their bucket's key."""
    line = frame.line
    atoms = line.atoms(raw.edges.keys)
    before = line.entries_before[atoms]
    starts, ends, there, there_end, *others = (
        np.array(column, dtype=np.int32)
        for column in (
            raw.source_start, raw.source_end, raw.destination_start, raw.destination_end,
            raw.service_first, raw.service_last, raw.layer, raw.router,
        )
    )  # fmt: skip
    entry_first, entry_last = before[there], before[there_end] - 1
    columns = [atoms[starts], atoms[ends] - 1, entry_first, entry_last, *others]
    kept = entry_first <= entry_last
    columns = _by_runs([column[kept] for column in columns], 0, frame.atom_runs)
    columns = _by_runs(columns, 2, frame.entry_runs)
    zone, there = line.zone[columns[0]], line.entry_zone[columns[2]]
    bit = _bits(frame.tables, frame.router_place, zone, there, columns[6], columns[7])
    kept = bit != 0
    boxes = Boxes(*(column[kept] for column in (*columns[:6], bit)))
    return boxes, zone[kept].astype(np.int64) * max(len(line.segments), 1) + there[kept]


def _runs(zone: Array) -> Runs:
    first = np.flatnonzero(np.diff(zone, prepend=-1)).astype(np.int32)
    last = np.append(first[1:], len(zone)).astype(np.int32) - 1
    return Runs(first, last, np.repeat(np.arange(len(first), dtype=np.int32), last - first + 1))


def _by_runs(columns: list[Array], at: int, runs: Runs) -> list[Array]:
    """Cut the ranges in columns ``at`` and ``at + 1`` where the zone changes."""
    if not len(columns[at]):
        return columns
    low = runs.of[columns[at]]
    counts = runs.of[columns[at + 1]] - low + 1
    if (counts == 1).all():
        return columns
    which = np.repeat(np.arange(len(counts)), counts)
    step = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
    piece = low[which] + step
    columns = [column[which] for column in columns]
    columns[at] = np.maximum(columns[at], runs.first[piece])
    columns[at + 1] = np.minimum(columns[at + 1], runs.last[piece])
    return columns


def _bits(tables: Tables, router_place: Array, zone: Array, there: Array, layer: Array, router: Array) -> Array:
    """The bit of each piece; 0 for a piece that can't matter (a router on no way between the two ends)."""
    bit = np.zeros(len(layer), dtype=np.uint8)
    for kind, value in LAYER_BITS.items():
        bit[layer == kind] = value
    routed = np.flatnonzero(layer == Layer.ROUTER)
    site, place = router_place[router[routed], 0], router_place[router[routed], 1]
    near, far = tables.zone_site[there[routed]], tables.zone_site[zone[routed]]
    at_near = (site == near) & (place >= 0)
    at_far = (site == far) & (far != near) & (place >= 0)
    bit[routed[at_near]] = kernel.NEAR_1 << place[at_near]
    bit[routed[at_far]] = kernel.FAR_1 << place[at_far]
    return bit


def _router_places(environment: Environment, facts: Facts) -> Array:
    places = np.full((max(len(environment.routers), 1), 2), -1, dtype=np.int32)
    sites = {name: number for number, name in enumerate(environment.sites)}
    for number, router in enumerate(environment.routers.values()):
        different = facts.routers[router.site]
        places[number] = sites[router.site], different.index(router.name) if router.name in different else -1
    return places


def _tables(environment: Environment, line: AddressLine, facts: Facts) -> Tables:
    machines = _Machines()
    sites = {name: number for number, name in enumerate(environment.sites)}
    segments = list(environment.segments.values())
    hosts = [environment.hosts[name] for name in line.entry_host]
    beyond = [-1, -1, -1]
    router_machine = np.full((max(len(sites), 1), 2), -1, dtype=np.int32)
    for site, names in facts.routers.items():
        for place, name in enumerate(names):
            router_machine[sites[site], place] = machines.number(environment.routers[name].machine)
    services = [facts.services.get(name, ()) for name in line.entry_host]
    flat = [item for ranges in services for item in ranges]
    owners = [machines.number(host.machine) for host in hosts]
    neighbours: list[set[int]] = [set() for _ in range(line.zones)]
    guests: list[dict[int, set[str]]] = [{} for _ in range(line.zones)]
    for host, owner, zone in zip(hosts, owners, line.entry_zone.tolist(), strict=True):
        neighbours[zone].add(owner)
        if host.hypervisor:
            guests[zone].setdefault(owner, set()).add(host.name)
    return Tables(
        atom_entry=line.entry,
        entry_machine=_ints(owners),
        entry_unsent=_ints([name in facts.unsent for name in line.entry_host]),
        entry_undelivered=_ints([name in facts.undelivered for name in line.entry_host]),
        zone_site=_ints([*(sites[segment.site] for segment in segments), *beyond]),
        zone_switch=_ints([*(machines.number(segment.machine) for segment in segments), *beyond]),
        segments=len(segments),
        routers=_ints([len(facts.routers[name]) for name in environment.sites] or [0]),
        router_machine=router_machine,
        service_start=_starts([len(ranges) for ranges in services]),
        service_first=_ints([item[0] for item in flat]),
        service_last=_ints([item[1] for item in flat]),
        service_flags=_ints([item[2] for item in flat]),
        neighbour_start=_starts([len(one) for one in neighbours]),
        neighbour_machines=_ints([number for one in neighbours for number in sorted(one)]),
        entry_guest=_ints([bool(host.hypervisor) for host in hosts]),
        guest_start=_starts([len(one) for one in guests]),
        guest_machines=_ints([number for one in guests for number in sorted(one)]),
        guest_counts=_ints([len(one[number]) for one in guests for number in sorted(one)]),
    )


class _Machines:
    """Numbers for machines, in the order they are met."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, machine: str) -> int:
        return self._numbers.setdefault(machine, len(self._numbers))


def _ints(values: Sequence[int]) -> Array:
    return np.array(values, dtype=np.int32)


def _starts(sizes: Sequence[int]) -> Array:
    return np.concatenate(([0], np.cumsum(np.array(sizes, dtype=np.int64)))).astype(np.int64)


def _runner(*, compiled: bool) -> Callable[..., None]:
    return _compiled() if compiled else kernel.sweep


@cache
def _compiled() -> Callable[..., None]:
    import numba
    from numba.extending import register_jitable

    for function in kernel.CALLED:
        register_jitable(function)
    runner: Callable[..., None] = numba.njit(cache=True, nogil=True)(kernel.sweep)
    return runner
