"""Names and addresses on the wire."""

from __future__ import annotations

import dataclasses
from ipaddress import ip_interface

from hypothesis import given
from hypothesis import strategies as st

from ringfort.environment.load import load_text
from ringfort.environment.topology import (
    INTERFACE_NAME_LIMIT,
    RESERVED_INTERFACES,
    Device,
    DeviceKind,
    backbone_addresses,
    devices,
    gateway_addresses,
    gateway_mac,
    interface_name,
    internal_networks,
    legs,
    mac_address,
    ports,
)
from tests.environment.declare import SOUND

ENVIRONMENT = load_text(SOUND)

names = st.from_regex(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)


@given(names)
def test_every_name_makes_an_interface_that_linux_takes(name: str) -> None:
    interface = interface_name(name)
    assert 0 < len(interface) <= INTERFACE_NAME_LIMIT
    assert interface not in RESERVED_INTERFACES
    assert interface == name or (len(interface) == INTERFACE_NAME_LIMIT or name[:6].endswith("-") or len(name) < 6)


def test_hosts_with_one_beginning_do_not_meet() -> None:
    """Ten thousand hosts of a segment whose names begin alike have interfaces of their own."""
    assert len({interface_name(f"a-segment-with-a-long-name-{n}") for n in range(10_000)}) == 10_000


@given(st.lists(names, min_size=1, max_size=3))
def test_derived_mac_addresses_are_local_and_of_one_machine(words: list[str]) -> None:
    first = int(mac_address(*words)[:2], 16)
    assert first & 0b11 == 0b10
    assert mac_address(*words) == mac_address(*words)


def test_words_of_a_mac_address_do_not_run_into_each_other() -> None:
    assert mac_address("ab", "c") != mac_address("a", "bc")


def test_legs_of_a_site() -> None:
    found = {leg.interface: leg for leg in legs(ENVIRONMENT, "north")}
    assert list(found) == ["edge", "front", "back", "data", "admin", "guests", "alpha", "backbone"]
    assert found["edge"].addresses == (ip_interface("10.1.1.1/24"), ip_interface("fd00:1:0:1::1/64"))
    assert found["edge"].mac == gateway_mac(ENVIRONMENT, "north/edge")
    assert found["alpha"].addresses == (ip_interface("198.51.100.2/28"), ip_interface("2001:db8:a::2/64"))
    assert found["backbone"].addresses == (ip_interface("10.255.0.1/24"), ip_interface("fd00:ff::1/64"))
    assert [str(address) for address in backbone_addresses(ENVIRONMENT, "south")] == ["10.255.0.2", "fd00:ff::2"]


def test_without_a_backbone_there_is_no_leg_to_it() -> None:
    alone = dataclasses.replace(ENVIRONMENT, backbone=None)
    assert backbone_addresses(alone, "north") == ()
    assert "backbone" not in [leg.interface for leg in legs(alone, "north")]


def test_ports_of_a_switch_are_the_routers_then_the_hosts() -> None:
    found = [(port.interface, port.router, port.host) for port in ports(ENVIRONMENT, "north/edge")]
    assert found == [
        ("north-r1", "north-r1", ""),
        ("north-r2", "north-r2", ""),
        ("web-1", "", "web-1"),
        ("web-2", "", "web-2"),
    ]
    assert [port.interface for port in ports(ENVIRONMENT, "south/back")] == [
        "south-r1",
        interface_name("orders-south-back"),
    ]


def test_hosts_by_segment_follows_the_hosts() -> None:
    fewer = dataclasses.replace(ENVIRONMENT, hosts={"app": ENVIRONMENT.hosts["app"]})
    assert fewer.hosts_by_segment["north/front"] == ("app",)
    assert fewer.hosts_by_segment["north/edge"] == ()


def test_devices_and_inside() -> None:
    found = devices(ENVIRONMENT)
    assert found[0] == Device(DeviceKind.ROUTER, "north-r1")
    assert str(Device(DeviceKind.SWITCH, "north/edge")) == "switch:north/edge"
    assert len(found) == 3 + 7 + 8
    assert [str(network) for network in internal_networks(ENVIRONMENT)] == [
        "10.1.0.0/16", "fd00:1::/32", "10.2.0.0/16", "fd00:2::/32", "10.255.0.0/24", "fd00:ff::/64",
    ]  # fmt: skip
    assert [str(address) for address in gateway_addresses(ENVIRONMENT, "south/back")] == ["10.2.3.1", "fd00:2:0:3::1"]
