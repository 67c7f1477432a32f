"""Why a packet gets through or does not: hop by hop, in the words of the rules and of the file."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from ipaddress import ip_address
from itertools import product
from typing import Any

from ringfort.environment.floating import turns
from ringfort.environment.identity import IdentityCheck
from ringfort.environment.model import Address, Environment, Flow, Held, Host, Protocol, Service
from ringfort.environment.topology import Device, devices
from ringfort.errors import RingfortError
from ringfort.proof.reading import read_rulesets
from ringfort.proof.trail import Follower, Trail, guard_of, host_of, owner, somebody, stages, translated_host
from ringfort.proof.turns import seen
from ringfort.proof.verdict import Hop, Packet

PROTOCOLS = ("tcp", "udp", "icmp")


@dataclass(frozen=True, slots=True)
class Explanation:
    """One packet explained.

    Attributes:
        packet: as its sender makes it.
        path: every mechanism on its way, with what it does; also those after the first that refuses.
        possible: whether it arrives.
        certain: whether no rule that was not understood had a part in it.
        declared: the flow that declares it, as ``NAME (FILE:LINE:COLUMN)``; empty if none does.
        depth: how many owners refuse it; ``refusing`` their mechanisms.
        without: the mechanisms that were taken away.
        otherwise: other ways (routers) with another outcome, in words.
    """

    packet: Packet
    path: tuple[Hop, ...]
    possible: bool
    certain: bool
    declared: str
    depth: int
    refusing: tuple[str, ...]
    without: tuple[str, ...]
    otherwise: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """0 possible, 1 refused, 3 unknown."""
        return 3 if not self.certain else 0 if self.possible else 1

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``json.dumps``."""
        return asdict(self) | {"exit_code": self.exit_code}


@dataclass(frozen=True, slots=True)
class Ask:
    """A question in a person's words."""

    source: str
    destination: str
    service: str = ""
    without: tuple[str, ...] = ()
    version: int = 0


def explain(
    environment: Environment,
    rulesets: Mapping[Device, object],
    checks: Mapping[str, Sequence[IdentityCheck]],
    ask: Ask,
) -> Explanation:
    """Follow one packet.

    Raises:
        RingfortError: a name in the question is unknown (``unknown-name``) or the two ends share no address family.
    """
    views = [seen(environment, checks, turn) for turn in range(turns(environment))]
    environment, _ = views[0]
    packet, receiver = _packet(environment, ask)
    for name in ask.without:
        check_mechanism(environment, name)
    wanted = devices(environment)
    loaded = read_rulesets(wanted, rulesets)
    trails = [
        (f"{way}{_held(view, receiver, packet)}", trail)
        for view, own in (views if _held(environment, receiver, packet) else views[:1])
        for way, trail in _trails(view, Follower(view, loaded, own), packet, view.hosts[receiver.name], ask)
    ]
    _, trail = trails[0]
    otherwise = [
        f"over {routers} it {'arrives' if other.arrived else 'is refused by ' + ', '.join(other.refusing)}"
        for routers, other in trails[1:]
        if (other.arrived, len(other.refusing)) != (trail.arrived, len(trail.refusing))
    ]
    declared = declaring_flow(environment, packet, receiver)
    return Explanation(
        packet,
        trail.hops,
        trail.arrived,
        trail.certain,
        f"{declared.name} ({declared.origin})" if declared else "",
        len({owner(environment, name, receiver) for name in trail.refusing}),
        trail.refusing,
        ask.without,
        tuple(otherwise),
    )


def _held(environment: Environment, receiver: Host, packet: Packet) -> str:
    """Who holds the floating addresses at an end of the packet's way, in words; "" where there are none."""
    kind, _, name = packet.place.partition(":")
    ends = {receiver.name} | ({name} if kind == "host" else set())
    helds = [host for host in environment.hosts.values() if isinstance(host, Held) and host.name in ends]
    return "".join(f", with {held.name} at {held.holder}," for held in helds)


def _trails(
    environment: Environment, follower: Follower, packet: Packet, receiver: Host, ask: Ask
) -> Iterator[tuple[str, Trail]]:
    """The packet's way over each choice of active routers."""
    kind, _, name = packet.place.partition(":")
    start = environment.hosts[name].site if kind == "host" else name.split("/")[0]
    sites = dict.fromkeys(site for site in (start, receiver.site) if site in environment.sites)
    for choice in product(*(environment.sites[site].routers for site in sites)):
        routers = dict(zip(sites, choice, strict=True))
        way = stages(environment, packet, receiver, routers)
        known = packet.identity == "own"
        yield " and ".join(choice), follower.follow(packet, way, receiver, frozenset(ask.without), known=known)


def declaring_flow(environment: Environment, packet: Packet, receiver: Host) -> Flow | None:
    """The flow that declares a packet sent under its own address, if one does."""
    port = packet.port
    published = translated_host(environment, packet)
    if published is not None:
        port = published[2]
    kind, _, name = packet.place.partition(":")
    for flow in environment.flows.values():
        service = environment.services[flow.service]
        if receiver.name in service.hosts and _serves(service, packet.protocol, port):
            if kind == "internet" and flow.internet:
                return flow
            if kind == "host" and name in flow.callers and packet.identity == "own":
                return flow
    return None


def _serves(service: Service, protocol: str, port: int) -> bool:
    if service.protocol is Protocol.ICMP:
        return protocol in ("icmp", "icmpv6") and port in (8, 128)
    return service.protocol.value == protocol and any(p.first <= port <= p.last for p in service.ports)


# -- the question --------------------------------------------------------------------------------------------------


def _packet(environment: Environment, ask: Ask) -> tuple[Packet, Host]:
    """The packet that is asked about, and the host that gets it."""
    place, sender = _place(environment, ask.source)
    published, receiver, service = _receiver(environment, ask.destination, sender, ask)
    protocol, port = _protocol(ask, service)
    version = _version(ask, sender, receiver, published)
    source = _address(sender, version) if sender else somebody(environment, version)
    destination = published or _published(environment, place, receiver, protocol, port, version)
    destination = destination or _address(receiver, version)
    if protocol == "icmp":
        protocol, port = ("icmp", 8) if version == 4 else ("icmpv6", 128)
    if place.startswith("internet") and not host_of(environment, destination):
        place = _way_in(environment, place, destination)
    identity = "own" if sender else "none"
    packet = Packet(place, str(source), str(destination), protocol, port, "", identity)
    if destination != _address(receiver, version):
        packet = replace(packet, port=_outside_port(environment, packet, receiver))
    return packet, receiver


def _place(environment: Environment, text: str) -> tuple[str, Host | None]:
    kind, _, name = text.rpartition(":")
    if text == "internet" or kind == "internet":
        if name != "internet" and name not in environment.providers:
            raise unknown(name, environment.providers, "provider")
        provider = name if kind else next(iter(environment.providers), "")
        return f"internet:{provider}", None
    if kind == "router":
        if name not in environment.routers:
            raise unknown(name, environment.routers, "router")
        return f"router:{name}", None
    if name in environment.hosts and kind in ("", "host"):
        return f"host:{name}", environment.hosts[name]
    if name in environment.segments and kind in ("", "segment"):
        host = next((h for h in environment.hosts.values() if h.segment == name), None)
        if host is None:
            raise RingfortError("empty-segment", f"no host is in segment {name}", "name a host")
        return f"host:{host.name}", host
    if text in environment.routers:
        return f"router:{text}", None
    names = [*environment.hosts, *environment.segments, *(f"router:{name}" for name in environment.routers), "internet"]
    raise unknown(text, names, "place")


def _receiver(
    environment: Environment, text: str, sender: Host | None, ask: Ask
) -> tuple[Address | None, Host, Service | None]:
    name = text.removeprefix("host:").removeprefix("service:")
    if name in environment.hosts and not text.startswith("service:"):
        return None, environment.hosts[name], _service_of(environment, environment.hosts[name], ask)
    if name in environment.services:
        service = environment.services[name]
        others = [h for h in service.hosts if sender is None or h != sender.name]
        if not others:
            raise RingfortError("nobody-serves", f"no other host serves {name}", "name a host")
        return None, environment.hosts[others[0]], service
    try:
        address = ip_address(text)
    except ValueError:
        raise unknown(text, [*environment.hosts, *environment.services], "host or service") from None
    host = host_of(environment, address)
    if host is not None:
        return None, host, _service_of(environment, host, ask)
    published = [one for one in environment.published if one.address == address]
    if not published:
        raise RingfortError("nobody-there", f"no host has {address}, and nothing is published there", "name a host")
    wanted = [one for one in published if not ask.service or ask.service.endswith(f"/{one.port}")] or published
    return address, environment.hosts[wanted[0].host], environment.services[wanted[0].service]


def _service_of(environment: Environment, host: Host, ask: Ask) -> Service | None:
    return environment.services[host.services[0]] if host.services and not ask.service else None


def _protocol(ask: Ask, service: Service | None) -> tuple[str, int]:
    if not ask.service:
        if service is None:
            raise RingfortError("no-service", f"{ask.destination} serves nothing", "say which: tcp/443, udp/53 or icmp")
        return service.protocol.value, service.ports[0].first if service.ports else 0
    protocol, _, port = ask.service.partition("/")
    if protocol == "icmp" and not port:
        return "icmp", 0
    if protocol not in PROTOCOLS or not port.isdigit() or not 0 < int(port) < 65536:
        raise RingfortError("bad-service", f"{ask.service!r} is no protocol and port", "write tcp/443, udp/53 or icmp")
    return protocol, int(port)


def _version(ask: Ask, sender: Host | None, receiver: Host, published: Address | None) -> int:
    if published is not None:
        return published.version
    theirs = {a.version for a in receiver.addresses}
    shared = sorted(theirs & {a.version for a in sender.addresses} if sender else theirs)
    if not shared or (ask.version and ask.version not in shared):
        raise RingfortError("no-common-family", "the two ends have no address of one family", "choose other ends")
    return ask.version or shared[0]


def _address(host: Host, version: int) -> Address:
    return next(address for address in host.addresses if address.version == version)


def _published(
    environment: Environment, place: str, receiver: Host, protocol: str, port: int, version: int
) -> Address | None:
    """From the internet, a host is called at its published address if the service is published."""
    if not place.startswith("internet"):
        return None
    for one in environment.published:
        service = environment.services[one.service]
        same = one.host == receiver.name and one.address.version == version and service.protocol.value == protocol
        if same and one.target_port in (0, port):
            return one.address
    return None


def _outside_port(environment: Environment, packet: Packet, receiver: Host) -> int:
    for one in environment.published:
        if one.host == receiver.name and str(one.address) == packet.destination and one.target_port == packet.port:
            return one.port or packet.port
    return packet.port


def _way_in(environment: Environment, place: str, destination: Address) -> str:
    """The provider whose address is called."""
    found = next((one.provider for one in environment.published if one.address == destination), "")
    return f"internet:{found}" if found else place


def check_mechanism(environment: Environment, name: str) -> None:
    """Refuse a mechanism that is none.

    Raises:
        RingfortError: with the names that come near.
    """
    known = [f"router-filter:{router}" for router in environment.routers]
    known += [f"port-security:{segment}" for segment in environment.segments]
    known += dict.fromkeys(guard_of(host) for host in environment.hosts.values())
    known += [f"identity:{service}" for service in environment.services]
    if name not in known:
        raise unknown(name, known, "mechanism")


def unknown(name: str, names: Iterable[str], what: str) -> RingfortError:
    """An unknown name, with those that come near."""
    names = list(names)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names[:8])}"
    return RingfortError("unknown-name", f"there is no {what} {name!r}", hint)
