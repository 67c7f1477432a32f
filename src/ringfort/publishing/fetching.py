"""How a node reads a repository: one port, the directory behind it, and the library's side of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from tuf.api.exceptions import DownloadError, DownloadHTTPError, DownloadLengthMismatchError
from tuf.ngclient import FetcherInterface

CHUNK = 64 * 1024


class NotThereError(Exception):
    """The repository answers, and has no such file."""


class UnreachableError(Exception):
    """The repository does not answer, or not in time."""


class Fetcher(Protocol):
    """Reads files of a repository that nobody has to trust.

    ``path`` is ``metadata/NAME`` or ``targets/NAME``. An adapter bounds the time that it waits; sizes are bounded here:
    what it yields is dropped, and the rest never asked for, once there is too much.
    """

    def fetch(self, path: str) -> Iterator[bytes]:
        """The content of a file, in pieces.

        Raises:
            NotThereError: there is none.
            UnreachableError: nobody answers; an `OSError` counts as the same.
        """
        ...


class DirectoryFetcher:
    """A repository in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def fetch(self, path: str) -> Iterator[bytes]:
        """See `Fetcher.fetch`."""
        try:
            with (self.directory / path).open("rb") as stream:
                while chunk := stream.read(CHUNK):
                    yield chunk
        except FileNotFoundError as error:
            raise NotThereError(path) from error
        except OSError as error:
            raise UnreachableError(path) from error


class LibraryFetcher(FetcherInterface):
    """The port as the library wants it. ``last`` is the file asked for last: what a refusal is about."""

    def __init__(self, port: Fetcher) -> None:
        self._port = port
        self.last = ""

    def _fetch(self, url: str) -> Iterator[bytes]:
        self.last = url
        try:
            yield from self._port.fetch(url)
        except NotThereError as error:
            raise DownloadHTTPError(f"there is no {url}", 404) from error
        except (UnreachableError, OSError) as error:
            raise DownloadError(f"no answer for {url}: {error}") from error

    def download_bytes(self, url: str, max_length: int) -> bytes:
        """The whole of a small file, in memory."""
        content = bytearray()
        for chunk in self.fetch(url):
            content += chunk
            if len(content) > max_length:
                raise DownloadLengthMismatchError(f"{url} is larger than {max_length:,} bytes")
        return bytes(content)
