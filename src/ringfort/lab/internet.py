"""The lab's internet: a router that knows every way and filters nothing, its providers, a visitor and an attacker."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_network

from ringfort.environment import topology
from ringfort.environment.model import Address, Environment, Network
from ringfort.environment.topology import Device, DeviceKind
from ringfort.errors import RingfortError
from ringfort.lab import sysctls
from ringfort.lab.shapes import (
    ATTACKER,
    INTERNET,
    PUBLIC,
    VISITOR,
    BridgePort,
    Link,
    Namespace,
    Neighbour,
    Route,
    by_name,
    default_via,
    namespace_name,
)

PUBLIC_IPV4 = ("203.0.113.0/24", "192.0.2.0/24", "198.51.100.0/24", "9.113.0.0/24", "11.113.0.0/24")
PUBLIC_IPV6 = ("2001:db8:ffff::/64", "2a0f:ffff::/64", "2c0f:ffff::/64")
"""Where the lab's visitors live: the first that is neither inside nor a bogon. Nothing ever leaves the lab."""

VISITOR_NUMBER = 10
ATTACKER_NUMBER = 66


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


def guest(environment: Environment, name: str) -> Namespace:
    """The namespace of ``visitor`` or ``attacker``, at home in the public networks; the attacker may send as anyone."""
    networks: tuple[Network, ...] = public_networks(environment)
    hub = [topology.host_address(network, 1) for network in networks]
    addresses = guest_addresses(environment, name)
    mac = _guest_mac(environment, PUBLIC)
    interface = topology.HOST_INTERFACE
    link = Link(
        interface,
        _guest_mac(environment, name),
        peer=(namespace_name(environment, INTERNET), name),
        addresses=frozenset(f"{a}/{n.prefixlen}" for a, n in zip(addresses, networks, strict=True)),
    )
    return Namespace(
        namespace_name(environment, name),
        None,
        by_name(link),
        routes=frozenset(default_via(address, interface) for address in hub),
        neighbours=frozenset(Neighbour(str(address), mac, interface) for address in hub),
        sysctls=(*sysctls.OUTSIDE, *sysctls.NO_FORWARDING, *(sysctls.ANY_SOURCE if name == ATTACKER else ())),
    )


def internet(environment: Environment) -> Namespace:
    """The internet: one router that knows every way and filters nothing, with a bridge for each provider.

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
    routes = [default_via(address, PUBLIC) for address in guest_addresses(environment, ATTACKER)]
    return Namespace(
        namespace_name(environment, INTERNET),
        None,
        by_name(*links),
        routes=frozenset((*routes, *_routes_inside(environment))),
        neighbours=frozenset(neighbours),
        sysctls=(*sysctls.OUTSIDE, *sysctls.FORWARDING),
    )


def _provider_links(environment: Environment, key: str) -> Iterator[Link]:
    provider = environment.providers[key]
    bridge = provider_bridge(environment, key)
    own = frozenset(f"{topology.host_address(n, 1)}/{n.prefixlen}" for n in provider.networks)
    yield Link(bridge, topology.provider_mac(environment, key), addresses=own)
    # Nothing is learnt: both routers have the same MAC address, and for up to a second after the other one has become
    # active a learnt entry would still lead to the old one.
    for router in environment.sites[provider.site].routers:
        peer = (namespace_name(environment, Device(DeviceKind.ROUTER, router)), topology.interface_name(provider.name))
        yield Link(provider_port(environment, key, router), peer=peer, port=BridgePort(bridge))


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
