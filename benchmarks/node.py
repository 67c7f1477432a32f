"""A node's weight: memory, work when nothing happens, and how soon a change by hand is undone.

The nodes of three machines of the example - a router, the switches of a site, a web server - run as processes in
namespaces of their own against a small controller on loopback. Limits: 80 MB resident, 5 s for drift; beside them
stands a bare Python process with OpenSSL loaded.

    .venv/bin/python -m benchmarks.node [--idle 30] [--changes 50]
"""

from __future__ import annotations

import os
import select
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from ringfort.environment.load import load
from ringfort.environment.model import Environment
from ringfort.environment.serialise import to_bytes
from ringfort.environment.topology import devices_by_machine
from ringfort.kernel import nft
from ringfort.kernel.changes import Changes
from ringfort.lab import netns
from ringfort.network.compile import compile_device
from ringfort.node import membership
from ringfort.node.policy import digest
from ringfort.publishing.trust import Trust
from tests.node import worlds
from tests.node.controllers import Controller

MEGABYTES, DRIFT_SECONDS, IDLE_SHARE = 80.0, 5.0, 0.01
MACHINES = ("north-r1", "north-fabric", "web-n-1")
EXAMPLE = Path(__file__).parents[1] / "examples" / "shop"


class Machine(worlds.World):
    """One machine of the example."""

    def __init__(self, directory: Path, known: Environment, machine: str) -> None:
        self.known, self.machine = known, machine
        self.directory = directory
        self.name = f"nb{os.getpid()}-{machine[:6]}"
        self.devices = devices_by_machine(known)[machine]
        self.spaces = {str(device): f"rf-{self.name}.{number}" for number, device in enumerate(self.devices)}
        self.house = worlds.house(directory)
        _, issuer, bundle = worlds.authority()
        self.controller = Controller(self.house.directory, issuer, bundle)
        self.controller.lists = worlds.lists()
        self.state, self.runtime = directory / "state", directory / "run"
        self.configuration, self.processes = directory / "node.toml", []
        netns.prepare_directory()
        for space in self.spaces.values():
            netns.create(space, self.name)
        self.configure()
        self.configuration.write_text(self.configuration.read_text().replace(worlds.MACHINE, machine))
        membership.create(self.state / "identity", worlds.credential(name=machine), bundle)
        Trust.pin(self.state / "trust", self.house.metadata("1.root.json").read_bytes())

    def text(self, number: int) -> bytes:
        """The example, whatever the number."""
        return to_bytes(self.known)

    def wanted(self, number: int) -> dict[str, str]:
        """What the devices of the machine hold."""
        return {str(device): digest(compile_device(self.known, device).document) for device in self.devices}


def memory(pid: int) -> tuple[float, float]:
    """Resident and proportional megabytes."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    found = {line.split()[0]: int(line.split()[1]) for line in lines[1:]}
    return found["Rss:"] / 1024, found["Pss:"] / 1024


def cpu_seconds(pid: int) -> float:
    """What its threads have used, to the nanosecond (the scheduler's own account)."""
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def repair_seconds(machine: Machine, changes: int) -> list[float]:
    """From a change that is in the kernel until the rules are as before, each time for another device."""
    found = []
    places = list(machine.spaces.items())
    for number in range(changes):
        device, space = places[number % len(places)]
        family = "bridge" if device.startswith("switch") else "inet"
        with Changes(space) as news:
            nft.run(space, f"insert rule {family} ringfort {'forward' if family == 'bridge' else 'output'} accept")
            begin, repaired = time.perf_counter(), False
            while not repaired:
                assert select.select([news], [], [], 10)[0], "it was not repaired"
                repaired = any(author.pid == machine.processes[-1].pid for author in news.read())
            found.append(time.perf_counter() - begin)
        machine.until(lambda: machine.holds(1))
        time.sleep(0.25)
    return found


def bare() -> float:
    """Megabytes of a Python process that can speak TLS and does nothing."""
    command = [sys.executable, "-c", "import http.client, ssl; ssl.create_default_context(); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        time.sleep(1)
        resident, _ = memory(process.pid)
        process.communicate(b"\n")
    return resident


@click.command()
@click.option("--idle", default=30.0, help="Seconds in which nothing happens.")
@click.option("--changes", default=50)
def main(idle: float, changes: int) -> None:
    """Measure and compare with the limits."""
    known, kept = load(EXAMPLE), True
    print(f"load {os.getloadavg()[0]:.1f}; a bare Python process with OpenSSL: {bare():.0f} MB")
    for name in MACHINES:
        with tempfile.TemporaryDirectory() as directory:
            machine = Machine(Path(directory), known, name)
            try:
                machine.publish(1)
                process = machine.start()
                machine.controller.wait_for(lambda report: report["state"] == "confirmed", 30)
                time.sleep(3)
                before, begin = cpu_seconds(process.pid), time.monotonic()
                time.sleep(idle)
                share = (cpu_seconds(process.pid) - before) / (time.monotonic() - begin)
                repairs = repair_seconds(machine, changes)
                resident, proportional = memory(process.pid)
            finally:
                machine.close()
        print(
            f"{name} ({len(machine.devices)} devices): {resident:.0f} MB resident ({proportional:.0f} proportional), "
            f"idle {share * 100:.2f} % of a core, drift undone after {statistics.median(repairs) * 1000:.0f} ms "
            f"(worst {max(repairs) * 1000:.0f} ms of {changes})"
        )
        kept &= resident < MEGABYTES and max(repairs) < DRIFT_SECONDS and share < IDLE_SHARE
    print(
        f"limits {MEGABYTES:.0f} MB, {DRIFT_SECONDS:.0f} s, {IDLE_SHARE:.0%} of a core: {'kept' if kept else 'MISSED'}"
    )
    if not kept:
        sys.exit(1)


if __name__ == "__main__":
    main()
