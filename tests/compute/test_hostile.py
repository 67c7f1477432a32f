"""A guest that attacks with everything at once, as root and without any layer, beside a polite one."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from ringfort.compute.logs import HALF, read
from ringfort.compute.sandbox import Sandbox
from ringfort.kernel.netns import inside
from ringfort.node.instances import wiring
from tests.compute import attacks
from tests.compute.attacks import ATTACKS, BANDWIDTH, HOSTILE, NEIGHBOUR, POLITE, PROGRAM, Platform
from tests.compute.guests import Ground, ended, healthy, log_of, said

pytestmark = pytest.mark.lab

FIRST = ("flood", "spoof", "scan", "log", "disk", "ports")
THEN = tuple(sorted(set(ATTACKS) - set(FIRST)))
FIRST_SECONDS, SECONDS = 60.0, 5.0


@dataclass
class Scene:
    """Both guests, what the platform had counted before the attack, and how many requests were answered during it."""

    platform: Platform
    hostile: Sandbox
    polite: Sandbox
    arrived: int
    answered: int
    dropped: int


@pytest.fixture(scope="module")
def scene(ground: Ground) -> Iterator[Scene]:
    platform = Platform(attacks.name_of("hostile"))
    try:
        places = [platform.place() for _ in range(2)]
        hostile, polite = (
            ground.sandbox(ground.specification(name, {"main.py": code}, wire=attacks.wire(place)))
            for name, code, place in zip(("hostile", "polite"), (PROGRAM, NEIGHBOUR), places, strict=True)
        )
        with ended(hostile), ended(polite):
            hostile.start(HOSTILE, ground.template())
            polite.start(POLITE, ground.template())
            said(hostile, "listening")
            healthy(polite, path="")
            arrived, dropped = platform.arrived(), sum(attacks.counts(places[0]))
            attacks.order(places[0], FIRST_SECONDS, *FIRST)
            until = time.monotonic() + FIRST_SECONDS
            while time.monotonic() < until and not (
                sum(attacks.counts(places[0])) - dropped > 100
                and len(log_of(hostile)) > 10_000
                and attacks.over_its_rate(places[0])
            ):
                time.sleep(0.1)
            attacks.order(places[0], SECONDS, *THEN)
            answered = attacks.served(places[1], SECONDS)
            yield Scene(platform, hostile, polite, arrived, answered, sum(attacks.counts(places[0])) - dropped)
    finally:
        platform.remove()


def test_the_attack_was_made(scene: Scene) -> None:
    """What it sent was dropped by rules that count, and its log was full of it."""
    assert scene.dropped > 100
    assert len(read(scene.hostile.specification.log)) > 10_000
    assert "FAILED" not in log_of(scene.hostile)


def test_nothing_of_it_arrives_anywhere(scene: Scene) -> None:
    assert scene.platform.arrived() == scene.arrived
    assert "REACHED" not in log_of(scene.hostile)
    with inside(scene.platform.places[0]), socket.socket(type=socket.SOCK_DGRAM) as one:
        one.sendto(b"what the platform does count", ("10.200.0.1", 9))
    assert scene.platform.arrived() > scene.arrived


def test_the_neighbour_goes_on_answering(scene: Scene) -> None:
    assert scene.answered > 2
    healthy(scene.polite, path="")


def test_its_log_and_its_disk_are_as_large_as_they_may_be(scene: Scene) -> None:
    assert len(read(scene.hostile.specification.log)) <= 2 * HALF
    disk = scene.hostile.specification.disk
    assert disk is not None
    assert disk.stat().st_size == 16 << 20


def test_it_keeps_the_bounds_of_its_groups(scene: Scene) -> None:
    groups = {path.parts[4]: path for path in scene.hostile._groups.directories if len(path.parts) > 4}
    if not {"pids", "memory"} <= groups.keys():
        pytest.skip("no control groups of version 1 are to be had here")
    pids, memory = groups["pids"], groups["memory"]
    assert int((pids / "pids.current").read_text()) <= int((pids / "pids.max").read_text())
    highest, limit = (int((memory / f"memory.{name}").read_text()) for name in ("max_usage_in_bytes", "limit_in_bytes"))
    assert highest <= limit


def test_what_it_sends_faster_than_declared_is_dropped(scene: Scene) -> None:
    hostile, polite = scene.platform.places.values()
    assert attacks.over_its_rate(hostile) > 0
    assert attacks.over_its_rate(polite) == 0


def test_what_a_guest_is_sent_is_bounded(scene: Scene) -> None:
    from pyroute2 import IPRoute

    with inside(scene.platform.places[1]), IPRoute() as connection:
        (index,) = connection.link_lookup(ifname=wiring.TAP)
        (found,) = [one for one in connection.get_qdiscs(index) if one.get_attr("TCA_KIND") == "tbf"]
    rate = found.get_attr("TCA_OPTIONS").get_attr("TCA_TBF_PARMS")["rate"]
    assert rate == BANDWIDTH * 125_000
