"""The control groups of a sandbox. This machine has version 1, which other tests try for real with what an attacker
does; what is written for version 2 is checked here by the files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ringfort.compute import cgroups

PROCESSORS = os.cpu_count() or 1


@pytest.fixture
def second(tmp_path: Path) -> Path:
    """What looks like version 2 of control groups."""
    for name in ("cgroup.controllers", "cgroup.procs", "cgroup.subtree_control"):
        (tmp_path / name).touch()
    return tmp_path


def test_version_2_bounds_memory_processes_and_processor_time(second: Path) -> None:
    groups = cgroups.make("one", 240, 50, second)
    assert groups.directories == (second / "ringfort" / "one",)
    found = {path.name: path.read_text() for path in groups.directories[0].iterdir()}
    assert found == {"memory.max": str(400 << 20), "pids.max": "64", "cpu.max": "50000 100000"}


def test_version_2_gives_all_sandboxes_together_the_weight_of_a_process_on_each_processor(second: Path) -> None:
    cgroups.make("one", 240, 50, second)
    assert (second / "ringfort" / "cpu.weight").read_text() == str(100 * PROCESSORS)
    assert (second / "ringfort" / "cgroup.subtree_control").read_text() == "+memory +pids +cpu"


def test_version_1_has_a_group_for_each_controller(tmp_path: Path) -> None:
    for kind in ("memory", "pids", "cpu"):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / "cgroup.procs").touch()
    groups = cgroups.make("one", 240, 50, tmp_path)
    assert {path.relative_to(tmp_path) for path in groups.directories} == {
        Path(kind, "ringfort", "one") for kind in ("memory", "pids", "cpu")
    }
    assert (tmp_path / "memory/ringfort/one/memory.limit_in_bytes").read_text() == str(400 << 20)
    assert (tmp_path / "cpu/ringfort/one/cpu.cfs_quota_us").read_text() == "50000"
    assert (tmp_path / "cpu/ringfort/cpu.shares").read_text() == str(1024 * PROCESSORS)


def test_how_much_of_a_processor_it_may_use_can_be_changed(
    second: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    first = tmp_path_factory.mktemp("first")
    for kind in ("memory", "pids", "cpu"):
        (first / kind).mkdir(parents=True)
        (first / kind / "cgroup.procs").touch()
    for root in (first, second):
        cgroups.make("one", 240, 100, root).set_cpu(30)
    assert (first / "cpu/ringfort/one/cpu.cfs_quota_us").read_text() == "30000"
    assert (second / "ringfort/one/cpu.max").read_text() == "30000 100000"
    assert (second / "ringfort/one/memory.max").read_text() == str(400 << 20)


def test_where_there_are_no_groups_none_are_made(tmp_path: Path) -> None:
    assert cgroups.make("one", 240, 50, tmp_path).directories == ()


@pytest.mark.lab
def test_on_this_machine_each_sandbox_weighs_as_much_as_any_other() -> None:
    groups = cgroups.make(f"e-weight-{os.getpid()}", 0, 100)
    if not groups.directories:
        pytest.skip("no control groups are to be had here")
    try:
        kept = [path for path in groups.directories if (path / "cpu.shares").exists()]
        assert [(path / "cpu.shares").read_text().strip() for path in kept] == ["1024"] * len(kept)
        assert all((path.parent / "cpu.shares").read_text().strip() == str(1024 * PROCESSORS) for path in kept)
    finally:
        groups.remove()
