"""A switch's ruleset, as port security: what each port says in its own name, what it is given, and what strays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ringfort.environment.floating import ports_of
from ringfort.environment.model import Environment, Held, Host
from ringfort.environment.topology import gateway_addresses, gateway_mac, ports
from ringfort.proof.addresses import key_of
from ringfort.proof.boxes import ALL_SERVICES
from ringfort.proof.execute import Result
from ringfort.proof.expand import (
    ARP_MAC,
    DESTINATION_MAC,
    IIF,
    OIF,
    SOURCE,
    SOURCE_MAC,
    Box,
    by_interface,
    essential,
    fill_in,
    services_of,
    skeleton,
)
from ringfort.proof.fields import IIFNAME, OIFNAME, Universe, name_value
from ringfort.proof.hooks import Hook, Layer
from ringfort.proof.layers import (
    IP_UNIVERSES,
    DoubtfulRule,
    PortHole,
    Span,
    SwitchLayer,
    Triple,
    beyond,
    meet,
    number_of,
    spans,
)
from ringfort.proof.read_host import doubtful
from ringfort.proof.ruleset import Ruleset
from ringfort.proof.structure import ADDRESS_STAND_IN, STAND_IN, Executions, stands_in_exactly, structure, with_stand_in

NOTHING: Triple = ((0, 0), (0, 0), ALL_SERVICES)
"""In place of packets, where a hole is not about IP."""


@dataclass(slots=True)
class SwitchReader:
    """Reads switches' rulesets."""

    environment: Environment
    executions: Executions = field(default_factory=Executions)

    def read(self, segment: str, ruleset: Ruleset) -> SwitchLayer:
        """The switch's layer.

        Raises:
            NotPlainError: see `ringfort.proof.expand`; the executions then have to do without opaque lookups.
        """
        reading = _Reading(self.environment, segment)
        doubts: dict[DoubtfulRule, None] = {}
        if stands_in_exactly(ruleset, reading.gateway):
            ruleset = with_stand_in(ruleset, reading.gateway, reading.gateway_address)
            reading.gateway = STAND_IN
        key = structure(ruleset) if self.executions.opaque else segment
        elements = self.executions.elements_in(ruleset)
        way = tuple(Hook(name, Layer.BRIDGE) for name in ("prerouting", "forward", "postrouting"))
        for universe in Universe:
            result = self.executions.run(ruleset, key, way, universe)
            doubts |= dict.fromkeys(doubtful(result))
            for box, arriving, leaving in _boxes(result, reading.names, elements):
                reading.take(box, arriving, leaving, universe)
        reading.layer.doubts = tuple(doubts)
        return reading.finish()


def _boxes(result: Result, names: Iterable[int], elements: object) -> Iterator[tuple[Box, list[int], list[int]]]:
    for by_way_in, ways_in in by_interface(essential(result, result.may), IIFNAME, names):
        for rest, ways_out in by_interface(by_way_in, OIFNAME, names):
            for box in fill_in(skeleton(result, rest), elements):  # type: ignore[arg-type]
                arriving = [name for name in ways_in if box[IIF][0] <= name <= box[IIF][1]]
                leaving = [name for name in ways_out if box[OIF][0] <= name <= box[OIF][1]]
                if arriving and leaving:
                    yield box, arriving, leaving


class _Reading:
    """One switch: its ports, and its layer as it is filled."""

    def __init__(self, environment: Environment, segment: str) -> None:
        self.routers: set[int] = set()
        self.hosts: dict[int, Host] = {}
        for port in ports(environment, segment):
            if port.router:
                self.routers.add(name_value(port.interface))
            else:
                self.hosts[name_value(port.interface)] = environment.hosts[port.host]
        self.floating: dict[int, list[Held]] = {}
        """The floating addresses that may be at a port, besides its host's own."""
        for name in environment.hosts_by_segment[segment]:
            held = environment.hosts[name]
            if isinstance(held, Held):
                for port_name in ports_of(held):
                    self.floating.setdefault(name_value(port_name), []).append(held)
        self.gateway = number_of(gateway_mac(environment, segment))
        v4 = [int(address) for address in gateway_addresses(environment, segment) if address.version == 4]
        self.gateway_address = v4[0] if v4 else None
        self.layer = SwitchLayer()
        self.sent: dict[str, dict[int, set[Triple]]] = {}
        self.delivered: dict[str, dict[int, set[Triple]]] = {}
        self._holes: set[PortHole] = set()

    @property
    def names(self) -> list[int]:
        return [*self.routers, *self.hosts]

    def at(self, port: int) -> Iterator[Host]:
        """The host of a port, and the floating addresses that it holds."""
        if port in self.hosts:
            yield self.hosts[port]
            yield from (one for one in self.floating.get(port, ()) if one.holder == self.hosts[port].name)

    def take(self, box: Box, arriving: list[int], leaving: list[int], universe: Universe) -> None:
        """What the switch lets through in one box."""
        for name in arriving:
            host = self.hosts.get(name)
            if host is None:
                self.take_delivered(box, name, leaving, universe)
            elif universe in IP_UNIVERSES:
                for router in self.routers.intersection(leaving):
                    self.take_sent(box, name, router, universe)
                self.take_direct(box, host, leaving, universe)
            else:
                self.take_other(box, name, universe)

    def take_delivered(self, box: Box, router: int, leaving: list[int], universe: Universe) -> None:
        """From a router to hosts, at their own addresses."""
        if universe not in IP_UNIVERSES or not _has(box[SOURCE_MAC], self.gateway):
            return
        source, destination = spans(box, universe)
        for name in leaving:
            for host in self.at(name):
                if _has(box[DESTINATION_MAC], number_of(host.mac)):
                    delivered = self.delivered.setdefault(host.name, {}).setdefault(router, set())
                    for key in _own(host, destination):
                        delivered.update((source, (key, key), service) for service in services_of(box))

    def take_sent(self, box: Box, port: int, router: int, universe: Universe) -> None:
        """From a host to a router: its own packets, and what is not its own."""
        if not _has(box[DESTINATION_MAC], self.gateway):
            return
        source, destination = spans(box, universe)
        services = list(services_of(box))
        for host in self.at(port):
            if _has(box[SOURCE_MAC], number_of(host.mac)):
                sent = self.sent.setdefault(host.name, {}).setdefault(router, set())
                sent.update(((key, key), destination, service) for key in _own(host, source) for service in services)
        allowed = [(key, key) for host in self.allowed(port) for key in _own(host, source)]
        for rest in beyond(source, allowed):
            for service in services:
                sender = self.hosts[port].name
                self.hole(PortHole("source", sender, "", box[SOURCE_MAC], (rest, destination, service)))

    def allowed(self, port: int) -> tuple[Host, ...]:
        """In whose name a port may speak: its host's, and floating addresses' that may be there."""
        return self.hosts[port], *self.floating.get(port, ())

    def finish(self) -> SwitchLayer:
        """The layer, with what holds whichever router is active."""
        for all_, there in ((self.sent, self.layer.sent), (self.delivered, self.layer.delivered)):
            for host, by_router in all_.items():
                if len(by_router) == len(self.routers):
                    there[host] = list(_common(list(by_router.values())))
        return self.layer

    def take_direct(self, box: Box, host: Host, leaving: list[int], universe: Universe) -> None:
        """From a host straight to another."""
        source, destination = spans(box, universe)
        for name in leaving:
            if self.hosts.get(name) is host:
                continue
            for other in self.at(name):
                for key in _own(other, destination) if _reaches(box[DESTINATION_MAC], number_of(other.mac)) else ():
                    for service in services_of(box):
                        packets = (source, (key, key), service)
                        self.hole(PortHole("neighbour", host.name, other.name, box[SOURCE_MAC], packets))

    def take_other(self, box: Box, port: int, universe: Universe) -> None:
        """From a host, and not IP: ARP in its own name is all there may be."""
        host = self.hosts[port]
        if universe is Universe.OTHER:
            self.hole(PortHole("protocol", host.name, "", box[SOURCE_MAC], NOTHING))
            return
        own = {
            (int(address), number_of(one.mac))
            for one in self.allowed(port)
            for address in one.addresses
            if address.version == 4
        }
        first, last = (self.gateway_address or 0,) * 2 if box[SOURCE] == (ADDRESS_STAND_IN,) * 2 else box[SOURCE]
        mac = box[SOURCE_MAC][0]
        named = first == last and (first, mac) in own
        if not (named and box[SOURCE_MAC] == (mac, mac) and box[ARP_MAC] == (mac, mac)):
            packets = ((first, min(last, 0xFFFFFFFF)), NOTHING[1], NOTHING[2])
            self.hole(PortHole("arp", host.name, "", box[SOURCE_MAC], packets))

    def hole(self, hole: PortHole) -> None:
        """Remember a hole once."""
        if hole not in self._holes:
            self._holes.add(hole)
            self.layer.holes.append(hole)


def _common(sets: list[set[Triple]]) -> set[Triple]:
    """What all sets of boxes hold."""
    common = sets[0]
    for other in sets[1:]:
        if other != common:
            pairs = ((meet(a[0], b[0]), meet(a[1], b[1]), meet(a[2], b[2])) for a in common for b in other)
            common = {(x, y, z) for x, y, z in pairs if x and y and z}
    return common


def _has(span: Span, value: int) -> bool:
    return span[0] <= value <= span[1]


def _reaches(span: Span, mac: int) -> bool:
    """Whether a frame to one of these MAC addresses is taken by the host: its own, or a group's (IEEE 802, 8.2)."""
    first, last = span[0] >> 40, span[1] >> 40
    return _has(span, mac) or first != last or bool(first & 1)


def _own(host: Host, span: Span) -> list[int]:
    return [key for key in map(key_of, host.addresses) if meet(span, (key, key))]
