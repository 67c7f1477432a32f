"""Control groups for a sandbox, version 1 or 2, as the machine has them; none where it has none or gives us none."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
OURS = "ringfort"
PERIOD_MICROSECONDS = 100_000
OVERHEAD_MIB = 160
"""What QEMU itself may take beside the guest's memory: translated code, buffers, the file cache charged to it."""

PROCESSES = 64
"""Threads of QEMU."""


WEIGHT_V1, WEIGHT_V2 = 1024, 100
"""What one process weighs in version 1 and 2. All sandboxes together weigh as much on each processor, and each as much
as any other: a hostile one takes its own share, and the node and its enforcement points keep theirs."""


@dataclass(frozen=True, slots=True)
class Groups:
    """The directories of one sandbox's groups."""

    directories: tuple[Path, ...] = ()

    def set_cpu(self, cpu_percent: int) -> None:
        """Let it have so much of one processor from now on; harmless when the groups are gone."""
        for directory in self.directories:
            for name, value in {**settings_v1(0, cpu_percent)["cpu"], **settings_v2(0, cpu_percent)}.items():
                if name.startswith("cpu.") and (directory / name).exists():
                    with contextlib.suppress(OSError):
                        (directory / name).write_text(value)

    def remove(self, seconds: float = 2.0) -> None:
        """Remove them; their processes have to be gone, which may take a moment to show."""
        until = time.monotonic() + seconds
        for directory in self.directories:
            while directory.exists():
                with contextlib.suppress(OSError):
                    directory.rmdir()
                if time.monotonic() > until:
                    return
                time.sleep(0.005)


def settings_v1(memory: int, cpu_percent: int) -> dict[str, dict[str, str]]:
    """For each controller of version 1, its files and what goes into them. ``memory`` is the guest's, in MiB."""
    limit = str((memory + OVERHEAD_MIB) << 20)
    return {
        "memory": {"memory.limit_in_bytes": limit},
        "pids": {"pids.max": str(PROCESSES)},
        "cpu": {"cpu.cfs_period_us": str(PERIOD_MICROSECONDS), "cpu.cfs_quota_us": str(cpu_percent * 1000)},
    }


def settings_v2(memory: int, cpu_percent: int) -> dict[str, str]:
    """The files of a group of version 2 and what goes into them."""
    return {
        "memory.max": str((memory + OVERHEAD_MIB) << 20),
        "pids.max": str(PROCESSES),
        "cpu.max": f"{cpu_percent * 1000} {PERIOD_MICROSECONDS}",
    }


def make(name: str, memory: int, cpu_percent: int, root: Path = ROOT) -> Groups:
    """The groups of the sandbox ``name``. A controller that the machine doesn't have is left out."""
    processors = os.cpu_count() or 1
    if (root / "cgroup.controllers").exists():
        with contextlib.suppress(OSError):
            (root / "cgroup.subtree_control").write_text("+memory +pids +cpu")
            (root / OURS).mkdir(exist_ok=True)
            (root / OURS / "cgroup.subtree_control").write_text("+memory +pids +cpu")
            (root / OURS / "cpu.weight").write_text(str(min(10_000, WEIGHT_V2 * processors)))
        wanted: Mapping[Path, Mapping[str, str]] = {root / OURS / name: settings_v2(memory, cpu_percent)}
    else:
        with contextlib.suppress(OSError):
            (root / "cpu" / OURS).mkdir(exist_ok=True)
            (root / "cpu" / OURS / "cpu.shares").write_text(str(WEIGHT_V1 * processors))
        wanted = {root / kind / OURS / name: files for kind, files in settings_v1(memory, cpu_percent).items()}
    return Groups(tuple(directory for directory, files in wanted.items() if _make(directory, files)))


def _make(directory: Path, files: Mapping[str, str]) -> bool:
    if not os.access(directory.parent.parent / "cgroup.procs", os.W_OK):
        return False
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, value in files.items():
            (directory / name).write_text(value)
    except OSError:
        with contextlib.suppress(OSError):
            directory.rmdir()
        return False
    return True
