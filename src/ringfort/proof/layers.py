"""What each device's rules say, reduced to what the proof asks: acceptance as ranges, and what strays from the role.

Ranges are of address keys (`ringfort.proof.addresses`) and service numbers (`ringfort.proof.boxes`), inclusive.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from ringfort.environment.model import Address, Environment
from ringfort.proof.addresses import FAMILIES, IPV6_BASE
from ringfort.proof.expand import DESTINATION, SOURCE, Box
from ringfort.proof.fields import Universe
from ringfort.proof.ruleset import Doubt

Span = tuple[int, int]
Triple = tuple[Span, Span, Span]
"""Sources, destinations, services."""

IP_UNIVERSES = (Universe.IP, Universe.IP6)


@dataclass(frozen=True, slots=True)
class DoubtfulRule:
    """A rule that was followed both ways, in words."""

    place: str
    text: str
    reason: str
    state: bool  # decided by what happened before (a limit, a set that packets fill), and not unread


@dataclass(frozen=True, slots=True)
class Translation:
    """Packets to ``destination`` and ``service`` (first of each) that leave for ``target`` and ``target_service``."""

    interface: str
    destination: int
    service: int
    target: int | None
    target_service: int | None


@dataclass(slots=True)
class HostLayer:
    """A host's own firewall.

    Attributes:
        incoming: what it accepts of new connections through its interface, whichever MAC address they claim.
        only_direct: the part of that which is refused when it comes from the gateway.
        outgoing: what it lets out.
        stray: whether it accepts, of what is no new connection, more than replies.
        mute: whether it begins or takes connections and then refuses what belongs to them, so that none comes about.
    """

    incoming: list[Triple] = field(default_factory=list)
    only_direct: list[Triple] = field(default_factory=list)
    outgoing: list[Triple] = field(default_factory=list)
    stray: bool = False
    mute: bool = False
    doubts: tuple[DoubtfulRule, ...] = ()


@dataclass(slots=True)
class SandboxLayer(HostLayer):
    """The filter around an instance, as its host firewall; incoming and outgoing are the guest's.

    Attributes:
        foreign: what it lets out under an address that is not the guest's, or under another MAC address only.
        own: what it accepts for itself.
    """

    foreign: list[Triple] = field(default_factory=list)
    own: list[Triple] = field(default_factory=list)


@dataclass(slots=True)
class RouterLayer:
    """A router's filter.

    Attributes:
        forwarded: what it forwards of new connections that arrive where their source belongs; for published services
            with the destination after translation.
        untrue: what it forwards of sources that cannot be true on the internet, from a provider.
        leaving: what it forwards to the internet.
        own: what it accepts for itself.
        translations: every translation of destinations; ``source_translation`` if it changes sources.
        stray, mute: as for a host.
    """

    forwarded: list[Triple] = field(default_factory=list)
    untrue: list[Triple] = field(default_factory=list)
    leaving: list[Triple] = field(default_factory=list)
    own: list[Triple] = field(default_factory=list)
    translations: list[Translation] = field(default_factory=list)
    source_translation: bool = False
    stray: bool = False
    mute: bool = False
    doubts: tuple[DoubtfulRule, ...] = ()


@dataclass(frozen=True, slots=True)
class PortHole:
    """A port that lets its host say what is not its own.

    ``kind``: ``source`` (another's address, to a router), ``neighbour`` (straight to another host), ``arp`` (another's
    address in ARP) or ``protocol`` (another Ethernet protocol). ``mac`` is the range of source MAC addresses.
    """

    kind: str
    host: str
    towards: str
    mac: Span
    packets: Triple


@dataclass(slots=True)
class SwitchLayer:
    """A segment's port security.

    Attributes:
        sent: for each host what its port accepts of its own packets towards every router's port.
        delivered: for each host what reaches it from every router's port.
        holes: what ports let through besides.
    """

    sent: dict[str, list[Triple]] = field(default_factory=dict)
    delivered: dict[str, list[Triple]] = field(default_factory=dict)
    holes: list[PortHole] = field(default_factory=list)
    doubts: tuple[DoubtfulRule, ...] = ()


def key_span(box: Box, place: int, universe: Universe) -> Span:
    """A coordinate of addresses as keys."""
    first, last = box[place]
    if universe is Universe.IP6:
        return IPV6_BASE + first, IPV6_BASE + last
    return first, min(last, IPV6_BASE - 1)


def spans(box: Box, universe: Universe) -> tuple[Span, Span]:
    """Source and destination of a box as keys."""
    return key_span(box, SOURCE, universe), key_span(box, DESTINATION, universe)


def meet(a: Span, b: Span) -> Span | None:
    """What two ranges share."""
    low, high = max(a[0], b[0]), min(a[1], b[1])
    return (low, high) if low <= high else None


def cut(span: Span, by: Iterable[Span]) -> Iterator[Span]:
    """The parts of a range that lie in one of several."""
    for other in by:
        shared = meet(span, other)
        if shared:
            yield shared


def beyond(span: Span, inside: Iterable[Span]) -> Iterator[Span]:
    """The parts of a range outside all of several disjoint ones."""
    first, last = span
    for low, high in sorted(inside):
        if high < first or low > last:
            continue
        if low > first:
            yield first, low - 1
        first = high + 1
        if first > last:
            return
    yield first, last


def covers(triples: Iterable[Triple], wanted: Triple) -> bool:
    """Whether the union of boxes holds a whole box."""
    return not lacking(wanted, triples)


def lacking(wanted: Triple, triples: Iterable[Triple]) -> list[Triple]:
    """What is left of a box outside the union of others."""
    left = [wanted]
    for triple in triples:
        left = [piece for one in left for piece in _less(one, triple)]
        if not left:
            break
    return left


def _less(box: Triple, other: Triple) -> Iterator[Triple]:
    shared = [meet(a, b) for a, b in zip(box, other, strict=True)]
    if None in shared:
        yield box
        return
    rest = list(box)
    for place, part in enumerate(shared):
        assert part is not None
        for piece in beyond(rest[place], [part]):
            yield (*rest[:place], piece, *rest[place + 1 :])  # type: ignore[misc]
        rest[place] = part


def family_of(key: int) -> Span:
    """The range of keys of a key's address family."""
    return FAMILIES[key >= IPV6_BASE]


def version_of(universe: Universe) -> int:
    """The IP version of a universe."""
    return 4 if universe is Universe.IP else 6


def number_of(mac: str) -> int:
    """A MAC address as a number."""
    return int(mac.replace(":", ""), 16)


def holder_of(environment: Environment, address: Address | IPv4Address | IPv6Address) -> str:
    """The host that has an address, or ""."""
    return next((host.name for host in environment.hosts.values() if address in host.addresses), "")


def is_state(doubt: Doubt) -> bool:
    """Whether a doubt is about state rather than about a rule that was not understood."""
    return doubt is Doubt.STATE
