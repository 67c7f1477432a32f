"""An instance's own disk: a sparse file with a file system, made out here from nothing and never mounted out here.

With a key it is encrypted: what the instance writes is never in the file as it is. What of a new disk was not written
reads as noise in the guest then, which no file system minds that was made to be written to before it is read.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from ringfort.compute import luks
from ringfort.compute.errors import SandboxError
from ringfort.compute.guest.account import NUMBER


def make(path: Path, mib: int, uid: int, key: bytes | None = None) -> Path:
    """Make an empty disk.

    Args:
        mib: its size; it takes as much of the machine's disk as was written to it.
        uid: the instance's account, which alone may use it.
        key: 32 random bytes that it is encrypted with; what runs from it needs them again.

    Raises:
        SandboxError: e2fsprogs are missing, or there is no room.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.truncate(descriptor, mib << 20)
            options = f"lazy_itable_init=1,root_owner={NUMBER}:{NUMBER}"
            command = ["mke2fs", "-q", "-F", "-t", "ext4", "-m", "0", "-E", options, str(path)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                path.unlink()
                raise SandboxError("sandbox-disk", f"mke2fs refuses: {done.stderr.strip()[-300:]}")
            if key is not None:
                _encrypt(descriptor, luks.new(key))
            os.fchown(descriptor, uid, uid)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise SandboxError("sandbox-disk", f"no disk can be made at {path}: {error.strerror}") from error
    return path


def is_of(path: Path, mib: int, key: bytes | None = None) -> bool:
    """Whether there is a disk of this size, made with or without a key. Whether the key is right, QEMU finds out."""
    size = (mib << 20) + (luks.PAYLOAD_BYTES if key is not None else 0)
    return path.exists() and path.stat().st_size == size


def _encrypt(descriptor: int, container: luks.Container) -> None:
    """Move what was written of a new disk into a container, which takes its place."""
    written = [(at, os.pread(descriptor, size, at)) for at, size in _written(descriptor)]
    size = os.fstat(descriptor).st_size
    os.truncate(descriptor, 0)
    os.truncate(descriptor, luks.PAYLOAD_BYTES + size)
    os.pwrite(descriptor, container.header, 0)
    for at, data in written:
        os.pwrite(descriptor, container.encrypted(at // luks.SECTOR, data), luks.PAYLOAD_BYTES + at)


def _written(descriptor: int) -> Iterator[tuple[int, int]]:
    """Where a sparse file has data, and how many bytes."""
    at, size = 0, os.fstat(descriptor).st_size
    while at < size:
        try:
            start = os.lseek(descriptor, at, os.SEEK_DATA)
        except OSError:  # ENXIO: nothing but a hole is left
            return
        at = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, at - start
