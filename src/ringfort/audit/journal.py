"""The journal: records are acknowledged when they are here. One file, one write and one fdatasync for each group.

A head (whose log, from which index, the hash of the leaf before), then groups: a length, a checksum, entries as in a
bundle. A group that the file ends inside was never acknowledged and is cut off by whoever appends next. A whole group
whose checksum is wrong was damaged afterwards: nothing is cut off, and nothing more is appended.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ringfort.audit.errors import AuditError
from ringfort.audit.sealing import NO_PREVIOUS
from ringfort.audit.tiles import bundle, entries_of
from ringfort.audit.tree import HASH_BYTES, Hash, leaf_hash

_MAGIC = b"ringfort journal 1\n"
_HEAD = struct.Struct(f">{len(_MAGIC)}sQ{HASH_BYTES}sI")
_GROUP = struct.Struct(">4sIIII")
"""Mark, bytes of the entries, how many entries, checksum over the entries, checksum over the head before it.

The head has a checksum of its own: a length that was damaged must not pass for a group that was not written whole."""

_MARK = b"grp\n"


@dataclass(slots=True)
class Position:
    """Where the journal ends: the next index, the hash of the last leaf, and the offset in bytes."""

    index: int
    previous: Hash
    offset: int


class Journal:
    """An open journal. The caller holds the log's lock around everything here but `entries`.

    Args:
        path: the file; it has to exist (`create`).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            self.base, self._base_previous = self._read_head()
            self.leaves: list[bytes] = []
            self.position = Position(self.base, self._base_previous, _HEAD.size)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    @property
    def current(self) -> bool:
        """Whether the file is still the one of its name; another process may have begun a new one."""
        named, mine = os.stat(self.path), os.fstat(self._file)
        return (named.st_ino, named.st_dev) == (mine.st_ino, mine.st_dev)

    def catch_up(self, keep: int) -> None:
        """Read what others appended, cut off what nobody can have been told about, and forget leaves before ``keep``.

        Raises:
            AuditError: something that was acknowledged is damaged.
        """
        size = os.fstat(self._file).st_size
        if size != self.position.offset:
            if size < self.position.offset:
                raise _damaged(self.path, self.position.index, "is shorter than what was acknowledged")
            data = os.pread(self._file, size - self.position.offset, self.position.offset)
            groups, read = read_groups(data, self.path, self.position.index)
            for leaves in groups:
                self._took(leaves)
            self.position.offset += read
            if read != len(data) and self.position.index >= keep:
                os.ftruncate(self._file, self.position.offset)
        if self.position.index < keep:
            raise _damaged(self.path, self.position.index, "ends before what was published")
        self.forget(keep)

    def forget(self, keep: int) -> None:
        """Forget leaves before index ``keep``; they are in bundles."""
        surplus = keep - (self.position.index - len(self.leaves))
        if surplus > 0:
            del self.leaves[:surplus]

    def append(self, leaves: Sequence[bytes], previous: Hash, meanwhile: Callable[[], None] | None = None) -> None:
        """Write one group and make it durable; ``previous`` is the hash of its last leaf.

        Args:
            meanwhile: called once between the two, when only the disk has to be waited for; must not raise.

        Raises:
            AuditError: it could not be written or made durable; the journal is as it was before.
        """
        data = group(leaves)
        try:
            _write(self._file, data, self.position.offset)
            if meanwhile is not None:
                meanwhile()
            os.fdatasync(self._file)
        except OSError as error:
            self._undo(error)
        self.leaves += leaves
        self.position = Position(self.position.index + len(leaves), previous, self.position.offset + len(data))

    def _undo(self, error: OSError) -> None:
        """Take back a group of which nobody knows whether it is on the disk."""
        try:
            os.ftruncate(self._file, self.position.offset)
            os.fsync(self._file)
        except OSError as second:
            raise AuditError(
                "audit-log-unsure",
                f"{self.path} could neither be written nor cut back: {second.strerror}",
                "records already acknowledged are not affected; see what ails the disk, then start again",
            ) from error
        raise AuditError(
            "audit-log-full",
            f"the records could not be written to {self.path}: {error.strerror}",
            "nothing was recorded; make room, then try again",
        ) from error

    def _took(self, leaves: list[bytes]) -> None:
        self.leaves += leaves
        self.position.index += len(leaves)
        self.position.previous = leaf_hash(leaves[-1])

    def _read_head(self) -> tuple[int, Hash]:
        raw = os.pread(self._file, _HEAD.size, 0)
        if len(raw) == _HEAD.size:
            magic, base, previous, checksum = _HEAD.unpack(raw)
            if magic == _MAGIC and zlib.crc32(raw[:-4]) == checksum:
                return base, previous
        raise AuditError("audit-journal-damaged", f"{self.path} is no journal, or its head is damaged")


def create(path: Path, base: int = 0, previous: Hash = NO_PREVIOUS, leaves: Sequence[bytes] = ()) -> None:
    """Make a journal that begins at index ``base``, in the place of any that is there, durably and at once."""
    head = _HEAD.pack(_MAGIC, base, previous, 0)[:-4]
    data = head + zlib.crc32(head).to_bytes(4, "big") + (group(leaves) if leaves else b"")
    replace_file(path, data, 0o600)


def group(leaves: Sequence[bytes]) -> bytes:
    """A group of leaves as it is written."""
    entries = bundle(leaves)
    head = struct.pack(">4sIII", _MARK, len(entries), len(leaves), zlib.crc32(entries))
    return head + zlib.crc32(head).to_bytes(4, "big") + entries


def read_groups(data: bytes, path: Path, index: int) -> tuple[list[list[bytes]], int]:
    """The whole groups at the beginning of ``data``, and the bytes that they take.

    Raises:
        AuditError: a whole group is damaged. ``path`` and ``index`` are for the message.
    """
    groups, place = [], 0
    while len(data) - place >= _GROUP.size:
        mark, length, count, checksum, own = _GROUP.unpack_from(data, place)
        if mark != _MARK or zlib.crc32(data[place : place + _GROUP.size - 4]) != own:
            if not any(data[place:]):
                break  # a file system that extended the file and lost the data: never acknowledged
            raise _damaged(path, index, "has no group where one should begin")
        stop = place + _GROUP.size + length
        if stop > len(data):
            break
        entries = data[place + _GROUP.size : stop]
        if zlib.crc32(entries) != checksum:
            raise _damaged(path, index, "has a group whose checksum is wrong")
        groups.append(entries_of(entries))
        index += count
        place = stop
    return groups, place


def replace_file(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Put ``data`` under ``path``, durably and at once: a reader sees the old file or the new one."""
    write_file(path.with_name(path.name + ".new"), data, mode)
    path.with_name(path.name + ".new").replace(path)
    sync_directory(path.parent)


def write_file(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a whole file and make its content durable; its name is once its directory is."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        _write(file, data, 0)
        os.fsync(file)
    finally:
        os.close(file)


def sync_file(path: Path) -> None:
    """Make the content of a file durable."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _write(file: int, data: bytes, offset: int) -> None:
    written = os.pwrite(file, data, offset)
    while written < len(data):
        written += os.pwrite(file, data[written:], offset + written)


def _damaged(path: Path, index: int, what: str) -> AuditError:
    return AuditError(
        "audit-journal-damaged",
        f"{path} {what}, at record {index} or after it",
        "nothing is cut off; put the file back from a copy, or publish again from the controller's database",
    )
