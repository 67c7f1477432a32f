"""Where a repository's files lie: one port, and the directory behind it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from ringfort.publishing.errors import PublishingError
from ringfort.publishing.fetching import Fetcher, NotThereError, UnreachableError
from ringfort.publishing.files import locked, replace_file

METADATA, TARGETS = "metadata", "targets"
MOST_METADATA_BYTES = 256 * 1024
MOST_ENVIRONMENT_BYTES = 64 * 1024 * 1024
"""The largest environment: some 130,000 hosts."""

_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,127}")


class Store(Protocol):
    """Keeps files by folder (``metadata`` or ``targets``) and name."""

    def read(self, folder: str, name: str) -> bytes | None:
        """The content of a file; None if there is none, or no such name."""
        ...

    def write(self, folder: str, name: str, content: bytes) -> None:
        """Put a file there, wholly or not at all, in place of one that may be there."""
        ...

    def names(self, folder: str) -> tuple[str, ...]:
        """The names in a folder, in any order."""
        ...

    def alone(self) -> AbstractContextManager[None]:
        """Keep other writers out, those of other processes too, for as long as it is held."""
        ...


class DirectoryStore:
    """A repository in a directory; any web server may serve it as it is."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def read(self, folder: str, name: str) -> bytes | None:
        """See `Store.read`."""
        if folder not in (METADATA, TARGETS) or not _NAME.fullmatch(name):
            return None
        try:
            return (self.directory / folder / name).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, folder: str, name: str, content: bytes) -> None:
        """See `Store.write`."""
        with self._told():
            path = self.directory / folder
            path.mkdir(parents=True, exist_ok=True)
            replace_file(path / name, content)

    def names(self, folder: str) -> tuple[str, ...]:
        """See `Store.names`."""
        path = self.directory / folder
        return tuple(entry.name for entry in path.iterdir() if _NAME.fullmatch(entry.name)) if path.is_dir() else ()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """See `Store.alone`."""
        with self._told():
            self.directory.mkdir(parents=True, exist_ok=True)
            lock = locked(self.directory / ".lock")
        with lock:
            yield

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            message = f"the repository in {self.directory} cannot be written: {error.strerror}"
            raise PublishingError("repository-unwritable", message) from error


class FetchedStore:
    """A repository that is served from elsewhere: it can be read."""

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher

    def read(self, folder: str, name: str) -> bytes | None:
        """See `Store.read`.

        Raises:
            PublishingError: nobody answers, or with more bytes than any such file has.
        """
        most = MOST_METADATA_BYTES if folder == METADATA else MOST_ENVIRONMENT_BYTES
        content = bytearray()
        try:
            for piece in self._fetcher.fetch(f"{folder}/{name}"):
                content += piece
                if len(content) > most:
                    raise PublishingError("metadata-too-large", f"{folder}/{name} has more than {most:,} bytes")
        except NotThereError:
            return None
        except (UnreachableError, OSError) as error:
            raise PublishingError("repository-unreachable", f"{folder}/{name} cannot be read: {error}") from error
        return bytes(content)

    def write(self, folder: str, name: str, content: bytes) -> None:
        """Refused: whoever serves it writes it."""
        raise PublishingError("repository-elsewhere", "this repository is written by whoever serves it")

    def names(self, folder: str) -> tuple[str, ...]:
        """Nobody can be asked."""
        return ()

    def alone(self) -> AbstractContextManager[None]:
        """Refused likewise."""
        raise PublishingError("repository-elsewhere", "this repository is written by whoever serves it")
