"""A file that keeps the end of what an instance writes: two halves, the older of which goes when the newer is full."""

from __future__ import annotations

import os
from pathlib import Path

HALF = 1 << 20
"""Bytes."""


class LogFile:
    """A log at ``path``, and its older half beside it. Whatever an instance writes, they never pass twice `HALF`."""

    def __init__(self, path: Path, half: int = HALF) -> None:
        self._path, self._half = path, half
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(self._file).st_size

    def write(self, data: bytes) -> None:
        """Add to the end."""
        if self._size + len(data) > self._half:
            os.replace(self._path, older(self._path))
            os.close(self._file)
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            self._size = 0
        os.write(self._file, data)
        self._size += len(data)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)


def older(path: Path) -> Path:
    """Where the older half is."""
    return path.with_name(path.name + ".1")


def read(path: Path) -> bytes:
    """What is kept."""
    return b"".join(part.read_bytes() for part in (older(path), path) if part.exists())
