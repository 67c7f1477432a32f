"""Read every record of a log and hash it, on several cores; what each tile's files say, nothing concluded yet."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from ringfort.audit.errors import AuditError
from ringfort.audit.reading import Directory, Files, read_bundle, read_tile_file
from ringfort.audit.tiles import LARGEST_TILE, WIDTH, full_tile_hash, tile_path, width_at
from ringfort.audit.tree import HASH_BYTES, Hash

STRIDE = 64
"""Tiles that one process takes at a time."""

WORTH_PROCESSES = 64 * WIDTH
"""Records from which starting processes pays."""


@dataclass(frozen=True, slots=True)
class Scan:
    """What the files of one tile of level 0 say.

    Args:
        number: of the tile.
        hashes: of the leaves in the bundle, in order, 32 bytes each; only of a partial tile or if something is wrong.
        subtree: the hash over the leaves; none unless the bundle has all 256.
        complete: whether the bundle has as many entries as it should.
        fault: what is wrong with the bundle's file; empty if nothing.
        tile_fault: what is wrong with the file of hashes, compared with the bundle.
        chained: whether each record has its index, and the hash of the one before it, inside this bundle.
        first_previous: what the first record has for the hash before it.
        last: the hash of the last leaf.
    """

    number: int
    hashes: bytes
    subtree: Hash | None
    complete: bool
    fault: str
    tile_fault: str
    chained: bool
    first_previous: bytes
    last: Hash


def scan(files: Files, size: int, processes: int) -> Iterator[Scan]:
    """Each tile of a log of ``size`` records, in order."""
    count = -(-size // WIDTH)
    if processes < 2 or size < WORTH_PROCESSES or not isinstance(files, Directory):
        yield from (scan_tile(files, size, number) for number in range(count))
        return
    starts = range(0, count, STRIDE)
    context = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        jobs = [(files.place, size, start, min(start + STRIDE, count)) for start in starts]
        for part in pool.map(_scan_part, jobs):
            yield from part


def _scan_part(job: tuple[str, int, int, int]) -> list[Scan]:
    place, size, start, end = job
    files = Directory(Path(place))
    return [scan_tile(files, size, number) for number in range(start, end)]


def scan_tile(files: Files, size: int, number: int) -> Scan:
    """Read one bundle and its tile."""
    width = width_at(size, 0, number)
    try:
        leaves, fault = read_bundle(files, number, width), ""
    except AuditError as error:
        leaves, fault = [], error.message
    hashes = [sha256(b"\0" + leaf).digest() for leaf in leaves]
    joined = b"".join(hashes)
    tile_fault = _tile_fault(files, number, width, joined)
    chained, previous = _chained(leaves, hashes, number * WIDTH)
    quiet = width == WIDTH and not fault and not tile_fault and chained
    return Scan(
        number=number,
        hashes=b"" if quiet else joined,
        subtree=full_tile_hash(hashes) if len(hashes) == WIDTH else None,
        complete=len(leaves) == width,
        fault=fault,
        tile_fault=tile_fault,
        chained=chained,
        first_previous=previous,
        last=hashes[-1] if hashes else b"",
    )


def _tile_fault(files: Files, number: int, width: int, joined: bytes) -> str:
    path = tile_path(0, number, width)
    try:
        data = read_tile_file(files, path, tile_path(0, number), LARGEST_TILE)
    except AuditError as error:
        return error.message
    if len(data) not in {width * HASH_BYTES, LARGEST_TILE}:
        return f"{path} has {len(data)} bytes instead of {width * HASH_BYTES}: it is truncated"
    return "" if data[: width * HASH_BYTES] == joined else f"{path} holds other hashes than those of its records"


def _chained(leaves: Sequence[bytes], hashes: Sequence[Hash], start: int) -> tuple[bool, bytes]:
    """Whether the records follow from one another, and what the first has for the one before it."""
    if not leaves:
        return False, b""
    head = b'{"index":%d,"previous":"' % start
    if not leaves[0].startswith(head):
        return False, b""
    first_previous = leaves[0][len(head) : len(head) + 2 * HASH_BYTES]
    for offset in range(1, len(leaves)):
        expected = b'{"index":%d,"previous":"%b","record":{' % (start + offset, hashes[offset - 1].hex().encode())
        if not leaves[offset].startswith(expected):
            return False, first_previous
    return True, first_previous
