"""A site with clients on one segment and servers on another, as large as a measurement asks for."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from ringfort.environment.model import (
    ConnectionLimit,
    Environment,
    Flow,
    Host,
    PortRange,
    Protocol,
    Provider,
    Router,
    ScanDetection,
    Segment,
    Service,
    Site,
    Tier,
    Tls,
)
from ringfort.environment.topology import mac_address
from ringfort.errors import Origin

ORIGIN = Origin("synthetic", 1, 1)
NAME = "bench"
ROUTER = "bench-r1"
CLIENTS = "bench/clients"
SERVERS = "bench/servers"
DATAGRAM_PORT = 4000
STREAM_PORT = 5000
UNLIMITED = 1_000_000
"""Connections of one source: the generator is one machine that plays many, and the limit isn't what is measured."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One allowed communication, as a peer's rule would state it."""

    source: IPv4Address
    destination: IPv4Address
    protocol: str
    port: int


def environment(clients: int, servers: int) -> Environment:
    """Every client may call the datagram and the stream service of every server: 2 x clients x servers entries."""
    networks = {CLIENTS: IPv4Network("10.77.0.0/20"), SERVERS: IPv4Network("10.77.16.0/20")}
    tiers = {CLIENTS: Tier.FRONT_END, SERVERS: Tier.BACK_END}
    segments = {
        key: Segment(key.split("/")[1], NAME, tiers[key], "main", (network,), f"switch-{key}", ORIGIN)
        for key, network in networks.items()
    }
    hosts: dict[str, Host] = {}
    services: dict[str, Service] = {}
    flows: dict[str, Flow] = {}
    callers = tuple(f"client-{number}" for number in range(clients))
    for number, name in enumerate(callers):
        hosts[name] = _host(name, CLIENTS, networks[CLIENTS].network_address + 2 + number, ())
    for number in range(servers):
        name = f"server-{number}"
        offered = (f"datagrams-{number}", f"streams-{number}")
        hosts[name] = _host(name, SERVERS, networks[SERVERS].network_address + 2 + number, offered)
        for service, protocol, port in (
            (offered[0], Protocol.UDP, DATAGRAM_PORT),
            (offered[1], Protocol.TCP, STREAM_PORT),
        ):
            identity = f"spiffe://bench.example/service/{service}"
            ranges = (PortRange(port, port),)
            services[service] = Service(service, protocol, ranges, Tls.NONE, identity, (name,), "", ORIGIN)
            flow = f"clients-to-{service}"
            flows[flow] = Flow(flow, "segment:bench/clients", False, callers, (), service, "", ORIGIN)
    provider = Provider("uplink", NAME, (IPv4Network("198.51.100.0/28"),), ORIGIN)
    return Environment(
        name=NAME,
        trust_domain="bench.example",
        sites={NAME: Site(NAME, (IPv4Network("10.77.0.0/16"),), (provider.key,), (ROUTER,), tuple(segments), ORIGIN)},
        providers={provider.key: provider},
        routers={ROUTER: Router(ROUTER, NAME, ROUTER, ORIGIN)},
        segments=segments,
        hosts=hosts,
        services=services,
        flows=flows,
        published=(),
        backbone=None,
        bogons=(IPv4Network("10.0.0.0/8"), IPv4Network("127.0.0.0/8")),
        scan_detection=ScanDetection(),
        connection_limit=ConnectionLimit(UNLIMITED),
    )


def _host(name: str, segment: str, address: IPv4Address, services: tuple[str, ...]) -> Host:
    mac = mac_address(NAME, "host", name)
    identity = f"spiffe://bench.example/node/{name}"
    return Host(name, NAME, segment, (address,), mac, identity, services, "", {}, name, ORIGIN)


def entries(environment: Environment) -> list[Entry]:
    """The allowed communications of ``environment``, one by one."""
    found = []
    for flow in environment.flows.values():
        service = environment.services[flow.service]
        for caller in flow.callers:
            for host in service.hosts:
                source, destination = environment.hosts[caller].addresses[0], environment.hosts[host].addresses[0]
                assert isinstance(source, IPv4Address)
                assert isinstance(destination, IPv4Address)
                found.append(Entry(source, destination, service.protocol.value, service.ports[0].first))
    return found
