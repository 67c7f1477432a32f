"""A node is light: what it loads, what it takes of the memory, what it does when nothing happens."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.node.worlds import World, world

MEGABYTES = 80
HEAVY = (
    "numba",
    "numpy",
    "oxidd",
    "rich",
    "sqlalchemy",
    "alembic",
    "aiohttp",
    "pydantic",
    "jinja2",
    "pyroute2",
    "click",
)


def test_nothing_heavy_is_loaded() -> None:
    code = f"import sys, ringfort.node.__main__; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_command_becomes_the_node_and_nothing_else(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ringfort", "node", "run", "--config", str(tmp_path / "absent.toml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "absent.toml: No such file or directory [configuration]" in done.stderr


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


def resident(pid: int) -> int:
    """Megabytes, at most so far."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) // 1024


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.lab
def test_a_node_is_small_and_sleeps(machine: World) -> None:
    machine.publish(1)
    process = machine.start()
    machine.controller.wait_for(lambda report: report["state"] == "confirmed")
    machine.publish(2)
    machine.controller.wait_for(lambda report: (report["state"], report["version"]) == ("confirmed", 2))
    assert resident(process.pid) < MEGABYTES
    time.sleep(1)
    before, begin = cpu_seconds(process.pid), time.monotonic()
    time.sleep(5)
    share = (cpu_seconds(process.pid) - before) / (time.monotonic() - begin)
    assert share < 0.02  # the clock's ticks are a hundredth of a second: benchmarks/node.py measures it for longer
