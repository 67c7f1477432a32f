"""The files of a log (C2SP tlog-tiles): tiles of 256 hashes, bundles of 256 entries, and their paths."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256

from ringfort.audit.errors import AuditError
from ringfort.audit.tree import HASH_BYTES, Hash

WIDTH = 256
"""Hashes in a full tile, and entries in a full bundle."""

HEIGHT = 8
"""Levels of the tree in a tile."""

LONGEST_ENTRY = 2**16 - 1
"""Bytes: entries are prefixed by their length in 16 bits."""

LARGEST_BUNDLE = WIDTH * (LONGEST_ENTRY + 2)
LARGEST_TILE = WIDTH * HASH_BYTES


def tile_path(level: int, number: int, width: int = WIDTH) -> str:
    """Where a tile of hashes stands, below the log's prefix."""
    return f"tile/{level}/{_numbered(number, width)}"


def bundle_path(number: int, width: int = WIDTH) -> str:
    """Where a bundle of entries stands, below the log's prefix."""
    return f"tile/entries/{_numbered(number, width)}"


def checkpoint_path(size: int) -> str:
    """Where the first checkpoint after the last full tile is kept; our own addition to the log's files."""
    return f"checkpoints/{_numbered(size // WIDTH - 1, WIDTH)}"


def _numbered(number: int, width: int) -> str:
    parts = [f"{number % 1000:03d}"]
    while number >= 1000:
        number //= 1000
        parts.append(f"x{number % 1000:03d}")
    return "/".join(reversed(parts)) + ("" if width == WIDTH else f".p/{width}")


def width_at(size: int, level: int, number: int) -> int:
    """How many hashes tile ``number`` of ``level`` has in a tree of ``size`` leaves: 0 to 256."""
    return max(0, min(WIDTH, (size >> (HEIGHT * level)) - number * WIDTH))


def tiles_of(size: int) -> Iterator[tuple[int, int, int]]:
    """Level, number and width of every tile of a tree of ``size`` leaves."""
    level = 0
    while size >> (HEIGHT * level):
        count = size >> (HEIGHT * level)
        yield from ((level, number, WIDTH) for number in range(count // WIDTH))
        if count % WIDTH:
            yield level, count // WIDTH, count % WIDTH
        level += 1


def hashes_of(tile: bytes) -> list[Hash]:
    """The hashes in a tile."""
    return [tile[start : start + HASH_BYTES] for start in range(0, len(tile), HASH_BYTES)]


def full_tile_hash(hashes: Sequence[Hash]) -> Hash:
    """The hash of the complete subtree over the 256 hashes of a full tile."""
    assert len(hashes) == WIDTH
    return rows_over(hashes)[HEIGHT][0]


def rows_over(hashes: Sequence[Hash]) -> list[Sequence[Hash]]:
    """The hashes of a tile and those of the complete subtrees over them, by height; a full tile has `HEIGHT` + 1."""
    rows = [hashes]
    while len(row := rows[-1]) > 1:
        rows.append([sha256(b"\1" + row[i] + row[i + 1]).digest() for i in range(0, len(row) - 1, 2)])
    return rows


def bundle(entries: Iterable[bytes]) -> bytes:
    """Entries, each after its length."""
    return b"".join([struct.pack(">H", len(entry)) + entry for entry in entries])


def entries_of(data: bytes) -> list[bytes]:
    """The entries in a bundle.

    Raises:
        AuditError: the bundle ends inside an entry.
    """
    found: list[bytes] = []
    place, end = 0, len(data)
    while place < end:
        stop = place + 2 + int.from_bytes(data[place : place + 2], "big")
        if stop > end or place + 2 > end:
            raise AuditError("audit-bundle-truncated", f"a bundle ends inside its entry {len(found)}")
        found.append(data[place + 2 : stop])
        place = stop
    return found


class TileHashes:
    """Hashes of complete subtrees of a tree of ``size`` leaves, out of its tiles; a `tree.Hashes`.

    Args:
        size: leaves in the tree.
        read: gives the `rows_over` a tile by level, number and width; they are taken as they are.
    """

    def __init__(self, size: int, read: Callable[[int, int, int], Sequence[Sequence[Hash]]]) -> None:
        self._size = size
        self._read = read
        self._rows: dict[tuple[int, int], Sequence[Sequence[Hash]]] = {}

    def __call__(self, height: int, index: int) -> Hash:
        """The hash of the complete subtree at a height."""
        level, above = divmod(height, HEIGHT)
        place = index << above
        number = place // WIDTH
        rows = self._rows.get((level, number))
        if rows is None:
            rows = self._rows[level, number] = self._read(level, number, width_at(self._size, level, number))
        return rows[above][index - (number * WIDTH >> above)]
