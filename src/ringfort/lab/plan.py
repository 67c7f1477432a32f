"""What the lab builds for an environment, as values: every namespace with its links, addresses, routes and neighbours.

Pure. The same shapes describe what is wanted and what is observed (`ringfort.lab.netlink`), so that a second ``up`` is
the difference of two values. Addresses and networks are text in the kernel's own spelling.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network, ip_network

from ringfort.environment import topology
from ringfort.environment.model import Address, Environment, Network
from ringfort.environment.topology import Device, DeviceKind, Leg
from ringfort.errors import RingfortError
from ringfort.network.marks import provider_marks

INTERNET = "internet"
VISITOR = "visitor"
ATTACKER = "attacker"
BACKBONE = topology.BACKBONE

BRIDGE = "bridge"
"""The name of the one bridge of a switch."""
PUBLIC = "public"
"""The bridge in the internet's namespace that visitors and attackers are attached to."""

MAIN_TABLE = 254  # RT_TABLE_MAIN, linux/rtnetlink.h
PROVIDER_TABLES = 100
"""The routing table of a mark is this plus the mark."""
RULE_PRIORITY = 100

NAMESPACE_NAME_LIMIT = 255
"""Bytes in a file name (NAME_MAX, linux/limits.h): a named namespace is a file."""

PUBLIC_IPV4 = ("203.0.113.0/24", "192.0.2.0/24", "198.51.100.0/24", "9.113.0.0/24", "11.113.0.0/24")
PUBLIC_IPV6 = ("2001:db8:ffff::/64", "2a0f:ffff::/64", "2c0f:ffff::/64")
"""Where the lab's visitors live: the first that is neither inside nor a bogon. Nothing ever leaves the lab."""

VISITOR_NUMBER = 10
ATTACKER_NUMBER = 66


@dataclass(frozen=True, slots=True)
class BridgePort:
    """How a link behaves as a port of ``bridge``. Nothing is learnt from a port unless ``learning``."""

    bridge: str
    isolated: bool = False
    learning: bool = False
    flood: bool = True


@dataclass(frozen=True, slots=True)
class Link:
    """One interface. ``mac`` is empty where the kernel may choose; ``peer`` is (namespace, interface) of the other end
    of a veth pair, empty for a bridge; ``addresses`` are ``ADDRESS/LENGTH``."""

    name: str
    mac: str = ""
    up: bool = True
    peer: tuple[str, str] | None = None
    port: BridgePort | None = None
    addresses: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, order=True)
class Route:
    """A route, of the main table unless told otherwise. ``interface`` is empty for a black hole, ``via`` for a
    destination on the link (never planned, but found)."""

    destination: str
    via: str = ""
    interface: str = ""
    table: int = MAIN_TABLE


@dataclass(frozen=True, slots=True, order=True)
class Rule:
    """Which routing table is asked, in the order of ``priority``: for packets with ``mark``, or for all when it is 0.

    With ``skips_default`` the table's default route doesn't count, so that what is inside is found first.
    """

    version: int
    priority: int
    table: int
    mark: int = 0
    skips_default: bool = False


@dataclass(frozen=True, slots=True, order=True)
class Neighbour:
    """A permanent neighbour entry; nothing is ever resolved by ARP or neighbour discovery."""

    address: str
    mac: str
    interface: str


@dataclass(frozen=True, slots=True, order=True)
class Forwarding:
    """A static entry of a bridge's forwarding table: frames to ``mac`` leave by ``interface``."""

    mac: str
    interface: str


@dataclass(frozen=True, slots=True)
class Namespace:
    """One network namespace. ``device`` is None for what holds no rules: the internet, its guests, the backbone."""

    name: str
    device: Device | None
    links: Mapping[str, Link]
    routes: frozenset[Route] = frozenset()
    neighbours: frozenset[Neighbour] = frozenset()
    forwarding: frozenset[Forwarding] = frozenset()
    rules: frozenset[Rule] = frozenset()
    sysctls: tuple[tuple[str, str], ...] = ()


def namespace_prefix(environment: str) -> str:
    """What the names of all namespaces of an environment begin with, and no other environment's."""
    return f"rf-{environment}."


def namespace_name(environment: Environment, place: Device | str) -> str:
    """The namespace of a device, or of ``internet``, ``visitor``, ``attacker`` or ``backbone``.

    A full stop stands in no declared name, so names of two environments or of two kinds never meet.

    Raises:
        RingfortError: the name would be longer than a file name may be.
    """
    own_name = f".{place}" if isinstance(place, str) else place.name.replace("/", ".")
    name = f"{namespace_prefix(environment.name)}{own_name}"
    if len(name) > NAMESPACE_NAME_LIMIT:
        raise RingfortError("name-too-long", f"namespace name {name!r} has more than {NAMESPACE_NAME_LIMIT} characters")
    return name


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
    yield _internet(environment)
    yield from (_guest(environment, name) for name in (VISITOR, ATTACKER))
    if environment.backbone is not None:
        yield _backbone(environment)


# --- sysctls -------------------------------------------------------------------------------------------------------

_COMMON = (
    # Nothing is configured by what arrives on the wire.
    ("net/ipv6/conf/default/accept_ra", "0"),
    ("net/ipv6/conf/default/accept_redirects", "0"),
    ("net/ipv4/conf/all/accept_redirects", "0"),
    ("net/ipv4/conf/default/accept_redirects", "0"),
    ("net/ipv4/conf/all/send_redirects", "0"),
    ("net/ipv4/conf/default/send_redirects", "0"),
    # No link-local address and no duplicate address detection: neighbours are permanent entries.
    ("net/ipv6/conf/default/addr_gen_mode", "1"),
    ("net/ipv6/conf/default/accept_dad", "0"),
    ("net/ipv6/conf/default/dad_transmits", "0"),
    # Source addresses are judged by the rules, which are proved, and by nothing else.
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
    ("net/ipv4/conf/all/arp_ignore", "1"),
    ("net/ipv4/conf/all/arp_announce", "2"),
    # An address that goes takes no other one of its network with it.
    ("net/ipv4/conf/all/promote_secondaries", "1"),
)
_FORWARDING = (("net/ipv4/ip_forward", "1"), ("net/ipv6/conf/all/forwarding", "1"))
_NO_FORWARDING = (("net/ipv4/ip_forward", "0"), ("net/ipv6/conf/all/forwarding", "0"))
_NO_ADDRESSES = (
    ("net/ipv6/conf/all/disable_ipv6", "1"),
    ("net/ipv6/conf/default/disable_ipv6", "1"),
    # A bridge's frames are judged by the bridge family; br_netfilter must not show them to another one.
    ("net/bridge/bridge-nf-call-iptables", "0"),
    ("net/bridge/bridge-nf-call-ip6tables", "0"),
    ("net/bridge/bridge-nf-call-arptables", "0"),
)
_STATEFUL = (
    # A connection begins with its first packet: what turns up in its middle is invalid, not new.
    ("net/netfilter/nf_conntrack_tcp_loose", "0"),
)
_ANY_SOURCE = (("net/ipv4/ip_nonlocal_bind", "1"), ("net/ipv6/ip_nonlocal_bind", "1"))

# --- devices -------------------------------------------------------------------------------------------------------


def _by_name(*links: Link) -> dict[str, Link]:
    return {link.name: link for link in links}


def _same_family(addresses: tuple[Address, ...], like: Address) -> Address | None:
    return next((address for address in addresses if address.version == like.version), None)


def _default(version: int) -> str:
    return "0.0.0.0/0" if version == 4 else "::/0"


def _default_via(address: Address, interface: str) -> Route:
    return Route(_default(address.version), str(address), interface)


def _host(environment: Environment, name: str) -> Namespace:
    host = environment.hosts[name]
    gateways = topology.gateway_addresses(environment, host.segment)
    mac = topology.gateway_mac(environment, host.segment)
    used = [gateway for address in host.addresses if (gateway := _same_family(gateways, address)) is not None]
    switch = namespace_name(environment, Device(DeviceKind.SWITCH, host.segment))
    addresses = frozenset(f"{address}/{address.max_prefixlen}" for address in host.addresses)
    interface = topology.HOST_INTERFACE
    device = Device(DeviceKind.HOST, name)
    return Namespace(
        namespace_name(environment, device),
        device,
        _by_name(Link(interface, host.mac, peer=(switch, topology.interface_name(name)), addresses=addresses)),
        routes=frozenset(_default_via(gateway, interface) for gateway in used),
        neighbours=frozenset(Neighbour(str(gateway), mac, interface) for gateway in used),
        sysctls=(*_COMMON, *_NO_FORWARDING, *_STATEFUL),
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
            forwarding.append(Forwarding(environment.hosts[port.host].mac, port.interface))
        is_host = bool(port.host)
        links.append(Link(port.interface, peer=peer, port=BridgePort(BRIDGE, isolated=is_host, flood=not is_host)))
    return Namespace(
        namespace_name(environment, device),
        device,
        _by_name(*links),
        forwarding=frozenset(forwarding),
        sysctls=(*_COMMON, *_NO_ADDRESSES),
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
        _by_name(*links),
        # What is inside never leaves by a provider, even where no segment holds it.
        routes=frozenset((*own_blocks, *(_router_routes(environment, site, legs) if is_active else ()))),
        neighbours=frozenset(_router_neighbours(environment, site, legs) if is_active else ()),
        rules=frozenset(_router_rules(environment, site) if is_active else ()),
        sysctls=(*_COMMON, *_FORWARDING, *_STATEFUL),
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
            route = _default_via(topology.host_address(network, 1), leg.interface)
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
            via = _same_family(topology.backbone_addresses(environment, other), block.network_address)
            if via is not None:
                yield Route(str(block), str(via), BACKBONE)


def _router_neighbours(environment: Environment, site: str, legs: tuple[Leg, ...]) -> Iterator[Neighbour]:
    interfaces = {leg.peer: leg.interface for leg in legs}
    for host in environment.hosts.values():
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
        ports.append(Link(topology.interface_name(router), peer=peer, port=BridgePort(BRIDGE, learning=True)))
    links = _by_name(Link(BRIDGE), *ports)
    return Namespace(namespace_name(environment, BACKBONE), None, links, sysctls=(*_COMMON, *_NO_ADDRESSES))


# --- the internet --------------------------------------------------------------------------------------------------


def provider_bridge(environment: Environment, provider: str) -> str:
    """The bridge of a provider in the internet's namespace."""
    return f"provider{list(environment.providers).index(provider)}"


def provider_port(environment: Environment, provider: str, router: str) -> str:
    """The port of a provider's bridge that leads to a router."""
    providers, routers = list(environment.providers), list(environment.routers)
    return f"p{providers.index(provider)}r{routers.index(router)}"


def public_networks(environment: Environment) -> tuple[IPv4Network, IPv6Network]:
    """Where the lab's visitors and attackers live: a network of each family that is neither inside nor a bogon."""
    taken = [
        *environment.bogons,
        *topology.internal_networks(environment),
        *(network for provider in environment.providers.values() for network in provider.networks),
    ]
    ipv4 = [ip_network(text) for text in PUBLIC_IPV4]
    ipv6 = [ip_network(text) for text in PUBLIC_IPV6]
    return _first_free(ipv4, taken), _first_free(ipv6, taken)  # type: ignore[return-value]


def _first_free(candidates: list[IPv4Network | IPv6Network], taken: list[Network]) -> Network:
    for candidate in candidates:
        if not any(candidate.version == network.version and candidate.overlaps(network) for network in taken):
            return candidate
    raise RingfortError(
        "no-public-network",
        f"the lab has no address left for its visitors: {', '.join(map(str, candidates))} are all in use",
        "except one of them from the bogons (internet: bogons-except) or keep it free",
    )


def guest_addresses(environment: Environment, guest: str) -> tuple[Address, ...]:
    """The own addresses of ``visitor`` or ``attacker``."""
    number = {VISITOR: VISITOR_NUMBER, ATTACKER: ATTACKER_NUMBER}[guest]
    return tuple(topology.host_address(network, number) for network in public_networks(environment))


def _guest_mac(environment: Environment, guest: str) -> str:
    return topology.mac_address(environment.name, INTERNET, guest)


def _guest(environment: Environment, guest: str) -> Namespace:
    networks: tuple[Network, ...] = public_networks(environment)
    hub = [topology.host_address(network, 1) for network in networks]
    addresses = guest_addresses(environment, guest)
    mac = _guest_mac(environment, PUBLIC)
    interface = topology.HOST_INTERFACE
    link = Link(
        interface,
        _guest_mac(environment, guest),
        peer=(namespace_name(environment, INTERNET), guest),
        addresses=frozenset(f"{a}/{n.prefixlen}" for a, n in zip(addresses, networks, strict=True)),
    )
    return Namespace(
        namespace_name(environment, guest),
        None,
        _by_name(link),
        routes=frozenset(_default_via(address, interface) for address in hub),
        neighbours=frozenset(Neighbour(str(address), mac, interface) for address in hub),
        sysctls=(*_COMMON, *_NO_FORWARDING, *(_ANY_SOURCE if guest == ATTACKER else ())),
    )


def _internet(environment: Environment) -> Namespace:
    """One router that knows every way and filters nothing, with a bridge for each provider.

    It is the worst internet there is: it carries packets to addresses that are inside, with any source, and what is
    sent to an address it doesn't know goes to the attacker.
    """
    networks = public_networks(environment)
    public = frozenset(f"{topology.host_address(network, 1)}/{network.prefixlen}" for network in networks)
    links = [Link(PUBLIC, _guest_mac(environment, PUBLIC), addresses=public)]
    neighbours = []
    for guest in (VISITOR, ATTACKER):
        peer = (namespace_name(environment, guest), topology.HOST_INTERFACE)
        links.append(Link(guest, peer=peer, port=BridgePort(PUBLIC, learning=True)))
        mac = _guest_mac(environment, guest)
        neighbours += [Neighbour(str(address), mac, PUBLIC) for address in guest_addresses(environment, guest)]
    for key in environment.providers:
        links += _provider_links(environment, key)
        neighbours += _provider_neighbours(environment, key)
    routes = [_default_via(address, PUBLIC) for address in guest_addresses(environment, ATTACKER)]
    return Namespace(
        namespace_name(environment, INTERNET),
        None,
        _by_name(*links),
        routes=frozenset((*routes, *_routes_inside(environment))),
        neighbours=frozenset(neighbours),
        sysctls=(*_COMMON, *_FORWARDING),
    )


def _provider_links(environment: Environment, key: str) -> Iterator[Link]:
    provider = environment.providers[key]
    bridge = provider_bridge(environment, key)
    own = frozenset(f"{topology.host_address(n, 1)}/{n.prefixlen}" for n in provider.networks)
    yield Link(bridge, topology.provider_mac(environment, key), addresses=own)
    for router in environment.sites[provider.site].routers:
        peer = (namespace_name(environment, Device(DeviceKind.ROUTER, router)), topology.interface_name(provider.name))
        yield Link(provider_port(environment, key, router), peer=peer, port=BridgePort(bridge, learning=True))


def _provider_neighbours(environment: Environment, key: str) -> Iterator[Neighbour]:
    leg = next(leg for leg in topology.legs(environment, environment.providers[key].site) if leg.peer == key)
    published = {entry.address for entry in environment.published if entry.provider == key}
    for address in {*(interface.ip for interface in leg.addresses), *published}:
        yield Neighbour(str(address), leg.mac, provider_bridge(environment, key))


def _routes_inside(environment: Environment) -> Iterator[Route]:
    for site in environment.sites.values():
        for block in site.blocks:
            for key in site.providers:
                networks = [n for n in environment.providers[key].networks if n.version == block.version]
                if networks:
                    via = topology.host_address(networks[0], 2)
                    yield Route(str(block), str(via), provider_bridge(environment, key))
                    break
