"""What goes wrong around ``up`` and ``down``, and what must come of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ringfort.environment.load import load
from ringfort.environment.model import Environment
from ringfort.environment.topology import Device, DeviceKind
from ringfort.errors import RingfortError
from ringfort.lab import netns, state
from ringfort.lab.lab import Lab
from ringfort.lab.plan import active_routers, plan
from ringfort.network.identity import identity_checks
from tests.lab import worlds
from tests.lab.calls import failures

pytestmark = pytest.mark.lab

UP = """
import sys
from ringfort.environment.load import load
from ringfort.lab.lab import Lab
lab = Lab(load(sys.argv[1]))
print(len(lab.up(lambda words: print(words, file=sys.stderr, flush=True)).created))
"""


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Environment]:
    found = worlds.environment(tmp_path, worlds.SMALL, "break")
    yield found
    Lab(found).down()


def up_elsewhere(environment: Environment) -> subprocess.Popen[str]:
    file = next(iter(environment.sites.values())).origin.file
    return subprocess.Popen([sys.executable, "-c", UP, file], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_of_two_ups_at_once_one_builds_and_the_other_finds_it_built(small: Environment) -> None:
    both = [up_elsewhere(small) for _ in range(2)]
    outputs = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert sorted(int(out) for out, _ in outputs) == [0, 12]
    assert failures(Lab(small)) == []


@pytest.mark.parametrize("seconds", [0.0, 0.15, 0.4])
def test_killed_half_way_and_run_again_it_converges(small: Environment, seconds: float) -> None:
    process = up_elsewhere(small)
    assert process.stderr is not None
    assert process.stderr.readline() == "making 12 namespaces\n"
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with Lab(small) as lab:
        lab.up()
        assert failures(lab) == []
        assert lab.up().is_nothing
        lab.down()
    assert netns.names(f"rf-{small.name}.") == []
    assert not _processes_of(small)


def _processes_of(environment: Environment) -> list[str]:
    marker = str(state.directory(environment.name)).encode()
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and marker in (entry / "cmdline").read_bytes().split(b"\0"):
                found.append(entry.name)
        except OSError:
            continue
    return found


def test_down_half_way_through_up_removes_everything(small: Environment) -> None:
    process = up_elsewhere(small)
    assert process.stderr is not None
    process.stderr.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    Lab(small).down()
    assert netns.names(f"rf-{small.name}.") == []


def test_a_namespace_of_somebody_else_is_refused_and_not_touched(small: Environment) -> None:
    name = list(plan(small, active_routers(small)))[-1]
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        inode = netns.identity(name)
        refused = pytest.raises(RingfortError, match=f"{name}' was not made by Ringfort for '{small.name}'")
        with Lab(small) as lab, refused:
            lab.up()
        assert netns.names(f"rf-{small.name}.") == [name]
        assert Lab(small).down().removed == []
        assert netns.identity(name) == inode
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)


def test_a_namespace_beside_ours_with_our_prefix_survives_down(small: Environment) -> None:
    foreign = f"rf-{small.name}.mine"
    subprocess.run(["ip", "netns", "add", foreign], check=True)
    try:
        with Lab(small) as lab:
            lab.up()
            assert lab.up().is_nothing
            lab.down()
        assert netns.names(f"rf-{small.name}.") == [foreign]
    finally:
        subprocess.run(["ip", "netns", "delete", foreign], check=True)


def test_a_busy_lab_says_who_works_on_it(small: Environment) -> None:
    with Lab(small).locked():
        other = Lab(small)
        busy = f"process {os.getpid()} is working on the lab"
        with pytest.raises(RingfortError, match=busy), other.locked(wait_seconds=0):
            pass


WITHOUT = """
import sys, time
from ringfort.environment.load import load
from ringfort.lab.lab import Lab
with Lab(load(sys.argv[1])).without("router-filter:r1", "port-security:north/back", "identity:app"):
    print("off", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_command_that_is_told_to_stop_leaves_no_mechanism_off(small: Environment, number: signal.Signals) -> None:
    with Lab(small) as lab:
        lab.up()
        file = next(iter(small.sites.values())).origin.file
        # A suite started in the background hands down that Ctrl-C is ignored; a person's shell doesn't.
        heeding = ["env", "--default-signal=INT", sys.executable]
        process = subprocess.Popen(
            [*heeding, "-c", WITHOUT, file], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "off\n"
        assert not any("table" in entry for entry in lab.read_device(Device(DeviceKind.ROUTER, "r1"))["nftables"])
        process.send_signal(number)
        process.communicate(timeout=20)
        assert process.returncode != 0
        assert lab.up().is_nothing


def test_what_the_declaration_no_longer_has_is_removed(tmp_path: Path, small: Environment) -> None:
    with Lab(small) as lab:
        lab.up()
    fewer = load(
        worlds.write(
            tmp_path,
            worlds.SMALL.replace(
                "  app: {site: north, segment: back, count: 2,", "  app: {site: north, segment: back, count: 1,"
            ),
            "break",
        )
    )
    with Lab(fewer) as lab:
        changes = lab.up()
        assert changes.removed == [f"rf-{small.name}.app-2"]
        assert changes.created == []
        assert failures(lab) == []
        assert lab.up().is_nothing


@pytest.mark.parametrize(
    ("text", "namespaces", "purpose"),
    [
        pytest.param(worlds.ONE_HOST, 6, "one", id="one host, one router"),
        pytest.param(worlds.NO_HOST, 6, "none", id="no host at all"),
        pytest.param(worlds.ONLY_IPV6, 11, "six", id="IPv6 only, two sites"),
        pytest.param(worlds.LONG_NAMES, 9, "long-" + "x" * 47, id="names as long as they may be"),
    ],
)
def test_environments_at_the_edges(tmp_path: Path, text: str, namespaces: int, purpose: str) -> None:
    found = worlds.environment(tmp_path, text, purpose[: 62 - len(worlds.name_of(""))] + "z")
    with Lab(found) as lab:
        try:
            assert len(lab.up().created) == namespaces
            assert failures(lab) == []
            assert lab.identity_checks() == identity_checks(found)
            assert lab.up().is_nothing
        finally:
            lab.down()
    assert netns.names(f"rf-{found.name}.") == []
