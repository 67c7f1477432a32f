"""What a customer waits for: from ``ringfort deploy`` to the first answer over HTTPS, and an update under load.

    python -m benchmarks.deploy [--rounds 3]

A lab of its own with four places of one customer on two hypervisors. Everything goes the customer's way: the command is
typed in the lab's internet and passes the door, visitors come to the gateway. *Cold* boots a guest, *warm* restores one
from the snapshot that the node made meanwhile.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from ringfort.compute import image
from ringfort.environment.load import load_text
from ringfort.lab import customers, public_names, visiting
from ringfort.lab.deploying import ordered
from ringfort.lab.lab import Lab
from ringfort.lab.plane import Plane
from ringfort.lab.shapes import VISITOR, namespace_name
from ringfort.lab.visiting import Site
from tests.lab import hosting

COLD_SECONDS, WARM_SECONDS = 15.0, 3.0
"""Promised, medians."""

CUSTOMER, NAME = "acme", "guestbook"
APPLICATION = Path(__file__).parents[1] / "examples" / "applications" / NAME
PUBLIC_NAME = "guestbook.acme.example"
INSTANCES = 4
ANSWER_SECONDS, TEMPLATE_SECONDS, UPDATE_SECONDS = 240.0, 240.0, 600
VISITORS = 4

PLACES = """\
  acme-a: {site: north, segment: guests, count: 2, hypervisor: metal-1, customer: acme, services: [instances]}
  acme-b: {site: north, segment: guests, count: 2, hypervisor: metal-2, customer: acme, services: [instances]}
"""
ENVIRONMENT = f"environment: rfbench-deploy{hosting.HOSTED.replace(hosting.PLACES, PLACES)}"


class Ground:
    """A lab that is up, and the customer's application."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        plane = Plane.of(lab.environment)
        assert plane is not None
        self.plane, self.folder = plane, folder
        customers.ensure(plane, [CUSTOMER])
        self.customer = customers.of(plane, CUSTOMER)
        (entry,) = [one for one in lab.environment.published if one.service == "gateway"]
        visitor = namespace_name(lab.environment, VISITOR)
        self.site = Site(visitor, PUBLIC_NAME, entry.address, entry.port, public_names.root(plane))

    def say(self, *words: str) -> str:
        """One of the customer's commands; what it says."""
        done = ordered(self.plane, self.customer, words, UPDATE_SECONDS)
        if done.returncode:
            raise RuntimeError(f"ringfort {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def first_answer(self) -> float:
        """Seconds from the command to the first answer over HTTPS."""
        begin = time.monotonic()
        self.say("deploy", str(self.folder))
        if not visiting.answers(self.site, begin + ANSWER_SECONDS):
            raise RuntimeError(f"no answer within {ANSWER_SECONDS:.0f} s")
        return time.monotonic() - begin

    def delete(self) -> None:
        """Remove the application, and wait until nobody answers any more."""
        self.say("application", "delete", NAME)
        until = time.monotonic() + ANSWER_SECONDS
        while visiting.answers(self.site, 0.0):
            if time.monotonic() > until:
                raise RuntimeError("it still answers after it was deleted")
            time.sleep(0.2)

    def settled(self, seconds: float = ANSWER_SECONDS) -> None:
        """Wait until all instances run."""
        until = time.monotonic() + seconds
        while not _all_run(json.loads(self.say("application", "show", NAME, "--format", "json"))):
            if time.monotonic() > until:
                raise RuntimeError("not all instances run")
            time.sleep(0.5)


def _all_run(answer: dict[str, object]) -> bool:
    wanted = {"state": "running", "deployment": answer["deployment"]}
    instances = answer["instances"]
    return isinstance(instances, list) and all(wanted.items() <= one.items() for one in instances)


@contextmanager
def standing(instances: int) -> Iterator[Ground]:
    """The lab, and the application with so many instances."""
    with tempfile.TemporaryDirectory() as base, Lab(load_text(ENVIRONMENT)) as lab:
        folder = Path(base) / NAME
        shutil.copytree(APPLICATION, folder)
        text = (folder / "app.yaml").read_text()
        wanted = f"instances: {{count: {instances}, minimum-healthy: {max(1, instances - 1)}}}"
        changed = text.replace("instances: {count: 2, minimum-healthy: 1}", wanted)
        assert changed != text or instances == 2
        (folder / "app.yaml").write_text(changed)
        try:
            lab.up()
            yield Ground(lab, folder)
        finally:
            lab.down()


def load_average() -> str:
    """How busy the machine is."""
    return f"load {os.getloadavg()[0]:.1f}"


def forget_templates() -> None:
    """Remove the snapshots of guests, so that the next one boots."""
    shutil.rmtree(TEMPLATES, ignore_errors=True)


def await_template() -> None:
    """Wait until a node has made the snapshot."""
    until = time.monotonic() + TEMPLATE_SECONDS
    while not any(TEMPLATES.glob("[0-9a-f]*-*")):
        if time.monotonic() > until:
            raise RuntimeError("no node made a snapshot")
        time.sleep(0.5)


TEMPLATES = Path("/dev/shm/ringfort/templates")


def measure_first_answers(rounds: int) -> tuple[float, float]:
    """Medians, cold and warm."""
    found: dict[str, list[float]] = {"cold": [], "warm": []}
    with standing(1) as ground:
        for kind, seconds in found.items():
            for _ in range(rounds):
                if kind == "cold":
                    forget_templates()
                else:
                    await_template()
                seconds.append(ground.first_answer())
                ground.delete()
            each = ", ".join(f"{one:.2f}" for one in seconds)
            print(
                f"{kind}: first answer after {statistics.median(seconds):.2f} s ({each}); {load_average()}", flush=True
            )
    return statistics.median(found["cold"]), statistics.median(found["warm"])


def measure_update() -> int:
    """Update all instances under load; how many requests failed."""
    with standing(INSTANCES) as ground:
        ground.first_answer()
        ground.settled()
        with visiting.visited((ground.site,), VISITORS, 0.0) as load:
            begin = time.monotonic()
            ground.say("deploy", str(ground.folder), "--wait", str(UPDATE_SECONDS - 10))
            taken = time.monotonic() - begin
    rate = f"{load.requests / load.seconds:,.0f} requests/s"
    failed = f"{load.failures} of {load.requests:,} failed {load.failed or ''}"
    print(f"update of {INSTANCES} instances in {taken:.1f} s under {rate}: {failed}; {load_average()}")
    print(f"the slowest request took {load.slowest:.2f} s")
    return load.failures


@click.command()
@click.option("--rounds", default=3, show_default=True)
@click.option("--update/--no-update", "updates", default=True, show_default=True)
def main(rounds: int, updates: bool) -> None:
    """Measure, print, and fail when a limit is passed."""
    image.ensure()
    cold, warm = measure_first_answers(rounds)
    if (updates and measure_update()) or cold > COLD_SECONDS or warm > WARM_SECONDS:
        sys.exit("slower than promised, or requests failed")


if __name__ == "__main__":
    main()
