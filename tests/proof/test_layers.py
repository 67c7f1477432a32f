"""What the readers say of a device is what its rules do: boxes against packets followed one by one."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address

import pytest

from ringfort.environment.topology import Device, DeviceKind, devices
from ringfort.proof.addresses import address_of, key_of
from ringfort.proof.boxes import ECHO_REQUEST, protocol_and_port
from ringfort.proof.layers import Triple
from ringfort.proof.reading import Layers, read_layers
from ringfort.proof.trail import Follower, Stage, somebody, stages
from ringfort.proof.verdict import Decision, Packet
from tests.proof import shop
from tests.proof.shop import ACCEPT, Document, match, with_rule

CHANGES: dict[str, tuple[Device, str, list[Document]]] = {
    "as compiled": (shop.host("admin-s"), "", []),
    "a port opened on a host": (shop.host("db-n-1"), "input", [match("tcp", "dport", 22), ACCEPT]),
    "a network refused on a host": (
        shop.host("app-n-1"), "from-gateway",
        [match("ip", "saddr", {"prefix": {"addr": "10.20.0.0", "len": 16}}), {"drop": None}],
    ),
    "a range opened on a router": (
        shop.router("south-r1"), "forward",
        [
            match("ip", "daddr", {"range": ["10.20.4.1", "10.20.4.2"]}),
            match("udp", "dport", {"range": [50, 60]}),
            ACCEPT,
        ],
    ),
    "a leg opened on a router": (
        shop.router("north-r1"), "forward",
        [{"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "customers"}}, ACCEPT],
    ),
    "everything refused but one port on a router": (
        shop.router("north-r1"), "forward", [match("tcp", "dport", {"range": [1, 8442]}), {"drop": None}],
    ),
    "a protocol refused on a switch": (
        shop.switch("north/edge"), "forward", [match("ip", "protocol", "udp"), {"drop": None}],
    ),
}  # fmt: skip


def layers_of(name: str) -> tuple[Layers, Mapping[Device, Document]]:
    device, chain, rule = CHANGES[name]
    documents = with_rule(device, chain, *rule) if rule else shop.documents()
    environment = shop.environment()
    return read_layers(environment, devices(environment), documents), documents


def holds(triples: list[Triple], packet: Packet) -> bool:
    kind, port = packet.protocol, packet.port
    numbers = {"tcp": 6, "udp": 17, "icmp": 1, "icmpv6": 58}
    number = numbers[kind] << 16 | (port << 8 if kind.startswith("icmp") else port)
    source, destination = key_of(ip_address(packet.source)), key_of(ip_address(packet.destination))
    return any(a[0] <= source <= a[1] and b[0] <= destination <= b[1] and c[0] <= number <= c[1] for a, b, c in triples)


def provider_for(receiver: str, service: int) -> str:
    """The provider where a service is published, else the first of the receiver's site."""
    environment = shop.environment()
    _, port = protocol_and_port(service)
    site = environment.sites[environment.hosts[receiver].site]
    published = [one for one in environment.published if one.host == receiver and one.target_port in (0, port)]
    return published[0].provider if published else site.providers[0]


def packets(chance: random.Random, layers: Layers, count: int) -> list[Packet]:
    """Packets near what is accepted somewhere: a triple's corner, with one part changed at times."""
    environment = shop.environment()
    hosts = list(environment.hosts.values())
    triples = [t for layer in layers.hosts.values() for t in (*layer.incoming, *layer.outgoing)]
    triples += [t for layer in layers.routers.values() for t in layer.forwarded]
    found: list[Packet] = []
    while len(found) < count:
        source, destination, service = chance.choice(triples)
        version = address_of(source[0]).version
        here, there = chance.choice(source), chance.choice(destination)
        number = chance.choice(service)
        if chance.random() < 0.4:
            here = key_of(chance.choice([a for h in hosts for a in h.addresses if a.version == version]))
        if chance.random() < 0.3:
            there = key_of(chance.choice([a for h in hosts for a in h.addresses if a.version == version]))
        if chance.random() < 0.3:
            echo, kind = ECHO_REQUEST[version]
            number = chance.choice((6 << 16 | 22, 17 << 16 | 55, 6 << 16 | 8443, echo << 16 | kind << 8))
        protocol, port = protocol_and_port(number)
        holder = next((h for h in hosts if address_of(here) in h.addresses), None)
        receiver = next((h for h in hosts if address_of(there) in h.addresses), None)
        if receiver is None or holder is receiver or protocol not in ("tcp", "udp", "icmp", "icmpv6"):
            continue
        place = f"host:{holder.name}" if holder else f"internet:{provider_for(receiver.name, number)}"
        true = holder is not None or address_of(here) == somebody(environment, version)
        here = here if true else key_of(somebody(environment, version))
        found.append(Packet(place, str(address_of(here)), str(address_of(there)), protocol, port))
    return found


def as_published(packet: Packet) -> Packet:
    """From the internet a published service is called at its published address."""
    environment = shop.environment()
    wanted, kind = ip_address(packet.destination), packet.protocol.replace("icmpv6", "icmp")
    for one in environment.published:
        service = environment.services[one.service]
        same = wanted in environment.hosts[one.host].addresses and one.address.version == wanted.version
        same &= service.protocol == kind and one.target_port in (0, packet.port)
        if same and packet.place == f"internet:{one.provider}":
            return replace(packet, destination=str(one.address), port=one.port or packet.port)
    return packet


def says(layers: Layers, stage: Stage, packet: Packet, place: int) -> bool:
    """What the layer of a stage's device says of a packet."""
    name = stage.device.name
    if stage.device.kind is DeviceKind.ROUTER:
        return holds(layers.routers[name].forwarded, packet)
    if stage.device.kind in (DeviceKind.HOST, DeviceKind.SANDBOX):
        layer = layers.hosts[name]
        return holds(layer.outgoing if place == 0 else layer.incoming, packet)
    switch = layers.switches[name]
    environment = shop.environment()
    sender = next((h for h in environment.hosts.values() if ip_address(packet.source) in h.addresses), None)
    if place == 1 and sender is not None and packet.place.startswith("host:"):
        return holds(switch.sent.get(sender.name, []), packet)
    receiver = next(h for h in environment.hosts.values() if ip_address(packet.destination) in h.addresses)
    return holds(switch.delivered.get(receiver.name, []), packet)


@pytest.mark.parametrize("name", CHANGES)
def test_boxes_say_of_a_packet_what_the_rules_do_with_it(name: str) -> None:
    environment = shop.environment()
    layers, _ = layers_of(name)
    follower = Follower(environment, layers.rulesets, shop.checks())
    chance = random.Random(name)
    agreed = {True: 0, False: 0}
    for packet in packets(chance, layers, 25):
        receiver = next(h for h in environment.hosts.values() if ip_address(packet.destination) in h.addresses)
        routers = {site.name: chance.choice(site.routers) for site in environment.sites.values()}
        way = stages(environment, packet, receiver, routers)
        trail = follower.follow(as_published(packet), way, receiver, frozenset(), known=True)
        for place, (stage, hop) in enumerate(zip(way, trail.hops, strict=False)):
            accepts = hop.decision is not Decision.REFUSES
            assert says(layers, stage, packet, place) is accepts, (str(packet), stage.mechanism, hop)
            agreed[accepts] += 1
    assert min(agreed.values()) > 10, "both answers have to occur"


def test_rulesets_that_differ_in_elements_alone_share_their_execution() -> None:
    layers, _ = layers_of("as compiled")
    environment = shop.environment()
    alone = 4 * len(environment.hosts) + 4 * len(environment.segments)
    assert layers.executions < alone / 4


def test_a_changed_device_is_read_again_and_no_other() -> None:
    layers, _ = layers_of("as compiled")
    device = shop.host("db-n-1")
    document = with_rule(device, "input", match("tcp", "dport", 22), ACCEPT)[device]
    changed = layers.replaced(shop.environment(), {device: document})
    packet = Packet("host:web-n-1", "10.10.1.2", "10.10.4.2", "tcp", 22)
    assert holds(changed.hosts["db-n-1"].incoming, packet)
    assert not holds(layers.hosts["db-n-1"].incoming, packet)
    assert changed.hosts["db-n-2"] is layers.hosts["db-n-2"]
    assert not holds(changed.hosts["db-n-1"].incoming, replace(packet, port=23))
