"""How soon an instance has a place, and another one when its node and the controller it spoke to are lost together.

    .venv/bin/python -m benchmarks.placing [--rounds 5]

Two controller processes on one SQLite database, two nodes that report every 2 s and wait for what they should run.
*Placed*: from a node's first sign of life until it has heard of the instance that waits for a place. *Elsewhere*: from
the moment when that node says nothing more, and the controller to which it spoke is killed with it, until the other
node has heard of the instance.
"""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import click

from ringfort.control.client import Client, Endpoint
from ringfort.control.silence import LOST_SECONDS
from ringfort.errors import RingfortError
from ringfort.identity.credential import Credential
from tests.control.places import Places, beat
from tests.control.running import Ground, process, running
from tests.control.shops import customer

REPORT_SECONDS = 2.0
PROMISED = 10.0
"""Seconds, from when a loss is noticed."""

LONGEST = 60.0


class Node:
    """A node that reports, and waits for what it should run."""

    def __init__(self, name: str, credential: Credential, ground: Ground, endpoint: Endpoint) -> None:
        self._name, self._credential, self._ground, self._endpoint = name, credential, ground, endpoint
        self._stop, self._heard = threading.Event(), threading.Event()
        self._threads = [threading.Thread(target=work) for work in (self._report, self._wait)]

    def begin(self) -> float:
        """Live; when it began, on the monotonic clock."""
        began = time.monotonic()
        for thread in self._threads:
            thread.start()
        return began

    def heard(self) -> float:
        """When it has heard of an instance."""
        if not self._heard.wait(LONGEST):
            raise SystemExit(f"{self._name} heard of nothing for {LONGEST:g} s")
        return time.monotonic()

    def end(self) -> None:
        """Wait until it is silent."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _client(self) -> Client:
        return Client.platform(self._endpoint, self._credential, self._ground.store.bundle(), LONGEST)

    def _report(self) -> None:
        with self._client() as client:
            while not self._stop.is_set():
                beat(client, self._name)
                self._stop.wait(REPORT_SECONDS)

    def _wait(self) -> None:
        known = ""
        with self._client() as client:
            while not self._stop.is_set() and not self._heard.is_set():
                try:
                    answer = client.get(f"/v1/nodes/{self._name}/instances?known={known}")
                except RingfortError:  # its controller was killed
                    return
                known = answer["revision"]
                if answer["instances"]:
                    self._heard.set()


def measured() -> tuple[float, float]:
    """Seconds until placed, and until elsewhere."""
    with tempfile.TemporaryDirectory() as directory, ExitStack() as ends:
        ground = Ground(Path(directory))
        places = Places(ground)
        with running(ground) as controller:
            for name in ("metal-1", "metal-2"):
                places.add(name, "acme")
            places.publish(controller)
            shop = customer(controller, ground.directory, "acme")
            shop.deploy(shop.software())
            shop.call("POST", "/applications/web/scale", {"count": 1})
            credentials = {name: controller.enrol(name)[1] for name in ("metal-1", "metal-2")}
        killed, at_first = ends.enter_context(process(ground, "controller-1"))
        _, at_second = ends.enter_context(process(ground, "controller-2"))
        first = Node("metal-1", credentials["metal-1"], ground, at_first)
        second = Node("metal-2", credentials["metal-2"], ground, at_second)
        ends.callback(second.end)
        placed = -first.begin() + first.heard()
        second.begin()
        time.sleep(REPORT_SECONDS)
        first.end()
        killed.kill()
        silent = time.monotonic()
        return placed, second.heard() - silent


@click.command()
@click.option("--rounds", default=5, show_default=True)
def main(rounds: int) -> None:
    """Measure, and print medians."""
    placed, elsewhere = zip(*(measured() for _ in range(rounds)), strict=True)
    click.echo(f"placed: {statistics.median(placed):.2f} s ({min(placed):.2f}-{max(placed):.2f})")
    click.echo(f"elsewhere: {statistics.median(elsewhere):.1f} s ({min(elsewhere):.1f}-{max(elsewhere):.1f})")
    if statistics.median(elsewhere) > LOST_SECONDS + PROMISED:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
