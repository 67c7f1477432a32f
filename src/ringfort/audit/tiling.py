"""Bring acknowledged records into static files, and keep what is needed to sign them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ringfort.audit.authentic import AuthenticLog
from ringfort.audit.checkpoint import Checkpoint
from ringfort.audit.journal import sync_directory, sync_file
from ringfort.audit.reading import Directory
from ringfort.audit.tiles import (
    HEIGHT,
    WIDTH,
    TileHashes,
    bundle,
    bundle_path,
    full_tile_hash,
    rows_over,
    tile_path,
    width_at,
)
from ringfort.audit.tree import Hash, leaf_hash, root


def extend(public: Path, old: Checkpoint, leaves: Sequence[bytes]) -> Checkpoint:
    """Write tiles and bundles for the leaves after a checkpoint, durably, and give the unsigned checkpoint over all.

    What is on the disk is built upon only if it is what ``old`` was signed over. Nothing that ``old`` needs is changed.

    Raises:
        AuditError: the files are not those of ``old``.
        OSError: the disk takes no more.
    """
    written = _Writing(public)
    log = AuthenticLog(Directory(public), old) if old.size else None
    last = old.size // WIDTH
    before = log.bundle(last) if log and old.size % WIDTH else []
    written.bundles(last, [*before, *leaves])
    size = old.size + len(leaves)
    edge: dict[tuple[int, int], list[Hash]] = {}
    fresh = [leaf_hash(leaf) for leaf in leaves]
    level = 0
    while size >> (HEIGHT * level):
        count = old.size >> (HEIGHT * level)
        kept = log.tiles.tile(level, count // WIDTH) if log and count % WIDTH else []
        row = [*kept, *fresh]
        fresh = []
        for start in range(0, len(row), WIDTH):
            number, hashes = count // WIDTH + start // WIDTH, row[start : start + WIDTH]
            edge[level, number] = hashes
            if len(row) > len(kept):
                written.file(tile_path(level, number, len(hashes)), b"".join(hashes))
            if len(hashes) == WIDTH:
                fresh.append(full_tile_hash(hashes))
        level += 1
    written.sync()
    return Checkpoint(old.origin, size, root(size, TileHashes(size, lambda at, number, _: rows_over(edge[at, number]))))


class _Writing:
    """Files being written below a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._written: list[Path] = []

    def bundles(self, number: int, leaves: Sequence[bytes]) -> None:
        for start in range(0, len(leaves), WIDTH):
            part = leaves[start : start + WIDTH]
            self.file(bundle_path(number + start // WIDTH, len(part)), bundle(part))

    def file(self, name: str, data: bytes) -> None:
        path = self._directory / name
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True)
        # A file is written beside its place and moved there: whoever serves the directory never serves half of it.
        path.with_name(path.name + ".new").write_bytes(data)
        self._written.append(path)

    def sync(self) -> None:
        """Make every file durable, then its name, up to the directory itself."""
        # All are written before the first is made durable: the file system then takes them together.
        for path in self._written:
            sync_file(path.with_name(path.name + ".new"))
        for path in self._written:
            path.with_name(path.name + ".new").replace(path)
        every = {self._directory}
        for path in self._written:
            every |= {up for up in path.parents if up.is_relative_to(self._directory)}
        for directory in sorted(every, reverse=True):
            sync_directory(directory)


def drop_partials(public: Path, old: int, new: int) -> None:
    """Remove partial files of tiles that have become full between two published sizes."""
    level = 0
    while new >> (HEIGHT * level):
        number = (old >> (HEIGHT * level)) // WIDTH
        if width_at(new, level, number) == WIDTH and (old >> (HEIGHT * level)) % WIDTH:
            for path in [tile_path(level, number), *([bundle_path(number)] if level == 0 else [])]:
                _remove(public / f"{path}.p")
        level += 1


def _remove(partials: Path) -> None:
    if partials.is_dir():
        for path in partials.iterdir():
            path.unlink(missing_ok=True)
        partials.rmdir()
