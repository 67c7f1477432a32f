"""The attacks as values: from which place, with which claimed source, to which target. Pure.

Every attack is a generator of probes. No probe is declared: what a flow covers is left out, because it is exercised
with real connections instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from ipaddress import ip_address

from ringfort.drill.declaration import Declaration, Place, PlaceKind, Standing
from ringfort.drill.fragments import CUTS
from ringfort.drill.frames import Kind
from ringfort.environment import topology
from ringfort.environment.model import Address, Environment, Host, Protocol

CLOSED_TCP = (22, 80, 3389, 31337)
CLOSED_UDP = (161, 5353)
"""Ports that attackers like and that are tried on every host, unless it serves them."""

FRAGMENTED = 31337
"""The closed port that fragments name."""

OUTSIDE = {4: ip_address("8.8.0.1"), 6: ip_address("2606:4700::1")}
OUTSIDERS = 4096
"""The first of the strangers' addresses of each family, and how many there are. Each probe of a stranger has its own,
as an attacker who avoids scan detection would do it. No packet with them ever leaves the lab."""

METADATA = {4: ip_address("169.254.169.254"), 6: ip_address("fe80::a9fe:a9fe")}
"""Where clouds answer for an instance's metadata, its keys among them."""

FRAGMENTS_OF = 3
"""Each host sends fragments to one out of so many others, another one for each."""

BOGONS = (ip_address("192.168.77.7"), ip_address("100.64.7.7"), ip_address("240.0.0.7"), ip_address("fc00:dead::7"))


class Attack(StrEnum):
    """What is tried. The value is the attack's key in reports."""

    INTERNET_CLOSED = "internet-closed-ports"
    INTERNET_INSIDE = "internet-to-inside"
    INTERNET_AS_INSIDE = "internet-as-inside"
    INTERNET_BOGON = "internet-bogon"
    ROUTERS = "routers-themselves"
    HOST_UNDECLARED = "host-undeclared"
    HOST_BORROWED_ADDRESS = "host-borrowed-address"
    HOST_BORROWED_MAC = "host-borrowed-address-and-mac"
    HOST_NEIGHBOUR = "host-to-neighbour"
    HOST_AS_GATEWAY = "host-as-gateway"
    HOST_OUTSIDE_SOURCE = "host-outside-source"
    HOST_NOT_NEW = "host-not-new"
    FRAGMENTS = "fragments"
    GUEST_LINK_LOCAL = "guest-link-local"
    ROUTER_ANY_SOURCE = "router-any-source"
    ROUTER_HANDSHAKE = "router-handshake"
    STOLEN_KEYS = "stolen-keys"
    WITNESS = "proofs-counterexample"


SENTENCES: Mapping[str, str] = {
    Attack.INTERNET_CLOSED: "a stranger tries closed ports of published addresses",
    Attack.INTERNET_INSIDE: "a stranger writes to inside addresses",
    Attack.INTERNET_AS_INSIDE: "a stranger claims to be a declared caller inside",
    Attack.INTERNET_BOGON: "a stranger claims a source that can't exist",
    Attack.ROUTERS: "anybody tries the routers themselves",
    Attack.HOST_UNDECLARED: "a host tries everything it has no flow to",
    Attack.HOST_BORROWED_ADDRESS: "a host claims a declared caller's address",
    Attack.HOST_BORROWED_MAC: "a host claims a caller's address and MAC",
    Attack.HOST_NEIGHBOUR: "a host writes to its neighbours directly",
    Attack.HOST_AS_GATEWAY: "a host plays the gateway to its neighbours",
    Attack.HOST_OUTSIDE_SOURCE: "a host claims a source on the internet",
    Attack.HOST_NOT_NEW: "a host sends pieces of connections that don't exist",
    Attack.FRAGMENTS: "anybody sends an opening in fragments, whole or not",
    Attack.GUEST_LINK_LOCAL: "a guest asks for metadata at link-local addresses",
    Attack.ROUTER_ANY_SOURCE: "a router taken over sends with any source",
    Attack.ROUTER_HANDSHAKE: "a router taken over completes TLS as a caller",
    Attack.STOLEN_KEYS: "stolen keys are used from elsewhere",
    Attack.WITNESS: "the proof's own counterexamples",
}


@dataclass(frozen=True, slots=True)
class Probe:
    """One packet to send.

    Attributes:
        place: where it is sent: out of a host's own interface, on the provider's side, or out of a router's leg.
        interface: the leg for a router; empty elsewhere.
        source_mac, destination_mac: of the frame.
        port: destination port; 0 for ICMP.
        target: what it is aimed at: a host's name, or ``router:SITE`` for the routers of a site.
    """

    attack: Attack
    place: Place
    interface: str
    source: Address
    source_mac: str
    destination: Address
    destination_mac: str
    kind: Kind
    port: int
    target: str
    packed: bytes = field(init=False, compare=False, repr=False)
    """The claimed source, as it is in a packet."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "packed", self.source.packed)

    def __str__(self) -> str:
        port = f"/{self.port}" if self.port else ""
        return f"{self.source} -> {self.destination} {self.kind}{port} sent from {self.place}"


@dataclass(frozen=True, slots=True)
class Mark:
    """Something to aim at; ``target`` as in `Probe`."""

    address: Address
    kind: Kind
    port: int
    target: str
    is_served: bool = False


class Attacks:
    """Generates the probes of an environment. Which routers are active makes no difference: both have the same legs."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.declaration = Declaration(environment)
        self._marks = {host.name: tuple(_marks(environment, host)) for host in environment.hosts.values()}
        self._gateway_mac = {key: topology.gateway_mac(environment, key) for key in environment.segments}
        self._mac = {address: host.mac for host in environment.hosts.values() for address in host.addresses}
        self._callers = {name: self.declaration.callers_of(name) for name in environment.services}

    # --- from the internet -----------------------------------------------------------------------------------------

    def from_internet(self, targets: Iterable[str]) -> Iterator[Probe]:
        """Everything a stranger may try against the hosts named ``targets``, by every provider of every site."""
        names = list(targets)
        for key in self.environment.providers:
            yield from self._closed_ports(key, set(names))
            yield from self._inside(key, names)
            yield from self._bogons(key, set(names))

    def _closed_ports(self, provider: str, targets: set[str]) -> Iterator[Probe]:
        place = Place(PlaceKind.INTERNET, provider)
        seen: set[Address] = set()
        for entry in self.environment.published:
            if entry.provider != provider or entry.host not in targets or entry.address in seen:
                continue
            seen.add(entry.address)
            inner = [mark for mark in self._marks[entry.host] if mark.address.version == entry.address.version]
            for number, mark in enumerate(inner):
                outer = Mark(entry.address, mark.kind, mark.port, entry.host)
                yield from self._probe(Attack.INTERNET_CLOSED, place, outsider(outer, number), outer)

    def _inside(self, provider: str, targets: list[str]) -> Iterator[Probe]:
        place = Place(PlaceKind.INTERNET, provider)
        versions = {network.version for network in self.environment.providers[provider].networks}
        for number, mark in enumerate(self._marks_of(targets)):
            if mark.address.version in versions:
                yield from self._probe(Attack.INTERNET_INSIDE, place, outsider(mark, number), mark)
                yield from self._in_fragments(place, outsider(mark, number), mark)
                for caller in self._callers_of(mark, number):
                    yield from self._probe(Attack.INTERNET_AS_INSIDE, place, caller, mark)

    def _bogons(self, provider: str, targets: set[str]) -> Iterator[Probe]:
        place = Place(PlaceKind.INTERNET, provider)
        for entry in self.environment.published:
            if entry.provider == provider and entry.host in targets:
                kind = Kind(self.environment.services[entry.service].protocol)
                mark = Mark(entry.address, kind, entry.port, entry.host)
                for source in BOGONS:
                    if source.version == entry.address.version and self.declaration.is_bogon(source):
                        yield from self._probe(Attack.INTERNET_BOGON, place, source, mark)

    # --- from hosts ------------------------------------------------------------------------------------------------

    def from_host(self, name: str, targets: Iterable[str]) -> Iterator[Probe]:
        """Everything the owner of a host may try from its own interface against the hosts named ``targets``."""
        host = self.environment.hosts[name]
        place = Place(PlaceKind.HOST, name)
        names = [target for target in targets if target != name]
        for number, mark in enumerate(self._marks_of(names)):
            own = _of_version(host.addresses, mark.address.version)
            if own is not None:
                yield from self._probe(Attack.HOST_UNDECLARED, place, own, mark)
                if int(own) % FRAGMENTS_OF == int(mark.address) % FRAGMENTS_OF:
                    yield from self._in_fragments(place, own, mark)
            yield from self._borrowed(place, host, mark, number)
            yield from self._neighbours(place, host, mark, number)

    def _borrowed(self, place: Place, host: Host, mark: Mark, number: int) -> Iterator[Probe]:
        """With a source that the service would accept, or one of the internet, or as a piece of a connection."""
        for caller in self._callers_of(mark, number, host):
            yield from self._probe(Attack.HOST_BORROWED_ADDRESS, place, caller, mark)
            yield from self._probe(Attack.HOST_BORROWED_MAC, place, caller, mark, source_mac=self._mac[caller])
        if number % 4 == 0:
            yield from self._probe(Attack.HOST_OUTSIDE_SOURCE, place, outsider(mark, number), mark)
        own = _of_version(host.addresses, mark.address.version)
        if mark.kind is Kind.TCP and mark.is_served and own is not None:
            piece = replace(mark, kind=Kind.TCP_PIECE)
            yield from self._probe(Attack.HOST_NOT_NEW, place, own, piece)

    def _neighbours(self, place: Place, host: Host, mark: Mark, number: int) -> Iterator[Probe]:
        """Past the router: frames straight to another host of the same segment."""
        other = self.environment.hosts[mark.target]
        if other.segment != host.segment:
            return
        own = _of_version(host.addresses, mark.address.version)
        gateway = self._gateway_mac[host.segment]
        if own is not None:
            yield from self._probe(Attack.HOST_NEIGHBOUR, place, own, mark, destination_mac=other.mac)
        sources = ([own] if own is not None else []) + self._callers_of(mark, number, host)
        for source in sources:
            yield from self._probe(
                Attack.HOST_AS_GATEWAY, place, source, mark, source_mac=gateway, destination_mac=other.mac
            )

    # --- from and to routers ---------------------------------------------------------------------------------------

    def from_router(self, name: str, targets: Iterable[str]) -> Iterator[Probe]:
        """What the owner of a site's active router may send: out of its segment legs to the site's hosts, and over the
        backbone to other sites'."""
        site = self.environment.routers[name].site
        place = Place(PlaceKind.ROUTER, name)
        legs = {leg.peer: leg.interface for leg in topology.legs(self.environment, site)}
        for number, mark in enumerate(self._marks_of(targets)):
            leg = legs.get(self.environment.hosts[mark.target].segment) or legs.get(topology.BACKBONE)
            if leg is None:
                continue  # another site, and no backbone
            for source in (*self._callers_of(mark, number, site=site), outsider(mark, number)):
                yield from self._probe(Attack.ROUTER_ANY_SOURCE, place, source, mark, interface=leg)

    def at_routers(self) -> Iterator[Probe]:
        """From the internet and from one host of each segment to the routers' own addresses."""
        for site in self.environment.sites.values():
            for leg in topology.legs(self.environment, site.name):
                if leg.kind == "provider":
                    place = Place(PlaceKind.INTERNET, leg.peer)
                    sources: Mapping[int, Address] = OUTSIDE
                elif leg.kind == "segment":
                    host = next((h for h in self.environment.hosts.values() if h.segment == leg.peer), None)
                    if host is None:
                        continue
                    place = Place(PlaceKind.HOST, host.name)
                    sources = {address.version: address for address in host.addresses}
                else:
                    continue
                for interface in leg.addresses:
                    source = sources.get(interface.version)
                    if source is not None:
                        yield from self._at_router(place, source, interface.ip, site.name)

    def at_metadata(self) -> Iterator[Probe]:
        """From every instance to where clouds answer for their metadata."""
        for host in self.environment.hosts.values():
            for own in host.addresses if host.hypervisor else ():
                there = METADATA[own.version]
                mark = Mark(there, Kind.TCP, 80, f"router:{host.site}")
                yield from self._probe(Attack.GUEST_LINK_LOCAL, Place(PlaceKind.HOST, host.name), own, mark)

    def _at_router(self, place: Place, source: Address, address: Address, site: str) -> Iterator[Probe]:
        tries = [(Kind.TCP, 22), (Kind.TCP, 443), (Kind.UDP, 161), (Kind.ICMP, 0)]
        for kind, port in tries:
            yield from self._probe(Attack.ROUTERS, place, source, Mark(address, kind, port, f"router:{site}"))

    def _in_fragments(self, place: Place, source: Address, mark: Mark) -> Iterator[Probe]:
        """To a closed port of each target, cut in another way from target to target."""
        if mark.kind is Kind.TCP and mark.port == FRAGMENTED and not mark.is_served:
            kind = CUTS[(int(mark.address) // FRAGMENTS_OF + int(source)) % len(CUTS)]
            yield from self._probe(Attack.FRAGMENTS, place, source, replace(mark, kind=kind))

    # --- common ----------------------------------------------------------------------------------------------------

    def _marks_of(self, names: Iterable[str]) -> Iterator[Mark]:
        for name in names:
            yield from self._marks[name]

    def _callers_of(self, mark: Mark, number: int, attacker: Host | None = None, site: str = "") -> list[Address]:
        """Addresses of hosts that may call what is served at ``mark``: one after the other from target to target, and
        one of the attacker's own segment (or of ``site``), whose address is the easiest to borrow. None where nothing
        is served."""
        protocol = _protocol(mark.kind)
        host = self.environment.hosts[mark.target]
        callers = [
            self.environment.hosts[caller]
            for name in host.services
            if _serves(self.environment, name, protocol, mark.port)
            for caller in self._callers[name]
            if caller != mark.target and (attacker is None or caller != attacker.name)
        ]
        usable = [caller for caller in callers if _of_version(caller.addresses, mark.address.version) is not None]
        if not usable:
            return []
        chosen = [usable[number % len(usable)]]
        near = attacker.segment if attacker is not None else site
        chosen += [caller for caller in usable if near in (caller.segment, caller.site)][:1]
        found = (_of_version(caller.addresses, mark.address.version) for caller in chosen)
        return list(dict.fromkeys(address for address in found if address is not None))

    def _probe(
        self,
        attack: Attack,
        place: Place,
        source: Address,
        mark: Mark,
        *,
        interface: str = "",
        source_mac: str = "",
        destination_mac: str = "",
    ) -> Iterator[Probe]:
        """The probe, unless a flow of the declaration covers it."""
        if source.version != mark.address.version or source == mark.address:
            return
        standing = self.declaration.standing(place, source, mark.address, _protocol(mark.kind), mark.port)
        if standing is not Standing.UNDECLARED and mark.kind is not Kind.TCP_PIECE:
            return
        own_mac, next_mac = self._macs(place, mark)
        yield Probe(
            attack,
            place,
            interface,
            source,
            source_mac or own_mac,
            mark.address,
            destination_mac or next_mac,
            mark.kind,
            mark.port,
            mark.target,
        )

    def _macs(self, place: Place, mark: Mark) -> tuple[str, str]:
        """The honest sender's MAC address, and that of the next hop."""
        if place.kind is PlaceKind.HOST:
            host = self.environment.hosts[place.name]
            return host.mac, self._gateway_mac[host.segment]
        if place.kind is PlaceKind.ROUTER:
            host = self.environment.hosts[mark.target]
            own = self.environment.routers[place.name].site
            if host.site == own:
                return self._gateway_mac[host.segment], host.mac
            return topology.backbone_mac(self.environment, own), topology.backbone_mac(self.environment, host.site)
        leg_mac = topology.mac_address(self.environment.name, "provider-leg", place.name)
        return topology.provider_mac(self.environment, place.name), leg_mac


def _marks(environment: Environment, host: Host) -> Iterator[Mark]:
    """Everything served on a host, and a spread of closed ports, in both families."""
    for address in host.addresses:
        served: set[tuple[Kind, int]] = set()
        for name in host.services:
            service = environment.services[name]
            for ports in service.ports:
                served |= {(Kind(service.protocol), port) for port in {ports.first, ports.last}}
        closed = {(Kind.TCP, port) for port in CLOSED_TCP} | {(Kind.UDP, port) for port in CLOSED_UDP}
        every = served | closed | {(Kind.ICMP, 0), (Kind.OTHER, 0)}
        for kind, port in sorted(every):
            yield Mark(address, kind, port, host.name, (kind, port) in served)


def _protocol(kind: Kind) -> Protocol:
    """The protocol that a flow would have to name; nothing names other ones, so UDP port 0 stands for them."""
    if kind in (Kind.TCP, Kind.TCP_PIECE, *CUTS):
        return Protocol.TCP
    return Protocol.ICMP if kind is Kind.ICMP else Protocol.UDP


def _serves(environment: Environment, name: str, protocol: Protocol, port: int) -> bool:
    service = environment.services[name]
    if service.protocol is not protocol:
        return False
    return protocol is Protocol.ICMP or any(ports.first <= port <= ports.last for ports in service.ports)


def _of_version(addresses: tuple[Address, ...], version: int) -> Address | None:
    return next((address for address in addresses if address.version == version), None)


def outsider(mark: Mark, number: int) -> Address:
    """An address on the internet for one probe: another one from probe to probe."""
    return OUTSIDE[mark.address.version] + (int(mark.address) * 61 + mark.port + number) % OUTSIDERS
