"""How soon an instance answers, booted and restored, and what its virtual machine costs beside its own memory.

A small HTTP server of Python in guests of the size that `app.yaml` asks for by default: 128 MiB for the application.
Answers are asked for inside the guest, over the serial port, so no network is measured. The processor time is that of
all processes of the jail: on a busy machine it tells more than the clock. Limits: 60 MiB beyond the guest's memory for
each of several instances, which share QEMU's own files; an answer within 15 s booted and 3 s restored.

    .venv/bin/python -m benchmarks.sandbox [--rounds 3] [--clones 20]
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import click

from ringfort.compute import image
from ringfort.compute.guest.launch import Launch
from ringfort.compute.launching import SYSTEM_MIB
from ringfort.compute.sandbox import Sandbox
from ringfort.compute.snapshots import Snapshot
from tests.compute.guests import Ground, ended

COLD_SECONDS, WARM_SECONDS, OVERHEAD_MIB = 15.0, 3.0, 60.0
MEMORY = 128 + SYSTEM_MIB
SERVER = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(204)
        self.end_headers()
http.server.HTTPServer(("", 8080), Handler).serve_forever()
"""
LAUNCH = Launch("python", ("/app/main.py",), memory=128)


def family(pid: int) -> list[int]:
    """A process and all below it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(found for child in children for found in family(int(child)))]


def processor_seconds(sandbox: Sandbox) -> float:
    """Of its jail so far."""
    total = 0
    for pid in family(sandbox.pid):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def overhead_mib(sandbox: Sandbox) -> float:
    """What its processes hold, by their share (PSS), beyond the guest's memory.

    For restored guests, whose memory is a mapped file and can be told apart.
    """
    own = 0
    for pid in family(sandbox.pid):
        is_guest = False
        for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
            words = line.split()
            if "-" in words[0] and not words[0].endswith(":"):
                is_guest = "/memory" in line
            elif words[0] == "Pss:" and not is_guest:
                own += int(words[1])
    return own / 1024


def answering(sandbox: Sandbox, snapshot: Snapshot | None) -> tuple[float, float]:
    """Start it and wait for its first answer: seconds by the clock, and of the processor."""
    began = time.monotonic()
    sandbox.start(LAUNCH, snapshot)
    while sandbox.health(8080, "/"):
        time.sleep(0.25)
    return time.monotonic() - began, processor_seconds(sandbox)


def measure(ground: Ground, kind: str, rounds: int, snapshot: Snapshot | None) -> tuple[float, float]:
    """Print the medians of some starts, one after the other; give back the clock's and the overhead."""
    clocks, processors, overheads = [], [], []
    for _ in range(rounds):
        specification = ground.specification(kind, {"main.py": SERVER}, memory=MEMORY)
        with ended(ground.sandbox(specification)) as sandbox:
            clock, processor = answering(sandbox, snapshot)
            clocks.append(clock)
            processors.append(processor)
            overheads.append(overhead_mib(sandbox) if snapshot else 0.0)
    clock, processor = statistics.median(clocks), statistics.median(processors)
    print(f"{kind}: first answer after {clock:.2f} s, {processor:.2f} s of processor; load {os.getloadavg()[0]:.1f}")
    return clock, statistics.median(overheads)


def measure_clones(ground: Ground, count: int, snapshot: Snapshot) -> float:
    """Many at once; the median of what each holds beyond its guest's memory."""
    with ExitStack() as stack:
        began = time.monotonic()
        clones = []
        for number in range(count):
            specification = ground.specification(f"clone{number}", {"main.py": SERVER}, memory=MEMORY)
            clone = stack.enter_context(ended(ground.sandbox(specification)))
            clone.start(LAUNCH, snapshot)
            clones.append(clone)
        waiting = list(clones)
        while waiting := [clone for clone in waiting if clone.health(8080, "/")]:
            time.sleep(0.25)
        taken = time.monotonic() - began
        overhead = statistics.median(overhead_mib(clone) for clone in clones)
    print(f"{count} at once: all answer after {taken:.1f} s; each holds {overhead:.1f} MiB beyond its guest's memory")
    return overhead


@click.command()
@click.option("--rounds", default=3, show_default=True)
@click.option("--clones", default=20, show_default=True)
def main(rounds: int, clones: int) -> None:
    """Measure, print, and fail when a limit is passed."""
    ground = Ground(image.ensure())
    try:
        cold, _ = measure(ground, "booted", rounds, None)
        template = ground.sandbox(ground.specification("template", memory=MEMORY))
        template.boot(in_file=True)
        snapshot = template.snapshot(ground.directory / "snapshot")
        warm, overhead = measure(ground, "restored", rounds, snapshot)
        print(f"one holds {overhead:.1f} MiB beyond its guest's memory")
        shared = measure_clones(ground, clones, snapshot) if clones else overhead
    finally:
        ground.remove()
    if cold > COLD_SECONDS or warm > WARM_SECONDS or shared > OVERHEAD_MIB:
        sys.exit("slower or larger than promised")


if __name__ == "__main__":
    main()
