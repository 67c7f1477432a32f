"""Namespaces, links, addresses, routes and neighbours as values: what is planned, and what is observed.

Addresses and networks are text in the kernel's own spelling, so that descriptions are equal when they mean the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ringfort.environment import topology
from ringfort.environment.model import Address, Environment
from ringfort.environment.topology import Device, DeviceKind
from ringfort.errors import RingfortError

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
DUMMY = "192.0.0.8/32"
"""Nobody's address (RFC 7600), for an interface whose own ones come and go: with the last would go its routes."""
FLOATING_TABLES = 200
"""The routing table of the first floating addresses that a host may hold; the next ones follow."""
RULE_PRIORITY = 100

NAMESPACE_NAME_LIMIT = 255
"""Bytes in a file name (NAME_MAX, linux/limits.h): a named namespace is a file."""


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
    of a veth pair, empty for a bridge; ``addresses`` are ``ADDRESS/LENGTH``. ``over`` is the interface that a macvlan
    stands on: a second MAC address there, where more addresses come and go by others' hands and are left alone."""

    name: str
    mac: str = ""
    up: bool = True
    peer: tuple[str, str] | None = None
    port: BridgePort | None = None
    addresses: frozenset[str] = frozenset()
    over: str = ""


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
    """Which routing table is asked, in the order of ``priority``: for packets with ``mark``, or from ``source``; for
    all when it is 0 and there is none.

    With ``skips_default`` the table's default route doesn't count, so that what is inside is found first.
    """

    version: int
    priority: int
    table: int
    mark: int = 0
    skips_default: bool = False
    source: str = ""


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
    """One network namespace. ``device`` is None for what holds no rules: the internet, its guests, the backbone.

    ``others``: links that somebody else makes there, such as a node for an instance; they are left as they are.
    """

    name: str
    device: Device | None
    links: Mapping[str, Link]
    routes: frozenset[Route] = frozenset()
    neighbours: frozenset[Neighbour] = frozenset()
    forwarding: frozenset[Forwarding] = frozenset()
    rules: frozenset[Rule] = frozenset()
    sysctls: tuple[tuple[str, str], ...] = ()
    others: frozenset[str] = frozenset()


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
    if isinstance(place, Device) and place.kind is DeviceKind.SANDBOX:
        own_name += "..sandbox"  # an instance's own name is its guest's
    name = f"{namespace_prefix(environment.name)}{own_name}"
    if len(name) > NAMESPACE_NAME_LIMIT:
        raise RingfortError("name-too-long", f"namespace name {name!r} has more than {NAMESPACE_NAME_LIMIT} characters")
    return name


def by_name(*links: Link) -> dict[str, Link]:
    """The links by their names."""
    return {link.name: link for link in links}


def same_family(addresses: tuple[Address, ...], like: Address) -> Address | None:
    """The first of the addresses that has the family of ``like``."""
    return next((address for address in addresses if address.version == like.version), None)


def _default(version: int) -> str:
    return "0.0.0.0/0" if version == 4 else "::/0"


def default_via(address: Address, interface: str) -> Route:
    """The default route of the address's family, by way of it."""
    return Route(_default(address.version), str(address), interface)
