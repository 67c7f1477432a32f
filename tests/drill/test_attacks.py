"""The attacks cover what an attacker has, and nothing that is declared."""

from __future__ import annotations

from collections import Counter

import pytest

from ringfort.drill.attacks import BOGONS, OUTSIDE, OUTSIDERS, SENTENCES, Attack, Attacks, Probe
from ringfort.drill.declaration import Declaration, PlaceKind, Standing
from ringfort.drill.frames import Kind
from ringfort.drill.targets import MOST_AIMS, aims
from ringfort.environment import topology
from ringfort.environment.model import Protocol
from tests.drill import worlds
from tests.report import samples

SHOP = worlds.shop()
HOSTS = tuple(SHOP.hosts)
ATTACKS = Attacks(SHOP)
FROM_HOSTS = {name: list(ATTACKS.from_host(name, HOSTS)) for name in HOSTS}
FROM_INTERNET = list(ATTACKS.from_internet(HOSTS))
FROM_ROUTERS = {name: list(ATTACKS.from_router(name, HOSTS)) for name in SHOP.routers}
AT_ROUTERS = list(ATTACKS.at_routers())
AT_METADATA = list(ATTACKS.at_metadata())
EVERY = [
    *FROM_INTERNET,
    *AT_ROUTERS,
    *AT_METADATA,
    *(p for ps in (*FROM_HOSTS.values(), *FROM_ROUTERS.values()) for p in ps),
]


def own(name: str) -> tuple[object, ...]:
    return SHOP.hosts[name].addresses


def test_no_probe_is_declared() -> None:
    says = Declaration(SHOP)
    names = {Kind.TCP: Protocol.TCP, Kind.UDP: Protocol.UDP, Kind.ICMP: Protocol.ICMP}
    openings = [probe for probe in EVERY if probe.kind in names]
    for probe in openings:
        found = says.standing(probe.place, probe.source, probe.destination, names[probe.kind], probe.port)
        assert found is Standing.UNDECLARED, str(probe)
    assert len(openings) > 20_000


def test_every_attack_is_tried_and_has_a_sentence() -> None:
    fired = {probe.attack for probe in EVERY} | {Attack.ROUTER_HANDSHAKE, Attack.STOLEN_KEYS, Attack.WITNESS}
    assert fired == set(Attack) == set(SENTENCES)


@pytest.mark.parametrize("name", ["web-n-1", "admin-s", "acme-n-1"])
def test_every_host_tries_every_other_host_in_both_families_and_all_protocols(name: str) -> None:
    tried = {(p.target, p.source.version, p.kind) for p in FROM_HOSTS[name] if p.attack is Attack.HOST_UNDECLARED}
    kinds = (Kind.TCP, Kind.UDP, Kind.ICMP, Kind.OTHER)
    assert tried == {(host, version, kind) for host in HOSTS if host != name for version in (4, 6) for kind in kinds}


@pytest.mark.parametrize("name", ["web-n-1", "globex-s"])
def test_every_service_is_tried_by_every_host_that_may_not_call_it(name: str) -> None:
    tried = {(probe.target, probe.port) for probe in FROM_HOSTS[name] if probe.attack is Attack.HOST_UNDECLARED}
    says = Declaration(SHOP)
    for service in SHOP.services.values():
        for receiver in service.hosts:
            if receiver == name or service.protocol is not Protocol.TCP or name in says.callers_of(service.name):
                continue
            assert all({(receiver, ports.first), (receiver, ports.last)} <= tried for ports in service.ports)


def test_a_host_borrows_addresses_that_the_service_would_accept_and_its_neighbours_first_of_all() -> None:
    borrowed = [p for p in FROM_HOSTS["web-n-2"] if p.attack is Attack.HOST_BORROWED_MAC]
    assert {(p.source, p.source_mac) for p in borrowed if p.target == "app-n-1" and p.source.version == 4} >= {
        (SHOP.hosts["web-n-1"].addresses[0], SHOP.hosts["web-n-1"].mac)
    }
    says = Declaration(SHOP)
    holders = {address: host.name for host in SHOP.hosts.values() for address in host.addresses}
    for probe in borrowed:
        services = [SHOP.services[name] for name in SHOP.hosts[probe.target].services]
        callers = {caller for service in services for caller in says.callers_of(service.name)}
        assert holders[probe.source] in callers
        assert probe.source not in own("web-n-2")


def test_frames_to_neighbours_pass_the_router_by() -> None:
    for name, probes in FROM_HOSTS.items():
        gateway = topology.gateway_mac(SHOP, SHOP.hosts[name].segment)
        for probe in probes:
            direct = probe.attack in (Attack.HOST_NEIGHBOUR, Attack.HOST_AS_GATEWAY)
            assert probe.destination_mac == (SHOP.hosts[probe.target].mac if direct else gateway)
            if probe.attack is Attack.HOST_AS_GATEWAY:
                assert probe.source_mac == gateway
            elif probe.attack is not Attack.HOST_BORROWED_MAC:
                assert probe.source_mac == SHOP.hosts[name].mac


def test_strangers_enter_by_every_provider_with_true_false_and_impossible_sources() -> None:
    for key in SHOP.providers:
        found = Counter(p.attack for p in FROM_INTERNET if p.place.name == key)
        assert set(found) == {
            Attack.INTERNET_CLOSED, Attack.INTERNET_INSIDE, Attack.INTERNET_AS_INSIDE, Attack.INTERNET_BOGON,
            Attack.FRAGMENTS,
        }  # fmt: skip
    says = Declaration(SHOP)
    for probe in FROM_INTERNET:
        inside, bogon = says.is_inside(probe.source), says.is_bogon(probe.source)
        assert inside == (probe.attack is Attack.INTERNET_AS_INSIDE)
        assert (bogon and not inside) == (probe.attack is Attack.INTERNET_BOGON)
        assert probe.attack is not Attack.INTERNET_BOGON or probe.source in BOGONS


def test_the_strangers_own_addresses_could_all_be_true() -> None:
    says = Declaration(SHOP)
    for first in OUTSIDE.values():
        for address in (first, first + OUTSIDERS - 1):
            assert not says.is_inside(address)
            assert not says.is_bogon(address)


@pytest.mark.parametrize("name", list(SHOP.routers))
def test_a_router_taken_over_reaches_its_own_hosts_and_over_the_backbone_the_others(name: str) -> None:
    site = SHOP.routers[name].site
    assert {probe.target for probe in FROM_ROUTERS[name]} == set(HOSTS)
    for probe in FROM_ROUTERS[name]:
        target = SHOP.hosts[probe.target]
        expected = target.mac if target.site == site else topology.backbone_mac(SHOP, target.site)
        assert probe.destination_mac == expected
        assert (probe.interface == topology.BACKBONE) == (target.site != site)


def test_routers_are_tried_at_every_address_they_have_towards_hosts_and_providers() -> None:
    legs = [leg for site in SHOP.sites for leg in topology.legs(SHOP, site) if leg.kind != "backbone"]
    assert {probe.destination for probe in AT_ROUTERS} == {interface.ip for leg in legs for interface in leg.addresses}


def test_every_guest_asks_for_metadata_in_both_families() -> None:
    guests = {host.name for host in SHOP.hosts.values() if host.hypervisor}
    assert {(probe.place.name, probe.source.version) for probe in AT_METADATA} == {
        (g, v) for g in guests for v in (4, 6)
    }


def test_an_environment_without_internet_or_hosts_has_no_attacks_but_is_no_error() -> None:
    from ringfort.environment.load import load_text
    from tests.lab.worlds import NO_HOST

    bare = Attacks(load_text(f"environment: bare\n{NO_HOST}"))
    assert list(bare.from_internet(())) == list(bare.at_routers()) == list(bare.from_router("r1", ())) == []


def test_in_a_large_environment_every_host_still_attacks_and_is_attacked_from_inside_and_outside_its_segment() -> None:
    large = samples.large(segments=10, hosts=30)
    aimed = {name: aims(large, name) for name in large.hosts}
    segment = {name: host.segment for name, host in large.hosts.items()}
    for name, targets in aimed.items():
        assert name not in targets
        assert {other for other in segment if segment[other] == segment[name]} - {name} <= set(targets)
        assert len(targets) <= 2 * MOST_AIMS
    outside = {target for name, targets in aimed.items() for target in targets if segment[target] != segment[name]}
    assert outside == set(large.hosts)


def test_in_a_small_environment_every_host_attacks_every_other() -> None:
    assert all(set(aims(SHOP, name)) == set(HOSTS) - {name} for name in HOSTS)


def test_a_probe_says_what_it_is() -> None:
    probe: Probe = next(p for p in FROM_HOSTS["web-n-1"] if p.kind is Kind.TCP and p.attack is Attack.HOST_UNDECLARED)
    assert str(probe) == f"{probe.source} -> {probe.destination} tcp/{probe.port} sent from host:web-n-1"
    assert probe.place.kind is PlaceKind.HOST
