"""A read-only disk whose every block is checked against one digest when it is read (dm-verity, target version 1).

The hash tree stands behind the data on the same disk, the level next to the root first; see the kernel's
Documentation/admin-guide/device-mapper/verity.rst. Both ends are here, because they have to agree: the host makes the
tree, the guest's kernel checks against it.
"""

from __future__ import annotations

import fcntl
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashlib import _Hash

BLOCK = 4096
_DIGESTS = BLOCK // 32
_HEADER = struct.Struct("=3IIIIiIIIQ128s129s7s")  # struct dm_ioctl, linux/dm-ioctl.h
_TARGET = struct.Struct("=QQiI16s")  # struct dm_target_spec
_CREATE, _RESUME, _LOAD = 0xC138FD03, 0xC138FD06, 0xC138FD09  # DM_DEV_CREATE, DM_DEV_SUSPEND, DM_TABLE_LOAD
_READ_ONLY = 1  # DM_READONLY_FLAG


@dataclass(frozen=True, slots=True)
class Root:
    """What a disk is checked against: how many blocks of data it has, and the digest above them all."""

    blocks: int
    digest: str
    salt: str


def hash_tree(data: bytes, salt: bytes) -> tuple[bytes, Root]:
    """The tree to put behind ``data``, and its root.

    Args:
        data: whole blocks of 4,096 bytes, at least one.
    """
    import hashlib  # not for the guest, whose first process needn't load OpenSSL

    assert data
    assert len(data) % BLOCK == 0
    start = hashlib.sha256(salt)
    levels = list[bytes]()
    digests = _digests(start, data)
    while len(digests) > 32:
        level = digests + bytes(-len(digests) % BLOCK)
        levels.insert(0, level)
        digests = _digests(start, level)
    return b"".join(levels), Root(len(data) // BLOCK, digests.hex(), salt.hex())


def _digests(start: _Hash, data: bytes) -> bytes:
    view, found = memoryview(data), bytearray()
    for at in range(0, len(data), BLOCK):
        block = start.copy()
        block.update(view[at : at + BLOCK])
        found += block.digest()
    return bytes(found)


def table(device: str, root: Root) -> str:
    """The line that describes the disk to the device mapper."""
    return f"1 {device} {device} {BLOCK} {BLOCK} {root.blocks} {root.blocks} sha256 {root.digest} {root.salt}"


def activate(device: str, root: Root, name: str) -> str:
    """Put the check in front of a disk; the device to mount.

    Raises:
        OSError: the kernel refuses the table.
    """
    control = os.open("/dev/mapper/control", os.O_RDWR)
    try:
        number = struct.unpack_from("=Q", _ask(control, _CREATE, name), 40)[0]
        line = table(device, root).encode() + b"\0"
        line += bytes(-len(line) % 8)
        target = _TARGET.pack(0, root.blocks * BLOCK // 512, 0, 0, b"verity")
        _ask(control, _LOAD, name, _READ_ONLY, target + line, 1)
        _ask(control, _RESUME, name, _READ_ONLY)
    finally:
        os.close(control)
    # Device numbers in struct dm_ioctl are huge_encode_dev's: for small ones the minor is the low byte.
    return str(Path("/dev", f"dm-{number & 0xFF}"))


def _ask(control: int, command: int, name: str, flags: int = 0, payload: bytes = b"", targets: int = 0) -> bytearray:
    size = _HEADER.size + len(payload)
    header = _HEADER.pack(4, 0, 0, size, _HEADER.size, targets, 0, flags, 0, 0, 0, name.encode(), b"", b"")
    request = bytearray(header + payload)
    fcntl.ioctl(control, command, request, True)
    return request
