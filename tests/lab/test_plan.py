"""The plan of an environment: what will be built, as values."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from ringfort.environment.load import load
from ringfort.environment.model import Environment, Host
from ringfort.environment.topology import Device, DeviceKind
from ringfort.errors import RingfortError
from ringfort.lab.plan import active_routers, plan, public_networks
from ringfort.lab.shapes import MAIN_TABLE, Namespace, namespace_name
from tests.lab import worlds


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return worlds.environment(tmp_path_factory.mktemp("small"), worlds.SMALL, "plan")


@pytest.fixture(scope="module")
def wanted(small: Environment) -> dict[str, Namespace]:
    return plan(small, active_routers(small))


def of(small: Environment, wanted: dict[str, Namespace], kind: DeviceKind, name: str) -> Namespace:
    return wanted[namespace_name(small, Device(kind, name))]


def test_every_cable_has_two_ends_that_agree(wanted: dict[str, Namespace]) -> None:
    ends = {
        (name, link.name): link.peer for name, space in wanted.items() for link in space.links.values() if link.peer
    }
    assert ends
    assert all(ends[peer] == end for end, peer in ends.items())


def test_every_port_belongs_to_a_bridge_of_its_namespace(wanted: dict[str, Namespace]) -> None:
    ports = [(space, link) for space in wanted.values() for link in space.links.values() if link.port is not None]
    assert all(space.links[link.port.bridge].peer is None for space, link in ports if link.port is not None)


def test_a_host_is_alone_with_its_gateway(small: Environment, wanted: dict[str, Namespace]) -> None:
    host = of(small, wanted, DeviceKind.HOST, "web-1")
    assert host.links["eth0"].addresses == {"10.10.1.2/32", "fd00:10:0:1::2/128"}
    assert {entry.address for entry in host.neighbours} == {"10.10.1.1", "fd00:10:0:1::1"}
    assert {(route.destination, route.via) for route in host.routes} == {
        ("0.0.0.0/0", "10.10.1.1"),
        ("::/0", "fd00:10:0:1::1"),
    }


def test_hosts_of_a_segment_are_isolated_and_routers_are_not(small: Environment, wanted: dict[str, Namespace]) -> None:
    switch = of(small, wanted, DeviceKind.SWITCH, "north/edge")
    isolated = {link.name for link in switch.links.values() if link.port is not None and link.port.isolated}
    assert isolated == {"web-1", "web-2"}
    assert not any(link.port.learning for link in switch.links.values() if link.port is not None)


def test_the_standby_router_holds_nothing_and_its_legs_are_down(
    small: Environment, wanted: dict[str, Namespace]
) -> None:
    standby = of(small, wanted, DeviceKind.ROUTER, "r2")
    assert not any(link.up or link.addresses for link in standby.links.values())
    assert not standby.neighbours
    active = of(small, wanted, DeviceKind.ROUTER, "r1")
    assert {link.name: link.mac for link in active.links.values()} == {
        link.name: link.mac for link in standby.links.values()
    }


def test_whichever_router_is_active_the_switch_sends_to_it(small: Environment) -> None:
    for router in ("r1", "r2"):
        switch = of(small, plan(small, {"north": router}), DeviceKind.SWITCH, "north/edge")
        ports = {entry.interface for entry in switch.forwarding}
        assert ports == {"web-1", "web-2", router}


def test_what_is_inside_never_leaves_by_a_provider(small: Environment, wanted: dict[str, Namespace]) -> None:
    for router in ("r1", "r2"):
        routes = of(small, wanted, DeviceKind.ROUTER, router).routes
        assert {route.destination for route in routes if not route.via} == {"10.10.0.0/16", "fd00:10::/32"}


def test_a_reply_leaves_by_the_provider_its_connection_came_in_by(
    small: Environment, wanted: dict[str, Namespace]
) -> None:
    router = of(small, wanted, DeviceKind.ROUTER, "r1")
    defaults = {(route.table, route.via) for route in router.routes if route.destination == "0.0.0.0/0"}
    tables = {rule.mark: rule.table for rule in router.rules if rule.version == 4 and rule.mark}
    assert defaults == {
        (MAIN_TABLE, "198.51.100.1"),
        (tables[1], "198.51.100.1"),
        (tables[2], "198.51.100.17"),
    }


def test_no_two_environments_share_a_namespace(tmp_path: Path) -> None:
    names: list[str] = []
    for name in ("a", "a-b"):
        found = load(worlds.write(tmp_path, worlds.SMALL, "", name))
        names += plan(found, active_routers(found))
    assert len(set(names)) == len(names)


def test_names_at_their_limits_fit(tmp_path: Path) -> None:
    found = load(worlds.write(tmp_path, worlds.LONG_NAMES, "", "e" * 63))
    wanted = plan(found, active_routers(found))
    assert all(len(name) <= 255 for name in wanted)
    assert all(len(link) <= 15 for space in wanted.values() for link in space.links)


def test_visitors_live_where_no_bogon_is(tmp_path: Path) -> None:
    plain = worlds.SMALL.replace(worlds.BOGONS, "").replace("198.51.100.", "9.1.1.").replace("2001:db8:a:", "2a00:a:")
    found = worlds.environment(tmp_path, plain, "plan")
    assert any(bogon.overlaps(ip_network("203.0.113.0/24")) for bogon in found.bogons if bogon.version == 4)
    for network in public_networks(found):
        assert not any(bogon.overlaps(network) for bogon in found.bogons if bogon.version == network.version)


def test_a_clash_of_names_is_refused(small: Environment) -> None:
    twin: dict[str, Host] = {**small.hosts, "r1": small.hosts["web-1"]}
    with pytest.raises(RingfortError, match="two devices are called"):
        plan(replace(small, hosts=twin), {"north": "r1"})
