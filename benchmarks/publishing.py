"""From a publication to the last node's confirmation, in the running example.

    .venv/bin/python -m benchmarks.publishing [--rounds 5]

The example is brought up if it isn't. In turns, one flow is taken out of it and put back; each time a version is signed
by two approvers and handed to the controller. Timed is from the call to the controller until every node's own status
says that it enforces the version and has confirmed it. Beside it stands what the same change costs without anybody
to ask: compiling the devices that differ and loading them one after the other.
"""

from __future__ import annotations

import statistics
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime

import click

from ringfort.environment.load import load
from ringfort.environment.model import Environment
from ringfort.lab import approvers, nft
from ringfort.lab.control_plane import Plane, published, unconfirmed
from ringfort.lab.lab import Lab
from ringfort.network.compile import compile_environment

EXAMPLE = "examples/shop"
FLOW = "app-to-globex-api"
PROMISED = 3.0


def confirmed_after(plane: Plane, environment: Environment) -> float:
    """Seconds from handing over a version until all nodes have confirmed it."""
    with plane.calling() as client:
        old = published(client)
        publication = approvers.publication(plane.directory / "approvers", environment, old, datetime.now(UTC))
        start = time.perf_counter()
        body = approvers.body(publication)
        version = client.call("POST", "/v1/environment/publications", body, reason="measuring")["version"]
    while unconfirmed(plane, version):
        time.sleep(0.01)
    return time.perf_counter() - start


def loaded_after(lab: Lab, before: Environment, after: Environment) -> tuple[float, int]:
    """Seconds to compile what differs and load it from one process; and how many devices that is."""
    start = time.perf_counter()
    old, new = compile_environment(before), compile_environment(after)
    different = [device for device in new if new[device].text != old[device].text]
    for device in different:
        nft.run(lab.namespace(device), new[device].text)
    return time.perf_counter() - start, len(different)


@click.command()
@click.option("--rounds", default=5, show_default=True, help="Pairs of publications.")
def main(rounds: int) -> None:
    """Measure and compare with what is promised."""
    whole = load(EXAMPLE)
    flows = {name: flow for name, flow in whole.flows.items() if name != FLOW}
    reduced = replace(whole, flows=flows)
    with Lab(whole) as lab:
        was_up = lab.is_up()
        lab.up()
        plane = Plane.of(whole)
        assert plane is not None
        seconds = [confirmed_after(plane, one) for _ in range(rounds) for one in (reduced, whole)]
        bare, devices = loaded_after(lab, reduced, whole)
        if not was_up:
            lab.down()
    median = statistics.median(seconds)
    click.echo(f"{len(plane.nodes)} nodes, {devices} devices with other rules")
    click.echo(f"all confirmed after {median:.2f} s, largest {max(seconds):.2f} s, promised {PROMISED:.0f} s")
    click.echo(f"compiled and loaded by one process: {bare:.2f} s")
    if median > PROMISED:
        sys.exit(1)


if __name__ == "__main__":
    main()
