"""Environments to compile: small ones from a file's text, arbitrary ones from values."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import ip_address, ip_network

from hypothesis import strategies as st

from ringfort.environment.load import load_text
from ringfort.environment.model import (
    Backbone,
    Environment,
    Flow,
    Host,
    PortRange,
    Protocol,
    Provider,
    PublishedService,
    Router,
    Segment,
    Service,
    Site,
    Tier,
    Tls,
)
from ringfort.environment.topology import Device, DeviceKind, mac_address
from ringfort.errors import Origin
from ringfort.network.nft import Json

HERE = Origin("environment.yaml", 1, 1)

SMALL = """
environment: small
trust-domain: small.example
internet: {bogons-except: [198.51.100.0/24, "2001:db8::/32"]}
sites:
  north:
    blocks: [10.10.0.0/16, "fd00:10::/32"]
    providers:
      alpha: {networks: [198.51.100.0/28, "2001:db8:a::/64"]}
      beta: {networks: [198.51.100.16/28]}
    routers: [r1, r2]
    segments:
      edge: {tier: edge, networks: [10.10.1.0/24, "fd00:10:0:1::/64"]}
      inner: {tier: front-end, networks: [10.10.2.0/24, "fd00:10:0:2::/64"]}
hosts:
  web: {site: north, segment: edge, services: [web, ping]}
  app: {site: north, segment: inner, count: 2, services: [app, calls]}
services:
  web: {protocol: tcp, ports: [443], tls: server}
  app: {protocol: tcp, ports: [8443], tls: mutual}
  calls: {protocol: udp, ports: ["16000-17000"], tls: none}
  ping: {protocol: icmp}
flows:
  - {from: internet, to: web, reason: visitors}
  - {from: internet, to: ping}
  - {from: web, to: app, reason: the shop}
  - {from: web, to: calls}
  - {from: app, to: ping, name: watch}
published:
  - {service: web, provider: north/alpha, address: 198.51.100.4, port: 80}
  - {service: web, provider: north/beta, address: 198.51.100.20, port: 443}
  - {service: web, provider: north/alpha, address: "2001:db8:a::4", port: 443}
  - {service: ping, provider: north/alpha, address: 198.51.100.4}
"""

NOBODY = """
environment: nobody
trust-domain: small.example
sites:
  north:
    blocks: [10.10.0.0/16]
    providers: {alpha: {networks: [9.9.9.0/28]}}
    routers: [r1]
    segments: {edge: {tier: edge, networks: [10.10.1.0/24]}}
"""

ONE_HOST = f"{NOBODY}hosts: {{alone: {{site: north, segment: edge}}}}\n"

IPV6_ONLY = """
environment: six
trust-domain: small.example
internet: {bogons-except: ["2001:db8::/32"]}
sites:
  north:
    blocks: ["fd00:10::/32"]
    providers: {alpha: {networks: ["2001:db8:a::/64"]}}
    routers: [r1, r2]
    segments:
      edge: {tier: edge, networks: ["fd00:10:0:1::/64"]}
      inner: {tier: front-end, networks: ["fd00:10:0:2::/64"]}
hosts:
  web: {site: north, segment: edge, services: [web, ping]}
  app: {site: north, segment: inner, services: [app]}
services:
  web: {protocol: tcp, ports: [443], tls: server}
  app: {protocol: tcp, ports: [8443], tls: mutual}
  ping: {protocol: icmp}
flows:
  - {from: internet, to: web}
  - {from: internet, to: ping}
  - {from: web, to: app}
  - {from: app, to: ping}
published:
  - {service: web, provider: north/alpha, address: "2001:db8:a::4", port: 443}
  - {service: ping, provider: north/alpha, address: "2001:db8:a::4"}
"""

GUESTS = """
environment: guests
trust-domain: small.example
sites:
  north:
    blocks: [10.10.0.0/16, "fd00:10::/32"]
    routers: [r1]
    segments:
      inner: {tier: front-end, networks: [10.10.1.0/24, "fd00:10:0:1::/64"]}
      guests: {tier: customer, networks: [10.10.2.0/24, "fd00:10:0:2::/64"]}
      metal: {tier: hypervisor, networks: [10.10.3.0/24, "fd00:10:0:3::/64"]}
hosts:
  web: {site: north, segment: inner, services: [web]}
  acme: {site: north, segment: guests, hypervisor: metal, customer: acme, services: [shop, ping]}
  globex: {site: north, segment: guests, hypervisor: metal, customer: globex, services: [shop]}
  metal: {site: north, segment: metal}
services:
  web: {protocol: tcp, ports: [443], tls: mutual}
  shop: {protocol: tcp, ports: [8080], tls: mutual}
  ping: {protocol: icmp}
flows:
  - {from: web, to: shop, reason: customers of the customers}
  - {from: web, to: ping}
  - {from: "customer:acme", to: web}
"""

EXAMPLES = {"small": SMALL, "nobody": NOBODY, "one-host": ONE_HOST, "ipv6-only": IPV6_ONLY, "guests": GUESTS}


def example(name: str) -> Environment:
    """One of `EXAMPLES`, loaded."""
    return load_text(EXAMPLES[name])


def router(name: str) -> Device:
    return Device(DeviceKind.ROUTER, name)


def switch(name: str) -> Device:
    return Device(DeviceKind.SWITCH, name)


def host(name: str) -> Device:
    return Device(DeviceKind.HOST, name)


def sandbox(name: str) -> Device:
    return Device(DeviceKind.SANDBOX, name)


def objects(document: Json, kind: str) -> dict[str, Json]:
    """Name -> body of every object of one kind."""
    return {body["name"]: body for entry in document["nftables"] for this, body in entry.items() if this == kind}


def rules(document: Json, chain: str) -> list[Json]:
    """The expressions of each rule of a chain."""
    every = [entry["rule"] for entry in document["nftables"] if "rule" in entry]
    return [rule["expr"] for rule in every if rule["chain"] == chain]


def keys(document: Json, name: str) -> list[tuple[Json, ...]]:
    """The keys of a set or map, comments left out; nothing when there is no such set."""
    body = objects(document, "set").get(name) or objects(document, "map").get(name) or {}
    found = []
    for element in body.get("elem", ()):
        key = element[0] if isinstance(element, list) else element
        key = key["elem"]["val"] if isinstance(key, dict) and "elem" in key else key
        found.append(tuple(key["concat"]) if isinstance(key, dict) and "concat" in key else (key,))
    return found


def world(
    hosts: Mapping[str, tuple[str, str, str, tuple[str, ...]]],
    services: Mapping[str, tuple[Protocol, tuple[tuple[int, int], ...]]],
    flows: Iterable[tuple[str, tuple[str, ...], str]],
    published: Iterable[tuple[str, int]] = (),
) -> Environment:
    """An environment from its parts, unchecked: two sites, two segments each, one provider each.

    Args:
        hosts: name -> site, segment, families ("4", "6" or "46"), services.
        services: name -> protocol, port ranges.
        flows: name, callers, service; no callers means the internet.
        published: service, index of the host among those that serve it.
    """
    sites = {name: _site(name) for name in ("north", "south")}
    machines = {}
    for number, (name, (site, segment, families, served)) in enumerate(hosts.items()):
        networks = _segment(site, segment).networks
        addresses = tuple(n.network_address + 2 + number for n in networks if str(n.version) in families)
        identity, mac = f"spiffe://w.example/node/{name}", mac_address("w", name)
        key = f"{site}/{segment}"
        machines[name] = Host(name, site, key, addresses, mac, identity, served, "", {}, name, HERE)
    offered = {
        name: Service(
            name,
            protocol,
            tuple(PortRange(*span) for span in spans),
            Tls.MUTUAL,
            f"spiffe://w.example/service/{name}",
            tuple(host for host, values in hosts.items() if name in values[3]),
            "",
            HERE,
        )
        for name, (protocol, spans) in services.items()
    }
    routers = {name: Router(name, site.name, name, HERE) for site in sites.values() for name in site.routers}
    segments = {f"{site}/{name}": _segment(site, name) for site in sites for name in ("one", "two")}
    return Environment(
        "w",
        "w.example",
        sites,
        {f"{site}/isp": _provider(site) for site in sites},
        routers,
        segments,
        machines,
        offered,
        {name: Flow(name, "source", not callers, callers, (), service, "", HERE) for name, callers, service in flows},
        tuple(entry for pair in published for entry in _published(offered[pair[0]], pair[1], machines)),
        Backbone((ip_network("10.255.0.0/24"), ip_network("fd00:ff::/64")), HERE),
        (ip_network("10.0.0.0/8"), ip_network("fc00::/7"), ip_network("127.0.0.0/8")),
    )


def _number(site: str) -> int:
    return 1 if site == "north" else 2


def _site(name: str) -> Site:
    number = _number(name)
    blocks = (ip_network(f"10.{number}.0.0/16"), ip_network(f"fd00:{number}::/32"))
    segments = (f"{name}/one", f"{name}/two")
    return Site(name, blocks, (f"{name}/isp",), (f"{name}-r1", f"{name}-r2"), segments, HERE)


def _segment(site: str, name: str) -> Segment:
    number, place = _number(site), 1 if name == "one" else 2
    networks = (ip_network(f"10.{number}.{place}.0/24"), ip_network(f"fd00:{number}:0:{place}::/64"))
    return Segment(name, site, Tier.EDGE, "main", networks, f"switch-{site}-{name}", HERE)


def _provider(site: str) -> Provider:
    number = _number(site)
    return Provider("isp", site, (ip_network(f"9.9.{number}.0/24"), ip_network(f"2001:9:{number}::/64")), HERE)


def _published(service: Service, index: int, hosts: Mapping[str, Host]) -> Iterable[PublishedService]:
    if not service.hosts:
        return
    name = service.hosts[index % len(service.hosts)]
    number, target = _number(hosts[name].site), service.ports[0].first if service.ports else 0
    for address in hosts[name].addresses:
        public = ip_address(f"9.9.{number}.9") if address.version == 4 else ip_address(f"2001:9:{number}::9")
        # One public port for each service, so that no two services claim the same place.
        port = 1000 + sum(service.name.encode()) if target else 0
        yield PublishedService(service.name, f"{hosts[name].site}/isp", public, port, name, target, HERE)


_PORTS = st.tuples(st.integers(1, 120), st.sampled_from([0, 0, 1, 15, 16, 40])).map(lambda p: (p[0], p[0] + p[1]))


@st.composite
def worlds(draw: st.DrawFn) -> Environment:
    """Small environments with overlapping flows, shared ports, wide ranges, hosts of one family, unused services."""
    service_names = draw(st.lists(st.sampled_from("abcd"), min_size=1, max_size=4, unique=True))
    services = {name: _draw_service(draw) for name in service_names}
    host_names = [f"h{number}" for number in range(draw(st.integers(0, 6)))]
    hosts = {
        name: (
            draw(st.sampled_from(["north", "south"])),
            draw(st.sampled_from(["one", "two"])),
            draw(st.sampled_from(["4", "6", "46", "46"])),
            tuple(draw(st.lists(st.sampled_from(service_names), max_size=3, unique=True))),
        )
        for name in host_names
    }
    flows = []
    for number in range(draw(st.integers(0, 6))):
        callers = draw(st.lists(st.sampled_from(host_names), min_size=1, unique=True)) if host_names else []
        flows.append((f"f{number}", tuple(callers), draw(st.sampled_from(service_names))))
    open_services = draw(st.lists(st.sampled_from(service_names), max_size=2, unique=True))
    flows += [(f"internet-{name}", (), name) for name in open_services]
    published = [(name, draw(st.integers(0, 5))) for name in open_services]
    return world(hosts, services, flows, published)


def _draw_service(draw: st.DrawFn) -> tuple[Protocol, tuple[tuple[int, int], ...]]:
    protocol = draw(st.sampled_from([Protocol.TCP, Protocol.TCP, Protocol.UDP, Protocol.ICMP]))
    if protocol is Protocol.ICMP:
        return protocol, ()
    return protocol, tuple(draw(st.lists(_PORTS, min_size=1, max_size=2)))


def shuffled(environment: Environment, seed: int) -> Environment:
    """The same environment, written in another order."""
    chance = random.Random(seed)

    def mix(mapping: Mapping[str, Json]) -> dict[str, Json]:
        names = list(mapping)
        chance.shuffle(names)
        return {name: mapping[name] for name in names}

    def mix_tuple(values: tuple[Json, ...]) -> tuple[Json, ...]:
        mixed = list(values)
        chance.shuffle(mixed)
        return tuple(mixed)

    return replace(
        environment,
        hosts={name: replace(h, services=mix_tuple(h.services)) for name, h in mix(environment.hosts).items()},
        services={name: replace(s, hosts=mix_tuple(s.hosts)) for name, s in mix(environment.services).items()},
        flows={name: replace(f, callers=mix_tuple(f.callers)) for name, f in mix(environment.flows).items()},
        published=mix_tuple(environment.published),
    )
