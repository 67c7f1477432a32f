"""Processes that outlive whoever started them, known by id and time of start: no other is taken for them."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path


def started(pid: int) -> str:
    """When a process started, in clock ticks since boot (proc(5), field 22 of stat); empty when there is none.

    With the process id it names a process for good: ids are used again.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    fields = text.rpartition(")")[2].split()  # the name, field 2, may hold anything
    return "" if fields[0] == "Z" else fields[19]


@dataclass(frozen=True, slots=True)
class Process:
    """One process of this machine, running or gone."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> Process:
        """The process that has this id now."""
        return cls(pid, started(pid))

    @property
    def is_running(self) -> bool:
        """Whether it is still there."""
        return bool(self.started) and started(self.pid) == self.started

    def end(self, seconds: float = 3.0) -> bool:
        """Ask it to leave, then make it; whether it ran."""
        was_running = self.is_running
        for number in (signal.SIGTERM, signal.SIGKILL):
            if not self.is_running:
                break
            os.kill(self.pid, number)
            deadline = time.monotonic() + seconds
            while self.is_running and time.monotonic() < deadline:
                _reap(self.pid)
                time.sleep(0.01)
        return was_running


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return  # somebody else's child
