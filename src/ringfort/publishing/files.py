"""Files that are there wholly or not at all, also after the power went."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ringfort.publishing.errors import PublishingError


def replace_file(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Put a file in place of the one that may be there: whoever reads finds the old one or the new one."""
    with _written(path, content, mode) as temporary:
        temporary.replace(path)


def create_file(path: Path, content: bytes, mode: int) -> None:
    """Make a file that is not there: whoever reads finds none, or all of it.

    Raises:
        PublishingError: it is there, or cannot be made.
    """
    try:
        with _written(path, content, mode) as temporary:
            path.hardlink_to(temporary)
            temporary.unlink()
    except FileExistsError as error:
        raise PublishingError("file-exists", f"{path} exists and is not overwritten", "choose another name") from error
    except OSError as error:
        raise PublishingError("file-unwritable", f"{path} cannot be written: {error.strerror}") from error


@contextlib.contextmanager
def _written(path: Path, content: bytes, mode: int) -> Iterator[Path]:
    """The content on the disk beside ``path``, to be put there."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        yield temporary
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make what was renamed in a directory survive the power."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file ``path``: one writer at a time, over processes; a writer that dies lets go of it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
