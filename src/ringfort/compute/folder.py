"""An application's folder on the disk as a bundle: the same files give the same bytes, wherever and whenever."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from ringfort.compute import tar
from ringfort.compute.bundle import Writer, write
from ringfort.compute.entries import LIMITS, BundleRefusedError, Entry, Kind, Limits, refuse_path, refuse_target
from ringfort.environment.problems import shown

LEFT_OUT = frozenset({".git", ".hg", ".svn", "__pycache__", ".DS_Store"})
"""Names that are no part of an application: histories, and what differs from one machine to the next."""


def pack(folder: Path, out: Writer, limits: Limits = LIMITS) -> None:
    """Write a folder as a bundle. File names, contents, links and whether a file is executable go in; nothing else.

    Raises:
        BundleRefusedError: there is something that no bundle may hold, or a file changes meanwhile.
    """
    entries = sorted(_scan(folder, limits), key=lambda entry: entry.path.encode())
    write(((entry, _content(folder, entry)) for entry in entries), out)


def _scan(folder: Path, limits: Limits) -> Iterator[Entry]:
    waiting, count, size = [""], 0, 0
    while waiting:
        here = waiting.pop()
        for item in _listed(folder / here):
            if item.name in LEFT_OUT:
                continue
            entry = _entry(f"{here}/{item.name}".lstrip("/"), item, limits)
            count, size = count + 1, size + entry.size
            if count > limits.entries:
                raise BundleRefusedError("too-many-files", f"there are more than {limits.entries:,} files and folders")
            if size > limits.bytes:
                raise BundleRefusedError("bundle-too-large", f"the folder has more than {limits.bytes:,} bytes")
            if entry.kind is Kind.FOLDER:
                waiting.append(entry.path)
            yield entry


def _listed(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as items:
            return list(items)
    except OSError as error:
        raise BundleRefusedError("folder-unreadable", f"{folder} can't be read: {error.strerror}") from error


def _entry(path: str, item: os.DirEntry[str], limits: Limits) -> Entry:
    refuse_path(path, limits)
    found = item.stat(follow_symlinks=False)
    if found.st_mode & (stat.S_ISUID | stat.S_ISGID) and not stat.S_ISDIR(found.st_mode):
        hint = f"chmod ug-s {path}"
        raise BundleRefusedError("setuid", f"{shown(path)} would run as somebody else", hint)
    if stat.S_ISDIR(found.st_mode):
        return Entry(path, Kind.FOLDER)
    if stat.S_ISREG(found.st_mode):
        return Entry(path, Kind.FILE, found.st_size, bool(found.st_mode & stat.S_IXUSR))
    if stat.S_ISLNK(found.st_mode):
        target = os.readlink(item.path)
        refuse_target(path, target, limits)
        return Entry(path, Kind.LINK, target=target)
    is_device = stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode)
    code, what = ("device-file", "a device file") if is_device else ("fifo", "a named pipe or socket")
    raise BundleRefusedError(code, f"{shown(path)} is {what}", "remove it")


def _content(folder: Path, entry: Entry) -> Iterator[bytes]:
    if entry.kind is not Kind.FILE:
        return
    try:
        descriptor = os.open(folder / entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            while piece := file.read(tar.PIECE):
                yield piece
    except OSError as error:
        message = f"{shown(entry.path)} can't be read: {error.strerror}"
        raise BundleRefusedError("file-unreadable", message) from error
