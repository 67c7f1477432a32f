"""Small random environments with random layers, for comparing the engine with `tests.proof.oracle`."""

from __future__ import annotations

import random
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address

from ringfort.environment.model import (
    Address,
    Backbone,
    Environment,
    Host,
    PortRange,
    Protocol,
    Router,
    Segment,
    Service,
    Site,
    Tier,
    Tls,
)
from ringfort.environment.special import SPECIAL
from ringfort.errors import Origin
from ringfort.proof.addresses import END, IPV6_BASE, key_of, key_range
from ringfort.proof.boxes import ALL_SERVICES, Layer, RawBoxes, service_ranges
from ringfort.proof.engine import Facts
from ringfort.proof.sweep import MUTUAL, PUBLIC
from tests.proof.oracle import Triple, World

HERE = Origin("world", 1, 1)
PORTS = (80, 443, 8443)
SERVICES = tuple(service_ranges(Protocol.TCP, (PortRange(p, p),), 4)[0][0] for p in (*PORTS, 9999))
UNUSED_SERVICE = 6 << 16 | 1
OUTSIDE: tuple[Address, ...] = tuple(ip_address(a) for a in ("8.8.8.8", "9.9.9.9", "2620::8", "2621::9"))
BOGONS: tuple[Address, ...] = (ip_address("192.168.1.1"), ip_address("fe80::1"))


@dataclass(frozen=True)
class Case:
    """A world for the oracle, and the same world as the engine takes it."""

    world: World
    raw: RawBoxes
    facts: Facts


def environment(chance: random.Random, *, shared: bool) -> Environment:
    """One or two sites, one or two segments each, a few hosts; machines may be shared among hosts, or with anything."""
    sites, segments, hosts, routers = {}, {}, {}, {}
    for number in range(chance.choice((1, 2))):
        name = f"s{number}"
        keys = tuple(f"{name}/g{i}" for i in range(chance.choice((1, 2))))
        own = tuple(f"{name}-r{i}" for i in range(chance.choice((1, 2))))
        block = IPv4Network(f"10.{number}.0.0/16"), IPv6Network(f"fd00:{number}::/32")
        sites[name] = Site(name, block, (), own, keys, HERE)
        for router in own:
            routers[router] = Router(router, name, chance.choice((router, f"{name}-routers")), HERE)
        for i, key in enumerate(keys):
            networks = IPv4Network(f"10.{number}.{i}.0/24"), IPv6Network(f"fd00:{number}:0:{i}::/64")
            machine = routers[own[0]].machine if shared and chance.random() < 0.2 else f"switch-{key}"
            segments[key] = Segment(f"g{i}", name, Tier.DATA, "main", networks, machine, HERE)
            for j in range(chance.choice((1, 2, 3))):
                host = f"{name}g{i}h{j}"
                machine = _machine(chance, host, [*segments.values()], [*routers.values()], shared=shared)
                kept = networks[: chance.choice((1, 1, 2))]
                addresses = tuple(network.network_address + 2 + j for network in kept)
                hypervisor = "metal" if machine == "blade" and chance.random() < 0.6 else ""
                hosts[host] = Host(
                    host, name, key, addresses, f"02::{j}", host, (), "", {}, machine, HERE, hypervisor=hypervisor
                )
    services = {
        f"p{port}": Service(f"p{port}", Protocol.TCP, (PortRange(port, port),), Tls.NONE, f"p{port}", (), "", HERE)
        for port in PORTS
    }
    backbone = Backbone((IPv4Network("10.255.0.0/24"),), HERE) if len(sites) > 1 else None
    return Environment("world", "w", sites, {}, routers, segments, hosts, services, {}, (), backbone, SPECIAL)


def _machine(chance: random.Random, host: str, segments: list[Segment], routers: list[Router], *, shared: bool) -> str:
    if shared and chance.random() < 0.2:
        return chance.choice([*(s.machine for s in segments), *(r.machine for r in routers)])
    return chance.choice((host, host, "blade", "blade"))


def case(seed: int, *, shared: bool = False) -> Case:
    """A random world. Layers mostly agree, so that single disagreements decide."""
    chance = random.Random(seed)
    made = environment(chance, shared=shared)
    hosts = list(made.hosts.values())
    mutual = {h.name: {s for s in SERVICES if chance.random() < 0.6} for h in hosts}
    public = {h.name: {s for s in SERVICES if chance.random() < 0.1} for h in hosts}
    flows = {
        (a, b, service)
        for x in hosts
        for d in hosts
        if x is not d
        for service in SERVICES
        if chance.random() < 0.3
        for a in x.addresses
        for b in d.addresses
        if a.version == b.version
    }
    boxes: dict[tuple[Layer, str], list[tuple[tuple[int, int], tuple[int, int], tuple[int, int]]]] = {}
    layers = [(Layer.ROUTER, name) for name in made.routers]
    layers += [(layer, h.name) for h in hosts for layer in (Layer.HOST_IN, Layer.HOST_OUT, Layer.IDENTITY)]
    for layer in layers:
        wanted = [_point(flow) for flow in sorted(flows, key=str) if chance.random() < 0.96]
        if layer[0] is not Layer.IDENTITY:
            wanted += [_random_box(chance, made) for _ in range(chance.choice((0, 0, 0, 1, 2)))]
        boxes[layer] = wanted
    return _assemble(made, boxes, flows, mutual, public)


Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


def _point(flow: Triple) -> Box:
    source, destination, service = flow
    return (key_of(source),) * 2, (key_of(destination),) * 2, (service, service)


def _random_box(chance: random.Random, made: Environment) -> Box:
    services = ALL_SERVICES if chance.random() < 0.3 else (chance.choice(SERVICES),) * 2
    version = chance.choice((4, 6))
    return _span(chance, made, version), _span(chance, made, version), services


def _span(chance: random.Random, made: Environment, version: int) -> tuple[int, int]:
    """A family, a block, a segment, some hosts of one, one address."""
    family = (0, IPV6_BASE - 1) if version == 4 else (IPV6_BASE, END - 1)
    networks = [n for site in made.sites.values() for n in site.blocks]
    networks += [n for segment in made.segments.values() for n in segment.networks]
    ranges = [family, family, *(key_range(n) for n in networks if n.version == version)]
    ranges += [(key_of(a), key_of(a)) for a in (*OUTSIDE, *BOGONS) if a.version == version]
    for segment in made.segments.values():
        keys = [key_of(a) for h in made.hosts.values() if h.segment == segment.key for a in h.addresses]
        keys = sorted(key for key in keys if family[0] <= key <= family[1])
        if keys:
            ranges += [(keys[0], keys[-1]), (keys[0], keys[0]), (keys[-1], keys[-1])]
    return chance.choice(ranges)


def _elsewhere(made: Environment) -> tuple[Address, ...]:
    """One source of each kind that is nobody's: unused in a segment, in a block beside the segments, a bogon."""
    unused = [n.network_address + 77 for s in made.segments.values() for n in s.networks]
    beside = [site.blocks[0].broadcast_address - 1 for site in made.sites.values()]
    beside += [site.blocks[1].broadcast_address for site in made.sites.values()]
    return (*unused, *beside, *BOGONS)


def _assemble(
    made: Environment,
    boxes: dict[tuple[Layer, str], list[Box]],
    flows: set[Triple],
    mutual: dict[str, set[int]],
    public: dict[str, set[int]],
) -> Case:
    def accepts(layer: Layer, name: str, packet: Triple) -> bool:
        source, destination, service = key_of(packet[0]), key_of(packet[1]), packet[2]
        return any(
            a[0] <= source <= a[1] and b[0] <= destination <= b[1] and c[0] <= service <= c[1]
            for a, b, c in boxes[layer, name]
        )

    world = World(
        made,
        router=lambda name, packet: accepts(Layer.ROUTER, name, packet),
        host_in=lambda name, packet: accepts(Layer.HOST_IN, name, packet),
        host_out=lambda name, packet: accepts(Layer.HOST_OUT, name, packet),
        mutual=lambda name, service: service in mutual[name],
        identity=lambda name, packet: accepts(Layer.IDENTITY, name, packet),
        public=lambda name, service: service in public[name],
        declared=lambda packet: packet in flows,
        services=(*SERVICES, UNUSED_SERVICE),
        outside=OUTSIDE,
        elsewhere=_elsewhere(made),
    )
    services = {
        name: [*((s, s, MUTUAL) for s in sorted(mutual[name])), *((s, s, PUBLIC) for s in sorted(public[name]))]
        for name in made.hosts
    }
    facts = Facts(services, {site.name: site.routers for site in made.sites.values()})
    return Case(world, _raw(made, boxes, flows), facts)


def _raw(made: Environment, boxes: dict[tuple[Layer, str], list[Box]], flows: set[Triple]) -> RawBoxes:
    raw = RawBoxes()
    routers = list(made.routers)
    for (layer, name), own in boxes.items():
        for source, destination, service in own:
            if layer is Layer.ROUTER:
                raw.add(layer, source, destination, service, routers.index(name))
                continue
            for address in made.hosts[name].addresses:  # a host's layer speaks of the host alone
                at = key_of(address)
                ends = (destination, source) if layer is Layer.HOST_OUT else (source, destination)
                if ends[1][0] <= at <= ends[1][1]:
                    pinned = ((at, at), destination) if layer is Layer.HOST_OUT else (source, (at, at))
                    raw.add(layer, *pinned, service, -1)
    for flow in sorted(flows, key=str):
        raw.add(Layer.DECLARED, *_point(flow), -1)
    return raw
