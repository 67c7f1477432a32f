"""From publishing a version to the last node that confirms it, in the example: limit 3 seconds.

The example's lab is built under a name of its own, with its controller, its witness and a node for every machine; then
versions are published one after the other, each with another flow, and each is timed from before the call until every
node has loaded it, reached the controller under it, and committed it. Every byte crosses the lab's own network.

    .venv/bin/python -m benchmarks.node_publish [--rounds 5]
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import click

from ringfort.environment.load import load
from ringfort.environment.model import Environment
from ringfort.lab import approvers, nodes, processes, state
from ringfort.lab.lab import Lab
from ringfort.lab.plane import Plane
from ringfort.lab.publishing import published

SECONDS = 3.0
EXAMPLE = Path(__file__).parents[1] / "examples" / "shop"


def environment(directory: Path, number: int) -> Environment:
    """The example under another name; above 0 with one flow more, that no other number has."""
    shutil.copytree(EXAMPLE, directory, dirs_exist_ok=True)
    declaration, flows = directory / "environment.yaml", directory / "flows.yaml"
    declaration.write_text(declaration.read_text().replace("environment: shop\n", f"environment: bench{os.getpid()}\n"))
    if number:
        more = f'flows:\n  - {{from: "group:administrators", to: stock, name: bench-{number}}}\n'
        flows.write_text(flows.read_text().replace("flows:\n", more, 1))
    return load(directory)


def processor(plane: Plane) -> float:
    """Seconds of processor that nodes, controller and witness have used, to the nanosecond."""
    found = 0
    for entry in state.load(plane.environment.name, processes.RECORD).values():
        for path in Path(f"/proc/{entry['pid']}/task").glob("*/schedstat"):
            found += int(path.read_text().split()[0])
    return found / 1e9


def publish(plane: Plane, wanted: Environment) -> tuple[float, float, float]:
    """Publish as the approvers; seconds until the call is answered, until every node has confirmed, of processor."""
    with plane.calling() as client:
        old = published(client)
        publication = approvers.publication(plane.directory / "approvers", wanted, old, datetime.now(UTC))
        begin, used = time.perf_counter(), processor(plane)
        answer = client.call("POST", "/v1/environment/publications", approvers.body(publication), reason="benchmark")
        answered = time.perf_counter() - begin
    version = int(answer["version"])
    while True:
        states = nodes.statuses(plane).values()
        if all(said.get("state") == "confirmed" and said.get("enforced") == version for said in states):
            whole = time.perf_counter() - begin
            return answered, whole, processor(plane) - used
        if time.perf_counter() - begin > 60:
            sys.exit("not every node confirms")
        time.sleep(0.02)


@click.command()
@click.option("--rounds", default=5)
def main(rounds: int) -> None:
    """Measure and compare with the limit."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        first = environment(directory, 0)
        with Lab(first) as lab:
            try:
                lab.up()
                plane = Plane.of(first)
                assert plane is not None
                load_before = os.getloadavg()[0]
                found = [publish(plane, environment(directory, number)) for number in range(1, rounds + 1)]
            finally:
                lab.down()
    answered, whole, used = (statistics.median(values) for values in zip(*found, strict=True))
    print(
        f"{len(plane.nodes)} nodes, {rounds} versions, load {load_before:.1f}: all confirmed after {whole:.2f} s "
        f"(worst {max(values[1] for values in found):.2f} s), of which the call took {answered:.2f} s; "
        f"all processes together used {used:.2f} s of processor"
    )
    print(f"limit {SECONDS} s: {'kept' if whole < SECONDS else 'MISSED'}, {whole / SECONDS:.2f} of it")
    if whole >= SECONDS:
        sys.exit(1)


if __name__ == "__main__":
    main()
