"""The files of a log, wherever they are: a directory, or a URL (`ringfort.audit.fetching`). Nothing is trusted here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from ringfort.audit.errors import AuditError
from ringfort.audit.sealing import unseal
from ringfort.audit.tiles import LARGEST_BUNDLE, WIDTH, bundle_path, entries_of, width_at


class MissingFileError(AuditError):
    """A file is not there."""


class Files(Protocol):
    """The static files of a log."""

    @property
    def place(self) -> str:
        """Where they are, for people."""

    def read(self, path: str, limit: int) -> bytes:
        """The file at ``path`` below the log's prefix.

        Raises:
            MissingFileError: there is none.
            AuditError: it can't be read, or is longer than ``limit`` bytes.
        """


class Directory:
    """Files in a directory; given the directory of a whole `Log`, its public part."""

    def __init__(self, path: Path) -> None:
        self._path = path / "public" if (path / "public").is_dir() else path

    @property
    def place(self) -> str:
        """The directory."""
        return str(self._path)

    def read(self, path: str, limit: int) -> bytes:
        """As `Files` says."""
        try:
            with (self._path / path).open("rb") as file:
                data = file.read(limit + 1)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise MissingFileError("audit-file-missing", f"{self._path / path} is missing") from error
        except OSError as error:
            raise AuditError("audit-file", f"{self._path / path} can't be read: {error.strerror}") from error
        if len(data) > limit:
            raise AuditError("audit-file", f"{self._path / path} is longer than {limit} bytes")
        return data


def read_tile_file(files: Files, path: str, whole: str, limit: int) -> bytes:
    """A partial tile or bundle, or the full one that has taken its place (tlog-tiles, "Partial Tiles")."""
    try:
        return files.read(path, limit)
    except MissingFileError:
        if path == whole:
            raise
    try:
        return files.read(whole, limit)
    except MissingFileError as error:
        raise MissingFileError("audit-file-missing", f"{files.place}/{path} is missing") from error


def read_bundle(files: Files, number: int, width: int) -> list[bytes]:
    """The entries of a bundle; not checked against any hash. They should be ``width``, and may be fewer or more.

    Raises:
        AuditError: it is missing or truncated.
    """
    try:
        return entries_of(files.read(bundle_path(number, width), 2 * LARGEST_BUNDLE))
    except MissingFileError:
        if width == WIDTH:
            raise
    whole = read_tile_file(files, bundle_path(number, width), bundle_path(number), LARGEST_BUNDLE)
    return entries_of(whole)[:width]


def leaves_in(files: Files, first: int, end: int, size: int) -> Iterator[bytes]:
    """Leaves ``first`` to ``end`` of a log of ``size`` records; not checked against any hash."""
    for number in range(first // WIDTH, -(-end // WIDTH)):
        entries = read_bundle(files, number, width_at(size, 0, number))
        start = number * WIDTH
        yield from entries[max(first - start, 0) : end - start]


def bodies_in(files: Files, first: int, end: int, size: int) -> list[bytes]:
    """The bodies of published records, as they stand in the files."""
    return [unseal(leaf).body for leaf in leaves_in(files, first, end, size)]
