"""A file tree as a value, and the two forms in which a guest gets it: a tar (for squashfs) and a cpio (for the kernel).

Whatever the order in which it was put together and whenever that was: equal trees are equal bytes. Everything belongs
to root and is as old as the epoch.
"""

from __future__ import annotations

import io
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field

MERGED = ("bin", "lib", "lib64", "sbin")
"""Directories that are links into /usr in Debian since bookworm; packages still name some files by them."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file (``mode`` has its type, as in stat(2)), with its content or, for a link, where it leads."""

    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


@dataclass(slots=True)
class Tree:
    """Paths without a leading slash, with what is there."""

    entries: dict[str, Entry] = field(default_factory=dict)

    def file(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Put a file, and the directories that lead to it."""
        self._put(path, Entry(stat.S_IFREG | mode, data))

    def directory(self, path: str, mode: int = 0o755) -> None:
        """Put a directory, and those that lead to it."""
        self._put(path, Entry(stat.S_IFDIR | mode))

    def link(self, path: str, target: str) -> None:
        """Put a symbolic link."""
        self._put(path, Entry(stat.S_IFLNK | 0o777, target.encode()))

    def device(self, path: str, major: int, minor: int, mode: int = 0o600) -> None:
        """Put a character device."""
        self._put(path, Entry(stat.S_IFCHR | mode, b"", (major, minor)))

    def _put(self, path: str, entry: Entry) -> None:
        parent = path.rpartition("/")[0]
        if parent and parent not in self.entries:
            self.directory(parent)
        self.entries[path] = entry

    def sorted(self) -> Iterator[tuple[str, Entry]]:
        """Everything, a directory before what is in it."""
        yield from sorted(self.entries.items())

    def merge(self, members: dict[str, tuple[tarfile.TarInfo, bytes]]) -> None:
        """Put what a package holds, at its place in /usr. Set-uid bits and devices are left behind."""
        for name, (member, data) in members.items():
            path = merged(name)
            if member.isdir():
                if path not in self.entries:
                    self.directory(path)
            elif member.issym():
                self.link(path, member.linkname)
            elif member.islnk():
                self._put(path, self.entries[merged(member.linkname.removeprefix("./"))])
            elif member.isreg():
                self.file(path, data, member.mode & 0o755)


def merged(path: str) -> str:
    """A path as it is where /bin, /lib and /sbin are links into /usr."""
    return f"usr/{path}" if path.partition("/")[0] in MERGED else path


def to_tar(tree: Tree) -> bytes:
    """The tree as an uncompressed tar (ustar with PAX headers where names are long)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path, entry in tree.sorted():
            member = tarfile.TarInfo(path)
            member.mode = stat.S_IMODE(entry.mode)
            if stat.S_ISDIR(entry.mode):
                member.type = tarfile.DIRTYPE
            elif stat.S_ISLNK(entry.mode):
                member.type, member.linkname = tarfile.SYMTYPE, entry.data.decode()
            elif stat.S_ISCHR(entry.mode):
                member.type = tarfile.CHRTYPE
                member.devmajor, member.devminor = entry.device
            else:
                member.size = len(entry.data)
            tar.addfile(member, io.BytesIO(entry.data) if stat.S_ISREG(entry.mode) else None)
    return out.getvalue()


def to_cpio(tree: Tree) -> bytes:
    """The tree as a cpio in the ``newc`` format (Documentation/driver-api/early-userspace/buffer-format.rst)."""
    out = bytearray()
    for number, (path, entry) in enumerate(tree.sorted(), 1):
        _append(out, number, path, entry)
    _append(out, 0, "TRAILER!!!", Entry(0))
    return bytes(out) + bytes(-len(out) % 512)


def _append(out: bytearray, number: int, path: str, entry: Entry) -> None:
    name = path.encode() + b"\0"
    fields = (number, entry.mode, 0, 0, 1, 0, len(entry.data), 0, 0, *entry.device, len(name), 0)
    out += b"070701" + b"".join(b"%08X" % value for value in fields) + name
    out += bytes(-len(out) % 4)
    out += entry.data
    out += bytes(-len(out) % 4)
