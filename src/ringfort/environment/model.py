"""The resolved environment: what every other package works on.

Values here exist only after `ringfort.environment.load` has refused everything that contradicts itself, so nothing
downstream checks again. All values are immutable; names are resolved to keys of the mappings in `Environment`.

Keys: a site, host, service, router or flow is known by its name; a segment or provider by ``site/name``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from ringfort.errors import Origin

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class Tier(StrEnum):
    """What a segment is for; decides what may face it."""

    EDGE = "edge"
    FRONT_END = "front-end"
    BACK_END = "back-end"
    DATA = "data"
    ADMINISTRATION = "administration"
    CUSTOMER = "customer"
    HYPERVISOR = "hypervisor"


class Protocol(StrEnum):
    """What a service speaks. ``icmp`` is echo request (ping), in both address families."""

    TCP = "tcp"
    UDP = "udp"
    ICMP = "icmp"


class Tls(StrEnum):
    """``none``, ``server`` (the server proves itself) or ``mutual`` (the caller proves itself too)."""

    NONE = "none"
    SERVER = "server"
    MUTUAL = "mutual"


@dataclass(frozen=True, slots=True, order=True)
class PortRange:
    """Inclusive range of transport ports, 1 to 65535."""

    first: int
    last: int

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


@dataclass(frozen=True, slots=True)
class Provider:
    """One of a site's connections to the internet: the public networks it routes to the site.

    In each network the first host address is the provider's own router, the second belongs to the site's active
    router; published services use further ones.
    """

    name: str
    site: str
    networks: tuple[Network, ...]
    origin: Origin

    @property
    def key(self) -> str:
        """``site/name``."""
        return f"{self.site}/{self.name}"


@dataclass(frozen=True, slots=True)
class Router:
    """One of the two filtering routers of a site; ``machine`` owns every mechanism that would be lost with it."""

    name: str
    site: str
    machine: str
    origin: Origin


@dataclass(frozen=True, slots=True)
class Segment:
    """One private LAN. The gateway (the active router) holds the first host address of each network."""

    name: str
    site: str
    tier: Tier
    cluster: str
    networks: tuple[Network, ...]
    machine: str
    origin: Origin

    @property
    def key(self) -> str:
        """``site/name``."""
        return f"{self.site}/{self.name}"


@dataclass(frozen=True, slots=True)
class Site:
    """A datacenter. ``segments`` and ``providers`` hold keys; ``routers`` names, one or two of them."""

    name: str
    blocks: tuple[Network, ...]
    providers: tuple[str, ...]
    routers: tuple[str, ...]
    segments: tuple[str, ...]
    origin: Origin


@dataclass(frozen=True, slots=True)
class Host:
    """A machine attached to one segment, with at most one address of each family.

    ``identity`` is its own SPIFFE name, its node's; ``services`` the names of what it serves; ``machine`` what owns its
    mechanisms (two hosts on one machine are lost together). ``management``: through it a router or switch is managed
    that runs on the same machine; whoever owns the host owns that device. ``hypervisor``: the host that it is a guest
    of, or ""; such an *instance* is on that host's machine and guarded by a sandbox there, outside its reach.
    """

    name: str
    site: str
    segment: str
    addresses: tuple[Address, ...]
    mac: str
    identity: str
    services: tuple[str, ...]
    customer: str
    labels: Mapping[str, str]
    machine: str
    origin: Origin
    management: bool = False
    hypervisor: str = ""


@dataclass(frozen=True, slots=True)
class Floating:
    """Addresses that one of several hosts of a segment holds, whichever lives (VRRP).

    ``mac`` is virtual: whoever holds the addresses answers under it. ``hosts`` may hold them, the first by choice;
    ``services`` are reached there; over the service ``signs`` the hosts tell each other that they live.
    """

    name: str
    site: str
    segment: str
    addresses: tuple[Address, ...]
    mac: str
    hosts: tuple[str, ...]
    services: tuple[str, ...]
    signs: str
    origin: Origin


@dataclass(frozen=True, slots=True)
class Held(Host):
    """Floating addresses as if they were a host of their own, as `ringfort.environment.floating` sees them.

    ``holders``: the hosts that may hold them, first the one that does. What guards them is its firewall.
    """

    holders: tuple[str, ...] = ()

    @property
    def holder(self) -> str:
        """The host that holds the addresses."""
        return self.holders[0]


@dataclass(frozen=True, slots=True)
class Service:
    """What hosts serve. ``ports`` is empty for ``icmp``. Every host serving it holds ``identity`` too."""

    name: str
    protocol: Protocol
    ports: tuple[PortRange, ...]
    tls: Tls
    identity: str
    hosts: tuple[str, ...]
    application: str
    origin: Origin


@dataclass(frozen=True, slots=True)
class Flow:
    """One allowed communication to a service.

    Attributes:
        source: the source as written: ``internet``, ``service:NAME``, ``segment:SITE/NAME``, ``host:NAME``,
            ``group:NAME``, ``customer:NAME`` (a bare word is a service).
        internet: true when anyone on the internet may call; then ``callers`` and ``identities`` are empty.
        callers: names of the hosts that may call, without repeats, in file order; a host never calls itself.
        identities: SPIFFE names that the service accepts from these callers when it is ``mutual``: the service's
            identity for ``service:``, the operators' where the flow names some, the hosts' own otherwise.
        operators: names of the operators who call from there with certificates of their own.
    """

    name: str
    source: str
    internet: bool
    callers: tuple[str, ...]
    identities: tuple[str, ...]
    service: str
    reason: str
    origin: Origin
    operators: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PublishedService:
    """A service reachable from the internet: ``address``:``port`` at ``provider`` is translated to ``host``.

    ``port`` is 0 for icmp. ``target_port`` is the service's port on the host. The host has an address of the same
    family as ``address``. ``floating``: the name of the floating addresses it is translated to, or ""; then ``host``
    is the first of those that may hold them.
    """

    service: str
    provider: str
    address: Address
    port: int
    host: str
    target_port: int
    origin: Origin
    floating: str = ""


@dataclass(frozen=True, slots=True)
class Backbone:
    """The network between the sites' routers; site number i (from 0) holds host address i+1 of each network."""

    networks: tuple[Network, ...]
    origin: Origin


@dataclass(frozen=True, slots=True)
class ScanDetection:
    """A source that causes more than ``attempts`` refusals within ``seconds`` is refused for ``refuse_seconds``."""

    attempts: int = 30
    seconds: int = 60
    refuse_seconds: int = 300


@dataclass(frozen=True, slots=True)
class ConnectionLimit:
    """Concurrent tracked connections one source may hold through a router."""

    per_source: int = 500


class OperatorRole(StrEnum):
    """What a person may act as at the controllers; policies say what each may."""

    NETWORK_OPERATOR = "network-operator"
    SECURITY_OFFICER = "security-officer"
    AUDITOR = "auditor"
    SITE_STAFF = "site-staff"


@dataclass(frozen=True, slots=True)
class Operator:
    """A person who calls controllers. ``sites``: those where site staff may put machines in."""

    name: str
    roles: tuple[OperatorRole, ...]
    sites: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Control:
    """The control plane: names of its services, "" for those that there aren't; and what its operators may act as, ()
    when that is said elsewhere.

    ``customers`` is where controllers hear customers; ``door`` hands on there, unread, what the internet sends.
    """

    controller: str
    witness: str
    customers: str
    door: str
    operators: tuple[Operator, ...]
    origin: Origin

    @property
    def services(self) -> dict[str, str]:
        """What it is to the control plane -> the name of the service, of those that there are."""
        named = {"controller": self.controller, "witness": self.witness, "customers": self.customers, "door": self.door}
        return {role: name for role, name in named.items() if name}


@dataclass(frozen=True, slots=True)
class Gateway:
    """Where the internet reaches customers' applications: the service of its hosts under TLS, and the one in plain
    HTTP, or "". What those hosts answer as is no part of the environment: their controllers tell them, but for
    ``acme_name``, the public name of the ACME server, whose service is ``acme``; both may be ""."""

    service: str
    plain: str
    origin: Origin
    acme: str = ""
    acme_name: str = ""

    @property
    def services(self) -> dict[str, str]:
        """What it is to the gateway -> the name of the service, of those that there are."""
        return {role: name for role, name in (("service", self.service), ("plain", self.plain)) if name}


@dataclass(frozen=True, slots=True)
class Environment:
    """The whole declaration, resolved. Mappings are in file order and must not be changed.

    ``bogons`` are networks that never are a true source on the internet (RFC 6890, less what the file excepts).
    ``hosts_by_segment`` follows from ``hosts``: the names of each segment's hosts, in file order.
    """

    name: str
    trust_domain: str
    sites: Mapping[str, Site]
    providers: Mapping[str, Provider]
    routers: Mapping[str, Router]
    segments: Mapping[str, Segment]
    hosts: Mapping[str, Host]
    services: Mapping[str, Service]
    flows: Mapping[str, Flow]
    published: tuple[PublishedService, ...]
    backbone: Backbone | None
    bogons: tuple[Network, ...]
    scan_detection: ScanDetection = field(default_factory=ScanDetection)
    connection_limit: ConnectionLimit = field(default_factory=ConnectionLimit)
    control: Control | None = None
    gateway: Gateway | None = None
    floating: Mapping[str, Floating] = field(default_factory=dict)
    hosts_by_segment: Mapping[str, tuple[str, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        index: dict[str, list[str]] = {key: [] for key in self.segments}
        for host in self.hosts.values():
            index.setdefault(host.segment, []).append(host.name)
        object.__setattr__(self, "hosts_by_segment", {key: tuple(names) for key, names in index.items()})
