"""What a sound declaration means: hosts, addresses, callers, identities, published ports."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringfort.environment.load import load, load_text
from ringfort.environment.model import Environment, PortRange
from ringfort.errors import DeclarationError
from tests.environment.declare import SOUND, sound

EXAMPLE = Path(__file__).parents[2] / "examples" / "shop"


def addresses(environment: Environment, host: str) -> list[str]:
    return [str(address) for address in environment.hosts[host].addresses]


def test_the_example_is_sound() -> None:
    environment = load(EXAMPLE)
    assert len(environment.sites) == 2
    assert len(environment.segments) == 14
    assert len(environment.hosts) >= 28


def test_hosts_are_numbered_and_placed() -> None:
    environment = load_text(SOUND)
    assert list(environment.hosts) == [
        "web-1", "web-2", "app", "orders-north-back", "orders-south-back", "db", "admin", "acme",
    ]  # fmt: skip
    assert environment.hosts["orders-south-back"].segment == "south/back"
    assert environment.hosts["orders-south-back"].site == "south"
    assert environment.hosts_by_segment["north/edge"] == ("web-1", "web-2")
    assert environment.hosts_by_segment["south/back"] == ("orders-south-back",)


def test_an_entry_in_several_segments_is_counted_in_each() -> None:
    environment = sound(
        ("orders: {segments: [north/back, south/back],", "orders: {segments: [north/back, south/back], count: 2,")
    )
    assert environment.services["orders"].hosts == (
        "orders-north-back-1", "orders-north-back-2", "orders-south-back-1", "orders-south-back-2",
    )  # fmt: skip


def test_addresses_follow_the_gateway() -> None:
    environment = load_text(SOUND)
    assert addresses(environment, "web-1") == ["10.1.1.2", "fd00:1:0:1::2"]
    assert addresses(environment, "web-2") == ["10.1.1.3", "fd00:1:0:1::3"]
    assert addresses(environment, "db") == ["10.1.4.10", "fd00:1:0:4::10"]


def test_written_addresses_are_skipped_by_the_hosts_after() -> None:
    environment = sound(
        ("  admin: {site: north,", "  x: {site: north, segment: admin, addresses: [10.1.5.2]}\n  admin: {site: north,")
    )
    assert addresses(environment, "x") == ["10.1.5.2"], "what is written is all it has"
    assert addresses(environment, "admin") == ["10.1.5.3", "fd00:1:0:5::2"]


def test_written_addresses_of_several_hosts_count_up() -> None:
    environment = sound(("  db: {site: north,", "  db: {site: north, count: 3,"))
    assert addresses(environment, "db-3") == ["10.1.4.12", "fd00:1:0:4::12"]


def test_callers_and_identities_follow_the_source() -> None:
    environment = load_text(SOUND)
    by_service = environment.flows["web-to-app"]
    assert by_service.callers == ("web-1", "web-2")
    assert by_service.identities == ("spiffe://test.example/service/web",)
    by_group = environment.flows["operate"]
    assert by_group.callers == ("admin",)
    assert by_group.identities == ("spiffe://test.example/node/admin",)
    assert environment.flows["internet-to-web"].internet
    assert environment.flows["internet-to-web"].callers == ()


@pytest.mark.parametrize(
    ("source", "callers"),
    [
        ("app", ("app",)),
        ("service:app", ("app",)),
        ("host:admin", ("admin",)),
        ("segment:north/admin", ("admin",)),
        ("customer:acme", ("acme",)),
        ("group:everyone", ("web-1", "web-2", "orders-south-back", "admin")),
        ("group:both", ("app", "admin")),
    ],
)
def test_every_kind_of_source(source: str, callers: tuple[str, ...]) -> None:
    environment = sound(
        ("groups:\n", "groups:\n  everyone: {hosts: [admin, orders-south-back, web]}\n"),
        ("groups:\n  everyone", "groups:\n  both: {hosts: [app], labels: {role: administrator}}\n  everyone"),
        ("  ping: {protocol: icmp}", "  ping: {protocol: icmp}\n  log: {protocol: tcp, ports: [6514], tls: mutual}"),
        ("  admin: {site", "  log: {site: north, segment: front, services: [log]}\n  admin: {site"),
        ("  - {from: web, to: app}", f"  - {{from: web, to: app}}\n  - {{from: {source}, to: log, name: logs}}"),
    )
    assert environment.flows["logs"].callers == callers


def test_a_group_needs_all_of_its_labels() -> None:
    environment = sound(
        ("labels: {role: app}", "labels: {role: app, size: big}"),
        ("segment: admin, labels: {role: administrator}", "segment: admin, labels: {role: administrator, size: big}"),
        ("admins: {labels: {role: administrator}}", "admins: {labels: {role: administrator, size: big}}"),
    )
    assert environment.flows["operate"].callers == ("admin",)


def test_default_ports_of_published_services() -> None:
    environment = sound(
        ("address: 198.51.100.4, port: 443, host: web-1", "address: 198.51.100.4, port: 8080, host: web-1"),
        ("published:\n", "published:\n  - {service: web, provider: north/alpha, address: 198.51.100.5, host: web-2}\n"),
    )
    assert [(item.port, item.target_port) for item in environment.published] == [(443, 443), (8080, 443), (0, 0)]


def test_the_host_of_a_published_service_may_be_left_out_when_there_is_one() -> None:
    environment = sound(
        ("web: {site: north, segment: edge, count: 2,", "web: {site: north, segment: edge,"),
        (", port: 443, host: web-1", ""),
        (", host: web-1", ""),
    )
    assert [item.host for item in environment.published] == ["web", "web"]


def test_ports_and_ranges() -> None:
    environment = sound(("ports: [5432]", 'ports: [5432, "6000-6010", "7000"]'))
    assert environment.services["database"].ports == (
        PortRange(5432, 5432),
        PortRange(6000, 6010),
        PortRange(7000, 7000),
    )


def test_bogons_are_the_special_networks_less_the_exceptions() -> None:
    environment = load_text(SOUND)
    assert ip_network("198.51.100.0/24") not in environment.bogons
    assert ip_network("203.0.113.0/24") in environment.bogons
    assert ip_network("10.0.0.0/8") in environment.bogons


def test_an_exception_cuts_a_hole_into_a_larger_network() -> None:
    environment = sound(("[198.51.100.0/24,", "[100.64.0.0/16, 198.51.100.0/24,"))
    assert not any(ip_address("100.64.9.9") in network for network in environment.bogons)
    assert any(ip_address("100.65.0.1") in network for network in environment.bogons)
    assert any(ip_address("100.127.255.255") in network for network in environment.bogons)


ALONE = """\
environment: alone
trust-domain: alone.example
sites:
  home:
    blocks: [{blocks}]
    routers: [{{name: r1, machine: blade}}]
    segments:
      edge: {{tier: edge, networks: [{networks}], machine: blade, cluster: a}}
"""


@pytest.mark.parametrize(
    ("blocks", "networks", "families"),
    [
        ("10.0.0.0/8", "10.1.0.0/24", [4]),
        ('"fd00::/16"', '"fd00:1::/64"', [6]),
        ('10.0.0.0/8, "fd00::/16"', '10.1.0.0/24, "fd00:1::/64"', [4, 6]),
    ],
)
def test_one_host_of_any_family(blocks: str, networks: str, families: list[int]) -> None:
    text = ALONE.format(blocks=blocks, networks=networks) + "hosts: {h: {site: home, segment: edge}}\n"
    environment = load_text(text)
    assert [address.version for address in environment.hosts["h"].addresses] == families
    assert environment.routers["r1"].machine == environment.segments["home/edge"].machine == "blade"


def test_no_host_at_all() -> None:
    text = ALONE.format(blocks="10.0.0.0/8", networks="10.1.0.0/24")
    assert load_text(text).hosts == {}
    assert load_text(text + "hosts:\nflows:\ngroups: {}\n").hosts == {}


def test_everything_has_its_longest_name() -> None:
    site, host = "s" * 63, "h" * 63
    text = ALONE.format(blocks="10.0.0.0/8", networks="10.1.0.0/24").replace("home", site)
    environment = load_text(text + f"hosts: {{{host}: {{site: {site}, segment: edge}}}}\n")
    assert environment.hosts[host].segment == f"{site}/edge"


def test_administration_may_operate_back_ends_of_any_application() -> None:
    environment = sound(
        ("  - {from: app, to: orders}", "  - {from: app, to: orders}\n  - {from: group:admins, to: orders}")
    )
    assert environment.flows["admins-to-orders"].callers == ("admin",)


def test_the_smallest_networks_have_one_host() -> None:
    text = ALONE.format(blocks='10.0.0.0/8, "fd00::/16"', networks='10.1.0.0/30, "fd00:1::/126"')
    environment = load_text(text + "hosts: {h: {site: home, segment: edge}}\n")
    assert addresses(environment, "h") == ["10.1.0.2", "fd00:1::2"]


# allocation

entries = st.lists(
    st.one_of(
        st.builds(lambda count: f"count: {count}", st.integers(1, 4)),
        st.just(""),
        st.builds(lambda n: f"addresses: [10.1.6.{n}]", st.integers(2, 40)),
        st.builds(lambda n: f'addresses: ["fd00:1:0:6::{n:x}"]', st.integers(2, 40)),
    ),
    max_size=8,
)


def guests(written: list[str]) -> Environment | None:
    """`SOUND` with hosts g0, g1 ... in an empty segment; None when it is refused."""
    lines = "".join(f"  g{n}: {{site: north, segment: guests, {keys}}}\n" for n, keys in enumerate(written))
    edit = ("  acme: {site: north, segment: guests, customer: acme}\n", lines)
    try:
        return sound(edit)
    except DeclarationError as error:
        codes = {problem.code for problem in error.problems}
    assert codes <= {"address-taken", "duplicate-address"}
    return None


@settings(deadline=None, max_examples=60)
@given(entries, st.integers(0, 8))
def test_a_host_that_is_added_renumbers_none_that_comes_earlier(written: list[str], kept: int) -> None:
    after, before = guests(written), guests(written[:kept])
    if after is not None:
        assert before is not None, "what is sound stays so without its last hosts"
        assert {name: host.addresses for name, host in before.hosts.items()} == {
            name: after.hosts[name].addresses for name in before.hosts
        }


@settings(deadline=None, max_examples=60)
@given(entries)
def test_no_address_is_given_twice_nor_the_gateways(written: list[str]) -> None:
    environment = guests(written)
    if environment is not None:
        given_out = [address for host in environment.hosts.values() for address in host.addresses]
        assert len(given_out) == len(set(given_out))
        for host in environment.hosts.values():
            networks = environment.segments[host.segment].networks
            for address in host.addresses:
                network = next(network for network in networks if address in network)
                assert address not in (network[0], network[1], *([network[-1]] if network.version == 4 else []))


def test_a_later_address_never_takes_the_place_of_an_earlier_host() -> None:
    assert guests(["count: 3", "addresses: [10.1.6.3]"]) is None
    environment = guests(["addresses: [10.1.6.3]", "count: 3"])
    assert environment is not None
    assert [addresses(environment, name)[0] for name in ("g0", "g1-1", "g1-2", "g1-3")] == [
        "10.1.6.3", "10.1.6.2", "10.1.6.4", "10.1.6.5",
    ]  # fmt: skip
