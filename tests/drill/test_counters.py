"""What is read and emptied over netlink is what nft lists."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ringfort.drill.counters import Counters
from ringfort.drill.netfilter import Netfilter
from ringfort.drill.scanners import Scanners
from ringfort.environment.topology import Device, DeviceKind, devices
from ringfort.lab import nft
from ringfort.lab.lab import Lab
from tests.drill import worlds
from tests.lab import worlds as labs

pytestmark = pytest.mark.lab

ROUTER = Device(DeviceKind.ROUTER, "r1")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    directory: Path = tmp_path_factory.mktemp("counters")
    with Lab(labs.environment(directory, worlds.HOLDS, "counters")) as made:
        try:
            made.up()
            yield made
        finally:
            made.down()


def test_every_named_counter_of_every_device_is_read_as_nft_lists_it(lab: Lab) -> None:
    with Netfilter(lab, devices(lab.environment)) as netfilter:
        counters = Counters(netfilter)
        for device in devices(lab.environment):
            # The kernel itself may say something meanwhile, so what nft lists lies between two readings.
            first, listed = counters.read(device), lab.counters(device)
            last = dict(counters.among(device, {*listed, "of-nothing"}))
            assert first.keys() == listed.keys() == last.keys() != set()
            assert all(first[name] <= listed[name] <= last[name] for name in listed)
        with lab.without("router-filter:r1"):
            assert counters.read(ROUTER) == {}
            assert dict(counters.among(ROUTER, {"undeclared"})) == {}


def test_a_router_forgets_whom_it_refused_and_nothing_else(lab: Lab) -> None:
    before = nft.ruleset(lab.namespace(ROUTER))
    with Netfilter(lab, [ROUTER]) as netfilter:
        generation = netfilter.generation(ROUTER)
        assert netfilter.generation(ROUTER) == generation
    nft.run(lab.namespace(ROUTER), "add element inet ringfort scanners4 { 203.0.113.7 timeout 60s }")
    assert nft.ruleset(lab.namespace(ROUTER)) != before
    with Netfilter(lab, [ROUTER]) as netfilter:
        assert netfilter.generation(ROUTER) != generation
        Scanners(netfilter).forget(ROUTER)
    assert nft.canonical(nft.ruleset(lab.namespace(ROUTER))) == nft.canonical(before)
    assert "203.0.113.7" not in str(nft.ruleset(lab.namespace(ROUTER)))
