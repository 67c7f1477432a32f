"""Where the files of an environment come from: a directory, or a mapping in memory."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Protocol


class RefusedFileError(Exception):
    """A file that may not or cannot be read.

    Args:
        code: stable, for scripts.
        message: why.
        hint: what to do.
    """

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


class Files(Protocol):
    """Reads the files that an environment consists of. Names are relative to the main file's directory, with ``/``."""

    def read(self, name: str, limit_bytes: int) -> bytes:
        """The content of a file.

        Raises:
            RefusedFileError: when it does not exist, is no regular file, lies outside, or exceeds ``limit_bytes``.
        """
        ...

    def shown(self, name: str) -> str:
        """The file as people know it, for messages."""
        ...


def too_large(limit_bytes: int) -> RefusedFileError:
    """The refusal of a file that would take more than the ``limit_bytes`` that are left."""
    return RefusedFileError(
        "file-too-large",
        f"the file is too large: all files of an environment together may have {limit_bytes:,} bytes",
        "use 'count' for hosts that are alike",
    )


def main_file(path: Path, name: str) -> Path:
    """The main file of what a user named: ``path``, or the file ``name`` in it when it is a directory."""
    return path / name if os.path.isdir(path) else path  # unlike Path.is_dir, never raises


class DirectoryFiles:
    """Files below the directory of the main file; a link that leads out of it is refused."""

    def __init__(self, main: Path, total_bytes: int) -> None:
        self.main = main
        self._shown = main.parent
        self._root = Path("." if "\0" in str(main) else os.path.realpath(main.parent))
        self._total_bytes = total_bytes

    def shown(self, name: str) -> str:
        """See `Files.shown`."""
        return str(self._shown / name)

    def read(self, name: str, limit_bytes: int) -> bytes:
        """See `Files.read`."""
        path = self._root / name
        if name != self.main.name:
            self._refuse_outside(path)
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                raise RefusedFileError("not-a-file", f"'{self.shown(name)}' is not a file", "name the YAML file")
            with path.open("rb") as stream:
                content = stream.read(limit_bytes + 1)
        except FileNotFoundError:
            raise RefusedFileError("file-missing", f"there is no file '{self.shown(name)}'", _siblings(path)) from None
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "the name is not usable"
            raise RefusedFileError("file-unreadable", f"'{self.shown(name)}' cannot be read: {reason}") from error
        if len(content) > limit_bytes:
            raise too_large(self._total_bytes)
        return content

    def _refuse_outside(self, path: Path) -> None:
        try:
            real = Path(os.path.realpath(path))
        except (OSError, ValueError) as error:
            raise RefusedFileError("file-unreadable", "the name is not usable") from error
        if not real.is_relative_to(self._root):
            raise RefusedFileError(
                "include-outside",
                "the file lies outside the directory of the main file",
                "an environment is one directory; copy the file into it",
            )


class PortableFiles(DirectoryFiles):
    """The same files, known by their names from the main file on, wherever the directory lies."""

    def shown(self, name: str) -> str:
        """See `Files.shown`."""
        return name


class MemoryFiles:
    """Files in memory, for tests and tools that hold the text already."""

    def __init__(self, contents: Mapping[str, bytes]) -> None:
        self._contents = contents

    def shown(self, name: str) -> str:
        """See `Files.shown`."""
        return name

    def read(self, name: str, limit_bytes: int) -> bytes:
        """See `Files.read`."""
        if name not in self._contents:
            raise RefusedFileError("file-missing", f"there is no file '{name}'")
        if len(self._contents[name]) > limit_bytes:
            raise too_large(limit_bytes)
        return self._contents[name]


def relative_name(including: str, written: str) -> str:
    """The name of a file included as ``written`` by the file named ``including``.

    Raises:
        RefusedFileError: when it is absolute or leads out of the main file's directory.
    """
    path = PurePosixPath(written)
    parts: list[str] = list(PurePosixPath(including).parent.parts)
    for part in path.parts:
        if part == ".." and parts:
            parts.pop()
        elif part == ".." or path.is_absolute() or "\0" in part:
            raise RefusedFileError(
                "include-outside",
                "an include is a path relative to the file it stands in, inside the directory of the main file",
                "write it like 'services.yaml' or 'sites/north.yaml'",
            )
        else:
            parts.append(part)
    return "/".join(parts)


def _siblings(path: Path) -> str:
    """A hint that names the YAML files that do exist beside the missing one."""
    try:
        names = sorted(item.name for item in path.parent.iterdir() if item.suffix in (".yaml", ".yml"))
    except OSError:
        return "check the directory too: it does not exist or cannot be read"
    return f"YAML files there: {', '.join(names[:5])}" if names else "there is no YAML file in that directory"
