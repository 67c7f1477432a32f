"""The clocks that a node reads, in one place."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path


def since_boot() -> float:
    """Seconds since this machine booted, those that it slept included. No one can set it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot() -> str:
    """What names this boot of the machine (random(4))."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def now() -> datetime:
    """The time of day, in UTC."""
    return datetime.now(UTC)
