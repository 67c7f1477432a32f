"""The end of an instance's log, followed line by line while its file is cut in halves (`ringfort.compute.logs`)."""

from __future__ import annotations

import os
from collections import deque
from datetime import datetime
from pathlib import Path

LONGEST = 4000
"""Characters of a line; a longer one is several."""

MOST_LINES = 500
PIECE = 48 * 1024
"""Lines and bytes that are handed on at once."""

BEHIND = 512 * 1024
"""What is further behind than so many bytes is left out: who writes faster than it is read loses lines, and is told."""


class Tail:
    """Follows one file, from where it is now."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1
        self._rest = b""
        self._own: deque[tuple[datetime, str]] = deque(maxlen=MOST_LINES)

    def say(self, now: datetime, text: str) -> None:
        """Put in a line of the platform's own, for the customer. From any thread."""
        self._own.append((now, f"ringfort: {text}"[:LONGEST]))

    def lines(self, now: datetime) -> list[tuple[datetime, str]]:
        """What is new, as whole lines, but for one that is too long."""
        found = [self._own.popleft() for _ in range(len(self._own))]
        data = self._rest + self._read(now)
        whole, _, self._rest = data.rpartition(b"\n")
        if len(self._rest) > LONGEST:
            whole, self._rest = data, b""
        for line in whole.split(b"\n") if whole else ():
            text = line.decode(errors="replace").rstrip("\r").replace("\0", "")
            found += [(now, text[at : at + LONGEST]) for at in range(0, max(len(text), 1), LONGEST)]
        return found

    def close(self) -> None:
        """Let go of the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _read(self, now: datetime) -> bytes:
        if self._file < 0 and not self._open():
            return b""
        behind = os.fstat(self._file).st_size - os.lseek(self._file, 0, os.SEEK_CUR)
        if behind > BEHIND:
            skipped = behind - BEHIND // 2
            os.lseek(self._file, skipped, os.SEEK_CUR)
            self.say(now, f"{skipped:,} bytes of the log were left out: it was written faster than it is kept")
        data = os.read(self._file, PIECE)
        if not data and self._is_other():
            self.close()
            if self._open():
                data = os.read(self._file, PIECE)
        return data

    def _open(self) -> bool:
        try:
            self._file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        return True

    def _is_other(self) -> bool:
        try:
            return os.stat(self._path).st_ino != os.fstat(self._file).st_ino
        except FileNotFoundError:
            return False
