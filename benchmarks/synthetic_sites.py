"""Environments of many sites, as large as a measurement asks for: every value as the loader would make it."""

from __future__ import annotations

import random
from ipaddress import IPv4Network, IPv6Network, ip_network

from ringfort.environment.model import (
    Backbone,
    Environment,
    Flow,
    Host,
    PortRange,
    Protocol,
    Provider,
    Router,
    Segment,
    Service,
    Site,
    Tier,
    Tls,
)
from ringfort.environment.special import SPECIAL
from ringfort.environment.topology import mac_address
from ringfort.errors import Origin

ORIGIN = Origin("synthetic", 1, 1)
SEGMENTS_OF_A_SITE = 100
HOSTS_OF_A_SEGMENT = 10
SERVERS_OF_A_SERVICE = 3
FLOWS_OF_A_SEGMENT = 5
FIRST_SITE = int(ip_network("10.0.0.0/8").network_address)


def environment(hosts: int, seed: int = 1) -> Environment:
    """``hosts`` hosts, ten to a segment, with IPv4 and IPv6; each segment serves three services and calls five flows.

    One or two hosts of a segment call the three servers of a service somewhere in the environment, two in three of
    them at the same site: about ten allow entries for each host (see `environment_scale`). All services are mutual.
    """
    chance = random.Random(seed)
    count = -(-hosts // HOSTS_OF_A_SEGMENT)
    sites = {f"s{number}": _site(number, count) for number in range(-(-count // SEGMENTS_OF_A_SITE))}
    segments = {key: _segment(key) for site in sites.values() for key in site.segments}
    machines = {name: host for key in segments for name, host in _hosts(segments[key])}
    services = {service.name: service for key in segments for service in _services(key)}
    routers = {name: Router(name, site.name, name, ORIGIN) for site in sites.values() for name in site.routers}
    providers = {key: _provider(key) for site in sites.values() for key in site.providers}
    backbone = (ip_network("172.20.0.0/16"), ip_network("fd01::/64"))
    return Environment(
        name="scale",
        trust_domain="scale.example",
        sites=sites,
        providers=providers,
        routers=routers,
        segments=segments,
        hosts=machines,
        services=services,
        flows={flow.name: flow for flow in _flows(list(segments), services, chance)},
        published=(),
        backbone=Backbone(backbone, ORIGIN) if len(sites) > 1 else None,
        bogons=SPECIAL,
    )


def _site(number: int, segments: int) -> Site:
    first = number * SEGMENTS_OF_A_SITE
    keys = tuple(f"s{number}/g{i}" for i in range(first, min(first + SEGMENTS_OF_A_SITE, segments)))
    name = f"s{number}"
    block = IPv4Network((FIRST_SITE + (number << 16), 16))
    block6 = IPv6Network(((0xFD00 << 112) + (number << 80), 48))
    return Site(name, (block, block6), (f"{name}/p",), (f"{name}-r1", f"{name}-r2"), keys, ORIGIN)


def _networks(key: str) -> tuple[IPv4Network, IPv6Network]:
    site, name = key.split("/")
    number, place = int(site[1:]), int(name[1:]) % SEGMENTS_OF_A_SITE
    v4 = IPv4Network((FIRST_SITE + (number << 16) + (place << 8), 24))
    return v4, IPv6Network(((0xFD00 << 112) + (number << 80) + (place << 64), 64))


def _segment(key: str) -> Segment:
    site, name = key.split("/")
    return Segment(name, site, Tier.BACK_END, "main", _networks(key), f"switch-{name}", ORIGIN)


def _hosts(segment: Segment) -> list[tuple[str, Host]]:
    hosts = []
    for i in range(HOSTS_OF_A_SEGMENT):
        name = f"{segment.name}-h{i}"
        addresses = tuple(network.network_address + 2 + i for network in segment.networks)
        served = (f"{segment.name}-v{i // SERVERS_OF_A_SERVICE}",) if i < 3 * SERVERS_OF_A_SERVICE else ()
        identity = f"spiffe://scale.example/node/{name}"
        mac = mac_address("scale", name)
        host = Host(name, segment.site, segment.key, addresses, mac, identity, served, "", {}, name, ORIGIN)
        hosts.append((name, host))
    return hosts


def _services(key: str) -> list[Service]:
    name = key.split("/")[1]
    services = []
    for number in range(3):
        first = number * SERVERS_OF_A_SERVICE
        served = tuple(f"{name}-h{i}" for i in range(first, first + SERVERS_OF_A_SERVICE))
        ports = (PortRange(8000 + number, 8000 + number),)
        identity = f"spiffe://scale.example/service/{name}-v{number}"
        services.append(Service(f"{name}-v{number}", Protocol.TCP, ports, Tls.MUTUAL, identity, served, "", ORIGIN))
    return services


def _flows(segments: list[str], services: dict[str, Service], chance: random.Random) -> list[Flow]:
    flows = []
    for here, key in enumerate(segments):
        name = key.split("/")[1]
        first = here - here % SEGMENTS_OF_A_SITE
        near = segments[first : first + SEGMENTS_OF_A_SITE]
        for number in range(FLOWS_OF_A_SEGMENT):
            there = chance.choice(near if chance.random() < 2 / 3 else segments).split("/")[1]
            callers = [f"{name}-h{i}" for i in chance.sample(range(HOSTS_OF_A_SEGMENT), chance.choice((1, 1, 1, 2)))]
            service = services[f"{there}-v{chance.randrange(3)}"]
            callers = [caller for caller in callers if caller not in service.hosts]
            identities = tuple(f"spiffe://scale.example/node/{caller}" for caller in callers)
            label = f"{name}-f{number}"
            flows.append(Flow(label, f"group:{label}", False, tuple(callers), identities, service.name, "", ORIGIN))
    return flows


def _provider(key: str) -> Provider:
    number = int(key.split("/", maxsplit=1)[0][1:])
    network = IPv4Network((int(ip_network("9.0.0.0/8").network_address) + (number << 8), 24))
    return Provider("p", key.split("/", maxsplit=1)[0], (network,), ORIGIN)
