"""What the lab builds for an environment: every namespace with its links, addresses, routes and neighbours. Pure.

The same shapes describe what is observed (`ringfort.lab.netlink`), so a second ``up`` is the difference of two values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from ringfort.environment import topology
from ringfort.environment.floating import expanded, held_by, interface_of, signs_of
from ringfort.environment.model import Environment, Host
from ringfort.environment.topology import Device, DeviceKind, Leg
from ringfort.errors import RingfortError
from ringfort.lab import sysctls
from ringfort.lab.internet import guest, guest_addresses, internet, provider_port, public_networks
from ringfort.lab.shapes import (
    ATTACKER,
    BACKBONE,
    BRIDGE,
    DUMMY,
    FLOATING_TABLES,
    INTERNET,
    MAIN_TABLE,
    PROVIDER_TABLES,
    RULE_PRIORITY,
    VISITOR,
    BridgePort,
    Forwarding,
    Link,
    Namespace,
    Neighbour,
    Route,
    Rule,
    by_name,
    default_via,
    namespace_name,
    same_family,
)
from ringfort.network.marks import provider_marks

__all__ = [
    "ATTACKER",
    "BACKBONE",
    "INTERNET",
    "VISITOR",
    "active_routers",
    "guest_addresses",
    "namespace_name",
    "plan",
    "provider_port",
    "public_networks",
]


def active_routers(environment: Environment, chosen: Mapping[str, str] | None = None) -> dict[str, str]:
    """The active router of each site: the chosen one where it still exists, else the first declared."""
    chosen = chosen or {}
    return {
        name: chosen[name] if chosen.get(name) in site.routers else site.routers[0]
        for name, site in environment.sites.items()
    }


def plan(environment: Environment, active: Mapping[str, str]) -> dict[str, Namespace]:
    """Every namespace by name, for the given active router of each site.

    Raises:
        RingfortError: two devices would share a namespace.
    """
    wanted: dict[str, Namespace] = {}
    for namespace in _namespaces(environment, active):
        if namespace.name in wanted:
            raise RingfortError("name-clash", f"two devices are called {namespace.name!r}", "rename one of them")
        wanted[namespace.name] = namespace
    return wanted


def _namespaces(environment: Environment, active: Mapping[str, str]) -> Iterator[Namespace]:
    yield from (_router(environment, name, active) for name in environment.routers)
    yield from (_switch(environment, key, active) for key in environment.segments)
    yield from (_host(environment, name) for name in environment.hosts)
    yield from (_sandbox(environment, host) for host in environment.hosts.values() if host.hypervisor)
    yield internet(environment)
    yield from (guest(environment, name) for name in (VISITOR, ATTACKER))
    if environment.backbone is not None:
        yield _backbone(environment)


def _host(environment: Environment, name: str) -> Namespace:
    host = environment.hosts[name]
    gateways = topology.gateway_addresses(environment, host.segment)
    mac = topology.gateway_mac(environment, host.segment)
    used = [gateway for address in host.addresses if (gateway := same_family(gateways, address)) is not None]
    peer = (
        namespace_name(environment, Device(DeviceKind.SWITCH, host.segment)),
        topology.interface_name(name),
    )
    if host.hypervisor:  # a guest: what guards it stands outside
        peer = namespace_name(environment, topology.device_of(host)), topology.SANDBOX_GUEST
    addresses = frozenset(f"{address}/{address.max_prefixlen}" for address in host.addresses)
    interface = topology.HOST_INTERFACE
    device = Device(DeviceKind.HOST, name)
    held = held_by(environment, name)
    ways = [(interface, MAIN_TABLE), *((interface_of(one), FLOATING_TABLES + i) for i, one in enumerate(held))]
    return Namespace(
        namespace_name(environment, device),
        None if host.hypervisor else device,
        by_name(
            Link(interface, host.mac, peer=peer, addresses=addresses),
            *(Link(interface_of(one), one.mac, addresses=frozenset((DUMMY,)), over=interface) for one in held),
        ),
        routes=frozenset(replace(default_via(gateway, way), table=table) for way, table in ways for gateway in used),
        neighbours=frozenset(Neighbour(str(gateway), mac, way) for way, _ in ways for gateway in used),
        # What is said in the name of floating addresses leaves under their MAC address.
        rules=frozenset(
            Rule(address.version, RULE_PRIORITY + i, FLOATING_TABLES + i, source=str(address))
            for i, one in enumerate(held)
            for address in one.addresses
        ),
        sysctls=sysctls.of_device(environment, device),
        # a node's: for an instance, and for signs of life
        others=frozenset([topology.SANDBOX_GUEST] if host.hypervisor else map(signs_of, held)),
    )


def _sandbox(environment: Environment, host: Host) -> Namespace:
    """It routes between a guest and the guest's port. Towards the guest it is the gateway; it has no address."""
    device = topology.device_of(host)
    mac = topology.gateway_mac(environment, host.segment)
    guest = namespace_name(environment, Device(DeviceKind.HOST, host.name)), topology.HOST_INTERFACE
    switch = namespace_name(environment, Device(DeviceKind.SWITCH, host.segment))
    port = switch, topology.interface_name(host.name)
    inside, outside = topology.SANDBOX_GUEST, topology.SANDBOX_UPLINK
    gateways = topology.gateway_addresses(environment, host.segment)
    used = [gateway for address in host.addresses if (gateway := same_family(gateways, address)) is not None]
    return Namespace(
        namespace_name(environment, device),
        device,
        by_name(Link(inside, mac, peer=guest), Link(outside, host.mac, peer=port)),
        routes=frozenset(
            (
                *(Route(f"{address}/{address.max_prefixlen}", str(address), inside) for address in host.addresses),
                *(default_via(gateway, outside) for gateway in used),
            )
        ),
        neighbours=frozenset(
            (
                *(Neighbour(str(address), host.mac, inside) for address in host.addresses),
                *(Neighbour(str(gateway), mac, outside) for gateway in used),
            )
        ),
        sysctls=sysctls.of_device(environment, device),
    )


def _switch(environment: Environment, key: str, active: Mapping[str, str]) -> Namespace:
    """A switch knows every station of its segment and learns none: a frame can't move another's entry."""
    segment = environment.segments[key]
    leg = next(leg for leg in topology.legs(environment, segment.site) if leg.peer == key)
    device = Device(DeviceKind.SWITCH, key)
    links = [Link(BRIDGE)]
    forwarding = []
    for port in topology.ports(environment, key):
        if port.router:
            peer = (namespace_name(environment, Device(DeviceKind.ROUTER, port.router)), leg.interface)
            if port.router == active[segment.site]:
                forwarding.append(Forwarding(leg.mac, port.interface))
        else:
            peer = (namespace_name(environment, Device(DeviceKind.HOST, port.host)), topology.HOST_INTERFACE)
            if environment.hosts[port.host].hypervisor:
                device_ = topology.device_of(environment.hosts[port.host])
                peer = (namespace_name(environment, device_), topology.SANDBOX_UPLINK)
            forwarding.append(Forwarding(environment.hosts[port.host].mac, port.interface))
        # Frames to floating addresses go to everybody who may hold them, and who doesn't takes no notice: nothing has
        # to be learnt, and nobody can move an entry. What else would come along the rules refuse.
        flood = not port.host or bool(held_by(environment, port.host))
        behaviour = BridgePort(BRIDGE, isolated=bool(port.host), flood=flood)
        links.append(Link(port.interface, peer=peer, port=behaviour))
    return Namespace(
        namespace_name(environment, device),
        device,
        by_name(*links),
        forwarding=frozenset(forwarding),
        sysctls=sysctls.of_device(environment, device),
    )


def _router(environment: Environment, name: str, active: Mapping[str, str]) -> Namespace:
    """The active router holds the legs' addresses; the standby's legs are down and hold none."""
    site = environment.routers[name].site
    is_active = active[site] == name
    device = Device(DeviceKind.ROUTER, name)
    legs = topology.legs(environment, site)
    links = []
    for leg in legs:
        addresses = frozenset(str(address) for address in leg.addresses) if is_active else frozenset()
        peer = _leg_peer(environment, name, leg)
        links.append(Link(leg.interface, leg.mac, up=is_active, peer=peer, addresses=addresses))
    own_blocks = (Route(str(block)) for block in environment.sites[site].blocks)
    return Namespace(
        namespace_name(environment, device),
        device,
        by_name(*links),
        # What is inside never leaves by a provider, even where no segment holds it.
        routes=frozenset((*own_blocks, *(_router_routes(environment, site, legs) if is_active else ()))),
        neighbours=frozenset(_router_neighbours(environment, site, legs) if is_active else ()),
        rules=frozenset(_router_rules(environment, site) if is_active else ()),
        sysctls=sysctls.of_device(environment, device),
    )


def _leg_peer(environment: Environment, router: str, leg: Leg) -> tuple[str, str]:
    if leg.kind == "segment":
        return namespace_name(environment, Device(DeviceKind.SWITCH, leg.peer)), topology.interface_name(router)
    if leg.kind == "provider":
        return namespace_name(environment, INTERNET), provider_port(environment, leg.peer, router)
    return namespace_name(environment, BACKBONE), topology.interface_name(router)


def _router_rules(environment: Environment, site: str) -> Iterator[Rule]:
    """A reply leaves by the provider its connection came in by (`ringfort.network.marks`)."""
    marks = provider_marks(environment, site)
    for version in (4, 6) if marks else ():
        yield Rule(version, RULE_PRIORITY, MAIN_TABLE, skips_default=True)
    for key, mark in marks.items():
        for version in {network.version for network in environment.providers[key].networks}:
            yield Rule(version, RULE_PRIORITY + mark, PROVIDER_TABLES + mark, mark)


def _default_routes(environment: Environment, site: str, legs: tuple[Leg, ...]) -> Iterator[Route]:
    marks = provider_marks(environment, site)
    seen: set[int] = set()
    for leg in legs:
        for network in environment.providers[leg.peer].networks if leg.kind == "provider" else ():
            route = default_via(topology.host_address(network, 1), leg.interface)
            if network.version not in seen:  # the first provider of a family takes what has no mark
                seen.add(network.version)
                yield route
            if leg.peer in marks:
                yield replace(route, table=PROVIDER_TABLES + marks[leg.peer])


def _router_routes(environment: Environment, site: str, legs: tuple[Leg, ...]) -> Iterator[Route]:
    yield from _default_routes(environment, site, legs)
    for other in environment.sites:
        if other == site or environment.backbone is None:
            continue
        for block in environment.sites[other].blocks:
            via = same_family(topology.backbone_addresses(environment, other), block.network_address)
            if via is not None:
                yield Route(str(block), str(via), BACKBONE)


def _router_neighbours(environment: Environment, site: str, legs: tuple[Leg, ...]) -> Iterator[Neighbour]:
    interfaces = {leg.peer: leg.interface for leg in legs}
    for host in expanded(environment).hosts.values():
        if host.site == site:
            for address in host.addresses:
                yield Neighbour(str(address), host.mac, interfaces[host.segment])
    for key in environment.sites[site].providers:
        mac = topology.provider_mac(environment, key)
        for network in environment.providers[key].networks:
            yield Neighbour(str(topology.host_address(network, 1)), mac, interfaces[key])
    if environment.backbone is not None:
        for other in environment.sites:
            if other != site:
                mac = topology.backbone_mac(environment, other)
                for address in topology.backbone_addresses(environment, other):
                    yield Neighbour(str(address), mac, BACKBONE)


def _backbone(environment: Environment) -> Namespace:
    ports = []
    for router in environment.routers:
        peer = (namespace_name(environment, Device(DeviceKind.ROUTER, router)), BACKBONE)
        ports.append(
            Link(topology.interface_name(router), peer=peer, port=BridgePort(BRIDGE))
        )  # learning nothing, as with providers
    links = by_name(Link(BRIDGE), *ports)
    return Namespace(
        namespace_name(environment, BACKBONE), None, links, sysctls=(*sysctls.OUTSIDE, *sysctls.NO_ADDRESSES)
    )
