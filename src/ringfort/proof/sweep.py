"""The inner loop of the proof: count, for every cell of every bucket, the owners that refuse it.

A *bucket* is a pair (zone of the source, segment of the destination); a *cell* is one stretch of sources, one host
address and one stretch of services that no box divides. Everything a cell can meet on any way to its destination
follows from a few bits, so one pass answers for every failure at once (docs/depth.md has the argument).

The functions are plain Python over arrays, in the subset that numba compiles: small questions run as they stand,
without numba's import; large ones are compiled (`ringfort.proof.engine`). Both are the same text.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]
"""An array whose elements are numbers to numba and anything to the type checker."""

# Bits of a cell: who accepts it. NEAR are the routers of the destination's site (and of the source's, if they are the
# same site); FAR those of the source's site when it is another one.
NEAR_1, NEAR_2, FAR_1, FAR_2 = 1, 2, 4, 8
HOST_IN, HOST_OUT, IDENTITY, DECLARED = 16, 32, 64, 128

# What a receiver's service does besides: flags of a service range.
MUTUAL, PUBLIC = 1, 2

# Kinds of findings.
NOT_OPEN, NOT_CLOSED, SHALLOW, NEIGHBOUR, TAKEN_ROUTER, DIRECT = 0, 1, 2, 3, 4, 5
KINDS = 6

# Columns of a finding.
KIND, BUCKET, ATOM, ENTRY, FIRST, LAST, BITS, FLAGS, DEPTH, COUNT = range(10)
COLUMNS = 10

# Rows of a bucket's minima, and their columns (see `minima`).
HERE, UNOWNED, ROUTER, SPOOFED = 0, 1, 2, 3
PLACES = 4
GRID_LIMIT = 1_000_000
"""Cells in one grid, one byte each."""
UNSEEN = 99
"""A depth larger than any: no cell of that kind was seen."""


class Tables(NamedTuple):
    """What the cells of all buckets have in common. Machines are numbers; -1 stands for none.

    Attributes:
        atom_entry: entry (host address) of each atom, or -1.
        entry_machine: owner of each entry's host firewall and identity checks.
        entry_unsent: 1 where the switch refuses the host's own packets.
        entry_undelivered: 1 where the switch refuses to deliver to the host.
        zone_site: site of each zone; -1 for the zones that are no segment.
        zone_switch: owner of each zone's port security.
        segments: number of zones that are segments; then follow internal, bogon and external.
        routers: number of different routers of each site, 1 or 2; router_machine: their owners.
        service_start: for each entry, where its service ranges start; service_first, service_last, service_flags.
        neighbour_start, neighbour_machines: for each zone its hosts' machines, ascending, without repeats.
        entry_guest: 1 where the host is an instance.
        guest_start, guest_machines, guest_counts: for each zone the machines of its instances, and how many are there.
    """

    atom_entry: Array
    entry_machine: Array
    entry_unsent: Array
    entry_undelivered: Array
    zone_site: Array
    zone_switch: Array
    segments: int
    routers: Array
    router_machine: Array
    service_start: Array
    service_first: Array
    service_last: Array
    service_flags: Array
    neighbour_start: Array
    neighbour_machines: Array
    entry_guest: Array
    guest_start: Array
    guest_machines: Array
    guest_counts: Array


class Boxes(NamedTuple):
    """Pieces of boxes sorted by bucket: atoms, entries and services (inclusive), and the bit each one sets."""

    source_first: Array
    source_last: Array
    entry_first: Array
    entry_last: Array
    service_first: Array
    service_last: Array
    bit: Array


class Sink(NamedTuple):
    """Where results go. ``minima``: for each bucket and kind of place its weakest cell. ``counters``: findings, cells.

    ``slots``: for the bucket at hand, where the group of each kind and service stands in ``records``, or -1.
    """

    minima: Array
    records: Array
    counters: Array
    slots: Array


class Cell(NamedTuple):
    """One cell: where it is, who accepts it (``bits``), what the service does besides (``flags``), and its group."""

    atom: int
    entry: int
    first: int
    last: int
    bits: int
    flags: int
    bucket: int
    group: int


def owners(a: int, b: int, c: int, d: int, e: int, f: int, besides: int) -> int:
    """How many different owners are among six, not counting -1 and ``besides``."""
    count = int(counts(a, besides))
    count += counts(b, besides) and b != a
    count += counts(c, besides) and c != a and c != b
    count += counts(d, besides) and d != a and d != b and d != c
    count += counts(e, besides) and e != a and e != b and e != c and e != d
    count += counts(f, besides) and f != a and f != b and f != c and f != d and f != e
    return count


def counts(owner: int, besides: int) -> bool:
    """Whether somebody refuses whose refusal the attacker has no power over."""
    return owner != -1 and owner != besides


def least_over_routers(
    tables: Tables, bits: int, near: int, far: int, port: int, switch: int, end: int, sandbox: int, besides: int
) -> int:
    """The fewest owners that refuse, over which routers are active; ``port``, ``switch``, ``end`` and ``sandbox`` (the
    sender's) are the others."""
    least = UNSEEN
    for i in range(tables.routers[near]):
        first = -1 if bits & (NEAR_1 << i) else tables.router_machine[near, i]
        if far < 0:
            least = min(least, owners(port, first, -1, switch, end, sandbox, besides))
        else:
            for j in range(tables.routers[far]):
                second = -1 if bits & (FAR_1 << j) else tables.router_machine[far, j]
                least = min(least, owners(port, first, second, switch, end, sandbox, besides))
    return least


def all_routers_accept(tables: Tables, bits: int, near: int, far: int) -> bool:
    """Whether every router on the way accepts, whichever is active."""
    for i in range(tables.routers[near]):
        if not bits & (NEAR_1 << i):
            return False
    if far >= 0:
        for j in range(tables.routers[far]):
            if not bits & (FAR_1 << j):
                return False
    return True


def flags_of(tables: Tables, entry: int, service: int) -> int:
    """What the receiver's services do with a service number: MUTUAL, PUBLIC, both or neither."""
    flags = 0
    for k in range(tables.service_start[entry], tables.service_start[entry + 1]):
        if tables.service_first[k] <= service <= tables.service_last[k]:
            flags |= tables.service_flags[k]
    return flags


def has_neighbour(tables: Tables, zone: int, source: int, destination: int) -> bool:
    """Whether a host of ``zone`` is on neither of the two machines: it can pass for the source."""
    for k in range(tables.neighbour_start[zone], tables.neighbour_start[zone + 1]):
        machine = tables.neighbour_machines[k]
        if machine != source and machine != destination:
            return True
    return False


def has_guest(tables: Tables, k: int, zone: int, there: int, cell: Cell) -> bool:
    """Whether place ``k`` of the instances of ``zone`` counts one that is neither the source nor the destination."""
    machine, count = tables.guest_machines[k], tables.guest_counts[k]
    source = tables.atom_entry[cell.atom]
    if tables.entry_guest[source] and tables.entry_machine[source] == machine:
        count -= 1
    if zone == there and tables.entry_guest[cell.entry] and tables.entry_machine[cell.entry] == machine:
        count -= 1
    return bool(count > 0)


def router_depth(tables: Tables, site: int, receiver: int, end: int, switch: int) -> int:
    """The fewest owners between a taken-over router and a receiver of its site; UNSEEN if they are on one machine."""
    least = UNSEEN
    for k in range(tables.routers[site]):
        router = tables.router_machine[site, k]
        if router != receiver:
            least = min(least, owners(end, switch, -1, -1, -1, -1, router))
    return least


def spoofed_depth(tables: Tables, site: int, end: int, switch: int) -> int:
    """The fewest owners that refuse an inside (or impossible) source from the internet: the router always does."""
    least = UNSEEN
    for k in range(tables.routers[site]):
        least = min(least, owners(tables.router_machine[site, k], end, switch, -1, -1, -1, -1))
    return least


def note(sink: Sink, place: int, depth: int, cell: Cell) -> None:
    """Remember the weakest cell of a bucket for a kind of place."""
    row = sink.minima[cell.bucket, place]
    if depth < row[0]:
        row[0], row[1], row[2] = depth, cell.atom, cell.entry
        row[3], row[4], row[5] = cell.first, cell.bits, cell.flags


def report(sink: Sink, kind: int, depth: int, cell: Cell) -> None:
    """Count a finding in its group (bucket, kind, service); the weakest cell of a group is its witness."""
    slot = sink.slots[kind, cell.group]
    if slot < 0:
        slot = sink.counters[0]
        sink.counters[0] += 1
        if slot >= len(sink.records):
            return
        sink.slots[kind, cell.group] = slot
        sink.records[slot, COUNT] = 0
        sink.records[slot, DEPTH] = UNSEEN
    row = sink.records[slot]
    row[COUNT] += 1
    if depth < row[DEPTH]:
        row[KIND], row[BUCKET], row[ATOM], row[ENTRY] = kind, cell.bucket, cell.atom, cell.entry
        row[FIRST], row[LAST], row[BITS], row[FLAGS] = cell.first, cell.last, cell.bits, cell.flags
        row[DEPTH] = depth


def judge_own(tables: Tables, cell: Cell, zone: int, there: int, sink: Sink) -> None:
    """A host sends under its own address: what is declared gets through, anything else is refused by two owners."""
    source = tables.atom_entry[cell.atom]
    sender, receiver = tables.entry_machine[source], tables.entry_machine[cell.entry]
    near, far = tables.zone_site[there], tables.zone_site[zone]
    far = -1 if far == near else far
    port = tables.zone_switch[zone] if tables.entry_unsent[source] else -1
    switch = tables.zone_switch[there] if tables.entry_undelivered[cell.entry] else -1
    end = -1 if cell.bits & HOST_IN and (cell.bits & IDENTITY or not cell.flags & MUTUAL) else receiver
    if cell.bits & DECLARED:
        accepted = all_routers_accept(tables, cell.bits, near, far) and cell.bits & HOST_OUT
        if not accepted or end >= 0 or port >= 0 or switch >= 0:
            report(sink, NOT_OPEN, 0, cell)
    elif sender != receiver:
        depth = least_over_routers(tables, cell.bits, near, far, port, switch, end, -1, sender)
        direct = owners(tables.zone_switch[zone], end, -1, -1, -1, -1, sender) if zone == there else UNSEEN
        if min(depth, direct) < 2:
            kind = NOT_CLOSED if depth == 0 else SHALLOW
            report(sink, DIRECT if direct < depth else kind, min(depth, direct), cell)
        note(sink, HERE, min(depth, direct), cell)
        port = port if cell.bits & HOST_OUT else sender
        note(sink, UNOWNED, least_over_routers(tables, cell.bits, near, far, port, switch, end, -1, -1), cell)
    elif tables.entry_guest[source]:
        judge_guest(tables, cell, zone, there, sink)


def judge_guest(tables: Tables, cell: Cell, zone: int, there: int, sink: Sink) -> None:
    """An instance that is taken over sends, under its own address, to what is on its own hypervisor: its sandbox is
    not the attacker's, and has one owner with whatever guards the receiver. It lets nothing straight to a neighbour."""
    machine = tables.entry_machine[cell.entry]
    near, far = tables.zone_site[there], tables.zone_site[zone]
    far = -1 if far == near else far
    port = tables.zone_switch[zone] if tables.entry_unsent[tables.atom_entry[cell.atom]] else -1
    switch = tables.zone_switch[there] if tables.entry_undelivered[cell.entry] else -1
    taken = cell.bits & HOST_IN and (cell.bits & IDENTITY or not cell.flags & MUTUAL)
    end = -1 if taken and cell.bits & HOST_OUT else machine
    depth = least_over_routers(tables, cell.bits, near, far, port, switch, end, -1, -1)
    direct = owners(tables.zone_switch[zone], machine, -1, -1, -1, -1, -1) if zone == there else UNSEEN
    if min(depth, direct) < 2:
        kind = NOT_CLOSED if depth == 0 else SHALLOW
        report(sink, DIRECT if direct < depth else kind, min(depth, direct), cell)
    note(sink, HERE, min(depth, direct), cell)
    note(sink, UNOWNED, depth, cell)


def judge_neighbour(tables: Tables, cell: Cell, zone: int, there: int, sink: Sink) -> None:
    """A neighbour sends under the source's address, without its keys: never declared."""
    sender = tables.entry_machine[tables.atom_entry[cell.atom]]
    receiver = tables.entry_machine[cell.entry]
    near, far = tables.zone_site[there], tables.zone_site[zone]
    far = -1 if far == near else far
    port = tables.zone_switch[zone]
    switch = tables.zone_switch[there] if tables.entry_undelivered[cell.entry] else -1
    end = -1 if cell.bits & HOST_IN and not cell.flags & MUTUAL else receiver
    depth = UNSEEN
    if has_neighbour(tables, zone, sender, receiver):
        depth = least_over_routers(tables, cell.bits, near, far, port, switch, end, -1, -1)
        if zone == there:
            depth = min(depth, owners(port, end, -1, -1, -1, -1, -1))
    else:  # an instance beside one of the two: who owns it owns neither of them, and its sandbox refuses as well
        for k in range(tables.guest_start[zone], tables.guest_start[zone + 1]):
            machine = tables.guest_machines[k]
            if has_guest(tables, k, zone, there, cell):
                own = least_over_routers(tables, cell.bits, near, far, port, switch, end, machine, -1)
                depth = min(depth, own)
                if zone == there:
                    depth = min(depth, owners(port, end, machine, -1, -1, -1, -1))
    if depth == UNSEEN:
        return
    if depth < 2:
        report(sink, NEIGHBOUR, depth, cell)
    note(sink, HERE, depth, cell)


def judge_stranger(tables: Tables, cell: Cell, there: int, sink: Sink) -> None:
    """A taken-over router sends it, or the internet does under a source that cannot be true there."""
    site, receiver = tables.zone_site[there], tables.entry_machine[cell.entry]
    switch = tables.zone_switch[there] if tables.entry_undelivered[cell.entry] else -1
    end = -1 if cell.bits & HOST_IN and not cell.flags & MUTUAL else receiver
    depth = router_depth(tables, site, receiver, end, switch)
    if depth < 1:
        report(sink, TAKEN_ROUTER, depth, cell)
    note(sink, ROUTER, depth, cell)
    note(sink, SPOOFED, spoofed_depth(tables, site, end, switch), cell)


def judge_internet(tables: Tables, cell: Cell, there: int, sink: Sink) -> None:
    """Anyone on the internet sends it, or a taken-over router in anyone's name."""
    site, receiver = tables.zone_site[there], tables.entry_machine[cell.entry]
    switch = tables.zone_switch[there] if tables.entry_undelivered[cell.entry] else -1
    end = -1 if cell.bits & HOST_IN and not cell.flags & MUTUAL else receiver
    if cell.bits & DECLARED and (end >= 0 or switch >= 0 or not all_routers_accept(tables, cell.bits, site, -1)):
        report(sink, NOT_OPEN, 0, cell)
    if cell.flags & PUBLIC:
        return
    depth = least_over_routers(tables, cell.bits, site, -1, -1, switch, end, -1, -1)
    if depth < 2:
        report(sink, NOT_CLOSED if depth == 0 else SHALLOW, depth, cell)
    note(sink, HERE, depth, cell)
    note(sink, UNOWNED, depth, cell)
    depth = router_depth(tables, site, receiver, end, switch)
    if depth < 1:
        report(sink, TAKEN_ROUTER, depth, cell)
    note(sink, ROUTER, depth, cell)


def judge(tables: Tables, cell: Cell, zone: int, there: int, sink: Sink) -> None:
    """One cell, by the kind of its source: every way, from every place, that can carry it."""
    sink.counters[1] += 1
    if zone == tables.segments + 2:
        judge_internet(tables, cell, there, sink)
        return
    if tables.atom_entry[cell.atom] == cell.entry:
        return  # Linux takes no packet from outside under an address of its own (fib_validate_source)
    if zone < tables.segments and tables.atom_entry[cell.atom] >= 0:
        judge_own(tables, cell, zone, there, sink)
        judge_neighbour(tables, cell, zone, there, sink)
    judge_stranger(tables, cell, there, sink)


def cuts(first: Array, last: Array) -> Array:
    """Where a coordinate changes: every first, and every last plus one, ascending, without repeats."""
    return np.unique(np.concatenate((first, last + 1)))


def service_cuts(tables: Tables, boxes: Boxes) -> Array:
    """`cuts` of services; where a box is wide, also at the edges of what the receivers' services do."""
    edges = cuts(boxes.service_first, boxes.service_last)
    if (boxes.service_first == boxes.service_last).all():
        return edges
    begin = tables.service_start[boxes.entry_first.min()]
    end = tables.service_start[boxes.entry_last.max() + 1]
    inner = cuts(tables.service_first[begin:end], tables.service_last[begin:end])
    inner = inner[(inner > edges[0]) & (inner < edges[-1])]
    return np.unique(np.concatenate((edges, inner)))


def fill(grid: Array, boxes: Boxes, xs: Array, ys: Array, zs: Array) -> None:
    """OR every box's bit into the cells it covers."""
    for k in range(len(boxes.bit)):
        x0, x1 = np.searchsorted(xs, boxes.source_first[k]), np.searchsorted(xs, boxes.source_last[k] + 1)
        y0, y1 = np.searchsorted(ys, boxes.entry_first[k]), np.searchsorted(ys, boxes.entry_last[k] + 1)
        z0, z1 = np.searchsorted(zs, boxes.service_first[k]), np.searchsorted(zs, boxes.service_last[k] + 1)
        for x in range(x0, x1):
            for y in range(y0, y1):
                for z in range(z0, z1):
                    grid[x, y, z] |= boxes.bit[k]


def part(boxes: Boxes, start: int, stop: int) -> Boxes:
    """The boxes of one bucket."""
    return Boxes(
        boxes.source_first[start:stop], boxes.source_last[start:stop], boxes.entry_first[start:stop],
        boxes.entry_last[start:stop], boxes.service_first[start:stop], boxes.service_last[start:stop],
        boxes.bit[start:stop],
    )  # fmt: skip


def slab(boxes: Boxes, widest: int, window: Array) -> Boxes:
    """The boxes that meet a window of sources and entries (first and one past last of each), cut to it.

    ``boxes`` is in the order of its first sources, and none is wider than ``widest``: so a window is a short slice.
    """
    start = np.searchsorted(boxes.source_first, window[0] - widest)
    near = part(boxes, start, np.searchsorted(boxes.source_first, window[1]))
    kept = (near.source_last >= window[0]) & (near.entry_first < window[3]) & (near.entry_last >= window[2])
    return Boxes(
        np.maximum(near.source_first[kept], window[0]), np.minimum(near.source_last[kept], window[1] - 1),
        np.maximum(near.entry_first[kept], window[2]), np.minimum(near.entry_last[kept], window[3] - 1),
        near.service_first[kept], near.service_last[kept], near.bit[kept],
    )  # fmt: skip


def sweep_cells(
    tables: Tables, boxes: Boxes, xs: Array, ys: Array, zone: int, there: int, bucket: int, sink: Sink
) -> None:
    """Every cell that some box covers, in one grid."""
    zs = service_cuts(tables, boxes)
    grid = np.zeros((len(xs) - 1, len(ys) - 1, len(zs) - 1), dtype=np.uint8)
    fill(grid, boxes, xs, ys, zs)
    local = Sink(sink.minima, sink.records, sink.counters, np.full((KINDS, len(zs) - 1), -1, dtype=np.int64))
    for x in range(len(xs) - 1):
        for y in range(len(ys) - 1):
            for z in range(len(zs) - 1):
                bits = grid[x, y, z]
                if bits == 0:
                    continue
                for entry in range(ys[y], ys[y + 1]):
                    flags = flags_of(tables, entry, zs[z])
                    for atom in range(xs[x], xs[x + 1]):
                        cell = Cell(atom, entry, zs[z], zs[z + 1] - 1, bits, flags, bucket, z)
                        judge(tables, cell, zone, there, local)


def sweep_bucket(tables: Tables, whole: Boxes, zone: int, there: int, bucket: int, sink: Sink) -> None:
    """One bucket. A grid that would be too large is halved along its sources, then along its destinations.

    In a slab only the coordinates of its own boxes are left, so that a sparse bucket costs what its boxes cost.
    """
    xs, ys = cuts(whole.source_first, whole.source_last), cuts(whole.entry_first, whole.entry_last)
    if len(xs) * len(ys) * 2 * len(whole.bit) <= GRID_LIMIT:
        sweep_cells(tables, whole, xs, ys, zone, there, bucket, sink)
        return
    widest = (whole.source_last - whole.source_first).max()
    windows = np.empty((64 * 2, 4), dtype=np.int32)  # each halving adds one: 2 x 32 bits are enough
    windows[0, 0], windows[0, 1], windows[0, 2], windows[0, 3] = xs[0], xs[-1], ys[0], ys[-1]
    waiting = 1
    while waiting > 0:
        waiting -= 1
        window = windows[waiting].copy()
        boxes = slab(whole, widest, window)
        if len(boxes.bit) == 0:
            continue
        xs, ys = cuts(boxes.source_first, boxes.source_last), cuts(boxes.entry_first, boxes.entry_last)
        if len(xs) * len(ys) * 2 * len(boxes.bit) <= GRID_LIMIT or len(xs) + len(ys) == 4:
            sweep_cells(tables, boxes, xs, ys, zone, there, bucket, sink)
            continue
        axis = 0 if len(xs) > 2 else 2
        middle = xs[len(xs) // 2] if axis == 0 else ys[len(ys) // 2]
        windows[waiting], windows[waiting + 1] = window, window
        windows[waiting, axis + 1], windows[waiting + 1, axis] = middle, middle
        waiting += 2


def sweep(tables: Tables, boxes: Boxes, offsets: Array, ends: Array, chosen: Array, sink: Sink) -> None:
    """Every chosen bucket: bucket b holds the boxes from ``offsets[b]``, ``ends[b]`` is its two zones.

    More findings than ``records`` holds are counted and not kept: run again with more room.
    """
    for index in range(len(chosen)):
        bucket = chosen[index]
        own = part(boxes, offsets[bucket], offsets[bucket + 1])
        sweep_bucket(tables, own, ends[bucket, 0], ends[bucket, 1], bucket, sink)


CALLED = (
    owners, counts, least_over_routers, all_routers_accept, flags_of, has_neighbour, has_guest, router_depth,
    spoofed_depth, note, report, judge_guest, judge_own, judge_neighbour, judge_stranger, judge_internet, judge, cuts,
    service_cuts, fill, part, slab, sweep_cells, sweep_bucket,
)  # fmt: skip
"""What `sweep` calls: to be compiled with it."""
