"""Instances in the kernel: each behind its sandbox, which lets through what is declared and is read back like any."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ringfort.environment.model import Protocol, Tls
from ringfort.environment.topology import Device, DeviceKind, device_of
from ringfort.lab.client import Outcome, call
from ringfort.lab.lab import Lab
from ringfort.lab.plan import active_routers, plan
from ringfort.lab.shapes import namespace_name
from tests.lab import worlds
from tests.lab.calls import failures, host
from tests.lab.running import mended, running

WEB, ACME, GLOBEX = "10.10.1.2", "10.10.2.2", "10.10.2.3"
SANDBOX = Device(DeviceKind.SANDBOX, "acme")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running(tmp_path_factory.mktemp("guests"), worlds.GUESTS, "guests") as made:
        yield made


@pytest.fixture
def whole(lab: Lab) -> Iterator[Lab]:
    yield from mended(lab)


def test_a_guest_is_joined_to_its_sandbox_and_the_sandbox_to_the_switch(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    environment = worlds.environment(tmp_path_factory.mktemp("planned"), worlds.GUESTS, "planned")
    wanted = plan(environment, active_routers(environment))
    guest = wanted[namespace_name(environment, host("acme"))]
    sandbox = wanted[namespace_name(environment, device_of(environment.hosts["acme"]))]
    switch = wanted[namespace_name(environment, Device(DeviceKind.SWITCH, "north/guests"))]
    assert guest.device is None, "what a customer runs guards nobody"
    assert guest.links["eth0"].peer == (sandbox.name, "guest")
    assert switch.links["acme"].peer == (sandbox.name, "uplink")
    assert not any(link.addresses for link in sandbox.links.values())
    ends = {
        (name, link.name): link.peer for name, space in wanted.items() for link in space.links.values() if link.peer
    }
    assert all(ends[peer] == end for end, peer in ends.items())


@pytest.mark.lab
def test_every_declared_call_works_through_the_sandboxes(lab: Lab) -> None:
    assert failures(lab) == []


@pytest.mark.lab
@pytest.mark.parametrize(
    ("place", "address", "port"), [("acme", GLOBEX, 8081), ("globex", WEB, 443), ("metal", ACME, 8080)]
)
def test_what_no_flow_declares_is_refused(lab: Lab, place: str, address: str, port: int) -> None:
    answer = call(lab, host(place), address, port, protocol=Protocol.TCP, tls=Tls.NONE, timeout_seconds=0.3)
    assert answer.outcome is not Outcome.ADMITTED


@pytest.mark.lab
def test_the_sandbox_counts_what_it_refuses(lab: Lab) -> None:
    before = lab.counters(SANDBOX)["undeclared-out"]
    call(lab, host("acme"), GLOBEX, 8081, protocol=Protocol.TCP, tls=Tls.NONE, timeout_seconds=0.3)
    assert lab.counters(SANDBOX)["undeclared-out"] > before


@pytest.mark.lab
def test_without_its_filter_a_sandbox_still_ends_the_link_and_up_mends_it(whole: Lab) -> None:
    whole.disable("sandbox-filter:acme")
    documents, _ = whole.read_back()
    assert not [item for item in documents[SANDBOX]["nftables"] if "table" in item]
    answer = call(whole, host("acme"), GLOBEX, 8081, protocol=Protocol.TCP, tls=Tls.NONE, timeout_seconds=0.3)
    assert answer.outcome is not Outcome.ADMITTED, "a router and the neighbour's sandbox are left"
    changes = whole.up()
    assert changes.loaded == ["sandbox:acme"]
    assert failures(whole) == []


@pytest.mark.lab
def test_a_second_up_changes_nothing(lab: Lab) -> None:
    assert lab.up(dry_run=True).is_nothing
