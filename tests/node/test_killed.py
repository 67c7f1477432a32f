"""A node may be killed at any moment: the rules are the old ones or the new ones, never in between, never open."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from ringfort.kernel import nft
from ringfort.kernel.changes import Changes
from ringfort.node.policy import digest
from tests.node.worlds import World, world

pytestmark = pytest.mark.lab

VERSIONS, KILLS, LONGEST = 7, 7, 0.35


class Forks:
    """Starts nodes in milliseconds, from a process that has everything loaded."""

    def __init__(self, machine: World) -> None:
        self.starts = machine.directory / "starts.json"
        start = {
            "name": "blade",
            "configuration": str(machine.configuration),
            "namespace": "",
            "pid_file": str(machine.directory / "pid"),
            "log": str(machine.directory / "node.log"),
        }
        self.starts.write_text(json.dumps([start]))
        self.process = subprocess.Popen(
            [sys.executable, "-c", _FORKS, str(self.starts)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def start(self) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("start\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline().split()[1])

    def kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        while Path(f"/proc/{pid}").exists():
            time.sleep(0.001)

    def close(self) -> None:
        self.process.communicate()


_FORKS = """
import json, signal, sys
from pathlib import Path
from ringfort.node.spawn import Start, spawn
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for line in sys.stdin:
    for name, pid in spawn([Start(**entry) for entry in json.loads(Path(sys.argv[1]).read_bytes())]):
        print(name, pid, flush=True)
"""


class Watch:
    """Looks at the kernel without a pause, and remembers each state that a device was in.

    The kernel counts a new generation a moment before it shows it: whoever lists rules in between gets some of the old
    and some of the new, and is not told. Rules cannot change without the count, so what is not seen again under the
    same count was never there.
    """

    def __init__(self, machine: World, known: dict[str, set[str]]) -> None:
        self.machine, self.known = machine, known
        self.strange: list[str] = []
        self.looks = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with ExitStack() as stack:
            watched = {d: stack.enter_context(Changes(space)) for d, space in self.machine.spaces.items()}
            while not self._stop.is_set():
                for device, changes in watched.items():
                    self._look(device, changes)
                time.sleep(0.002)

    def _look(self, device: str, changes: Changes) -> None:
        space, before = self.machine.spaces[device], changes.generation()
        self.looks += 1
        if digest(nft.ruleset(space)) in self.known[device]:
            return
        again = digest(nft.ruleset(space))
        if again not in self.known[device] or changes.generation() != before:
            self.strange.append(f"{device}: {again}")

    def end(self) -> None:
        self._stop.set()
        self._thread.join()


@contextmanager
def watching(machine: World, *versions: int) -> Iterator[Watch]:
    wanted = [machine.wanted(version) for version in versions]
    watch = Watch(machine, {device: {one[device] for one in wanted} for device in machine.spaces})
    try:
        yield watch
    finally:
        watch.end()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


@pytest.fixture
def forks(machine: World) -> Iterator[Forks]:
    made = Forks(machine)
    yield made
    made.close()


def test_killed_at_random_moments_the_rules_are_always_the_old_or_the_new_ones(machine: World, forks: Forks) -> None:
    chance = random.Random(int(os.environ.get("RINGFORT_SEED", "7")))
    machine.publish(1)
    pid = forks.start()
    machine.controller.wait_for(lambda report: (report["state"], report["version"]) == ("confirmed", 1))
    kills = 0
    for version in range(2, VERSIONS + 1):
        with watching(machine, version - 1, version) as watch:
            for number in range(KILLS):
                if number == chance.randrange(3):
                    machine.publish(version, tell=False) if not machine.published(version) else None
                machine.controller.version = version if machine.published(version) else version - 1
                time.sleep(chance.uniform(0, LONGEST))
                forks.kill(pid)
                kills += 1
                pid = forks.start()
            if not machine.published(version):
                machine.publish(version)
            wanted = ("confirmed", version)
            machine.controller.wait_for(lambda report, w=wanted: (report["state"], report["version"]) == w, 60)  # type: ignore[misc]
            machine.until(lambda v=version: machine.holds(v))  # type: ignore[misc]
        assert watch.strange == [], f"neither version {version - 1} nor {version}"
        assert watch.looks > 50
    forks.kill(pid)
    assert kills == (VERSIONS - 1) * KILLS


def test_killed_on_trial_a_version_is_still_taken_back(machine: World, forks: Forks) -> None:
    machine.configure(**{"confirm-seconds": "2"})
    machine.publish(1)
    pid = forks.start()
    machine.controller.wait_for(lambda report: (report["state"], report["version"]) == ("confirmed", 1))
    machine.controller.refuses_reports = True
    machine.publish(2)
    machine.until(lambda: machine.holds(2))
    begin = time.monotonic()
    while not machine.holds(1):  # killed again and again, it does not begin to count anew
        forks.kill(pid)
        pid = forks.start()
        time.sleep(0.2)
        assert time.monotonic() < begin + 5
    forks.kill(pid)
