"""A router's ruleset, as the layer it is: what it forwards of packets that arrive where they belong, and what strays.

A packet's true way in follows from its source: a host of the router's site comes by its segment's leg under its own MAC
address, a host of another site by the backbone under that site's, anyone else by a provider. So acceptance is told in
sources, destinations and services alone, and what is accepted against that is told apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ringfort.environment.model import Address, Environment, PortRange, PublishedService, Router
from ringfort.environment.topology import interface_name
from ringfort.proof.addresses import key_of
from ringfort.proof.boxes import service_ranges
from ringfort.proof.execute import Result, execute
from ringfort.proof.expand import (
    DESTINATION,
    IIF,
    OIF,
    PORT,
    PROTOCOL,
    SOURCE,
    SOURCE_MAC,
    Box,
    ElementsOf,
    by_interface,
    essential,
    fill_in,
    services_of,
    skeleton,
)
from ringfort.proof.fields import CT_STATE, DPORT, IIFNAME, OIFNAME, SPORT, CtState, Universe, name_value
from ringfort.proof.hooks import Hook, hooks
from ringfort.proof.layers import (
    IP_UNIVERSES,
    DoubtfulRule,
    RouterLayer,
    Span,
    Translation,
    Triple,
    beyond,
    spans,
    version_of,
)
from ringfort.proof.packets import PacketSet, everything, where
from ringfort.proof.read_host import accepts_stray, doubtful, goes_on
from ringfort.proof.ruleset import Ruleset
from ringfort.proof.structure import Executions, new_connections
from ringfort.proof.surroundings import Names, Surroundings
from ringfort.proof.variables import Space


@dataclass(slots=True)
class RouterReader:
    """Reads the rulesets of one site's routers."""

    environment: Environment
    around: Surroundings
    executions: Executions = field(default_factory=Executions)

    def read(self, router: Router, ruleset: Ruleset) -> RouterLayer:
        """The router's layer.

        Raises:
            NotPlainError: see `ringfort.proof.expand`; the executions then have to do without opaque lookups.
        """
        layer = RouterLayer()
        doubts: dict[DoubtfulRule, None] = {}
        for universe in IP_UNIVERSES:
            reading = _Reading(self, router, ruleset, universe, layer)
            for result in (reading.forward(), reading.prerouting(), reading.input()):
                doubts |= dict.fromkeys(doubtful(result))
        layer.doubts = tuple(doubts)
        return layer


class _Reading:
    """One router's ruleset in one universe."""

    def __init__(
        self, reader: RouterReader, router: Router, ruleset: Ruleset, universe: Universe, layer: RouterLayer
    ) -> None:
        self.around = reader.around
        self.router, self.ruleset, self.universe, self.layer = router, ruleset, universe, layer
        self.executions = reader.executions
        self.elements: ElementsOf = reader.executions.elements_in(ruleset)
        self.hosts = reader.environment.hosts
        self.published = [
            p
            for p in reader.environment.published
            if p.address.version == version_of(universe)
            and reader.environment.providers[p.provider].site == router.site
        ]
        self.services = reader.environment.services

    def run(self, *names: str) -> Result:
        return self.executions.run(self.ruleset, self.router.name, self.way(*names), self.universe)

    def way(self, *names: str) -> tuple[Hook, ...]:
        """The hooks of a way that begins on an interface."""
        ingress = [hook for hook in hooks(self.ruleset) if hook.name == "ingress"]
        return (*ingress[:1], Hook("prerouting"), *map(Hook, names))

    def forward(self) -> Result:
        """New connections through the router."""
        result = self.run("forward", "postrouting")
        accepted = new_connections(result, result.may)
        kept = accepted & _untranslated(result)
        self.layer.source_translation |= not accepted <= result.unchanged(result.space.fields["saddr"])
        self.layer.stray |= accepts_stray(result, everything(result.space), accepted)
        self.layer.mute |= bool(accepted) and not goes_on(result, everything(result.space))
        for box, arriving, leaving in self.boxes(result, kept):
            self.take_forwarded(box, arriving, leaving)
        self.take_published(result, accepted - kept)
        return result

    def boxes(self, result: Result, packets: PacketSet) -> Iterator[tuple[Box, Names, Names]]:
        """The boxes of a set, each with the legs by which it may come and go."""
        packets = essential(result, packets)
        for by_way_in, ways_in in by_interface(packets, IIFNAME, self.around.legs):
            for rest, ways_out in by_interface(by_way_in, OIFNAME, self.around.legs):
                for box in fill_in(skeleton(result, rest), self.elements):
                    arriving, leaving = _narrowed(ways_in, box[IIF]), _narrowed(ways_out, box[OIF])
                    if arriving and leaving:
                        yield box, arriving, leaving

    def take_forwarded(self, box: Box, arriving: Names, leaving: Names) -> None:
        """What is forwarded as it came."""
        source, destination = spans(box, self.universe)
        services = list(services_of(box))
        sources = list(self.around.true_sources(source, arriving, box[SOURCE_MAC]))
        untrue = list(self.around.untrue_sources(source, arriving))
        for there in self.around.destinations(destination, leaving):
            self.layer.forwarded += _triples(sources, there, services)
            self.layer.untrue += _triples(untrue, there, services)
        if self.around.has_provider(leaving):
            for there in beyond(destination, self.around.inside):
                self.layer.leaving += _triples(sources, there, services)

    def take_published(self, result: Result, packets: PacketSet) -> None:
        """What is forwarded after translation: to where it was declared, then to any host at all."""
        if not packets:
            return
        for one in self.published:
            target = (key_of(_target(self.hosts[one.host].addresses, one)),) * 2
            ports = (PortRange(one.target_port, one.target_port),)
            services = service_ranges(self.services[one.service].protocol, ports, one.address.version)
            for box, arriving, _ in self.boxes(result, packets & self.declared(result, one)):
                self.take_translated(box, arriving, target, services)
            packets = packets - self.declared(result, one)
        for box, arriving, _ in self.boxes(result, packets):
            for key, port in self.targets_of(box, arriving):
                first, last = box[PROTOCOL]
                services = ((first << 16, last << 16 | 0xFFFF) if port is None else (first << 16 | port,) * 2,)
                self.take_translated(box, arriving, (key, key), services)

    def take_translated(self, box: Box, arriving: Names, target: Span, services: Iterable[Span]) -> None:
        """What arrives in ``box`` is forwarded to ``target``."""
        source, _ = spans(box, self.universe)
        services = list(services)
        self.layer.forwarded += _triples(self.around.true_sources(source, arriving, box[SOURCE_MAC]), target, services)
        self.layer.untrue += _triples(self.around.untrue_sources(source, arriving), target, services)

    def declared(self, result: Result, one: PublishedService) -> PacketSet:
        """The packets to a published address that leave for its host and port."""
        space, names = result.space, result.space.fields
        protocol = self.services[one.service].protocol
        port = PortRange(one.port, one.port)
        ((first, last),) = service_ranges(protocol, (port,), one.address.version)
        leg = name_value(interface_name(one.provider.split("/")[1]))
        packets = where(space, IIFNAME, (leg, leg)) & where(space, names["daddr"], (int(one.address),) * 2)
        packets &= where(space, names["l4proto"], (first >> 16,) * 2)
        target = int(_target(self.hosts[one.host].addresses, one))
        packets &= result.leaving_with(names["daddr"], (target, target))
        if not one.port:
            return packets & where(space, SPORT, (first & 0xFFFF, last & 0xFFFF))
        return packets & where(space, DPORT, (one.port,) * 2) & result.leaving_with(DPORT, (one.target_port,) * 2)

    def prerouting(self) -> Result:
        """Translations that nobody declared, whether or not the filter then lets them through."""
        result = self.run()
        rest = new_connections(result, result.may) - _untranslated(result)
        for one in self.published:
            rest = rest - self.declared(result, one) if rest else rest
        simple = essential(result, rest)
        for packets, names in by_interface(simple, IIFNAME, self.around.legs):
            for box in fill_in(skeleton(result, packets), self.elements):
                for name in sorted(_narrowed(names, box[IIF])):
                    _, destination = spans(box, self.universe)
                    service = next(iter(services_of(box)))
                    leg = self.around.legs[name].interface
                    target, port = next(self.targets_of(box, frozenset((name,))), (None, None))
                    self.layer.translations.append(Translation(leg, destination[0], service[0], target, port))
        return result

    def targets_of(self, box: Box, arriving: Names) -> Iterator[tuple[int, int | None]]:
        """Where what arrives in ``box`` is translated to, as (key of a host, port or None for several).

        Executed element by element: opaque lookups would not say which of a map's translations it is.
        """
        result = self.exactly(box, arriving)
        destination = result.space.fields["daddr"]
        for host in self.hosts.values():
            for address in host.addresses:
                if address.version == version_of(self.universe):
                    here = result.leaving_with(destination, (int(address),) * 2)
                    if here - result.unchanged(destination):
                        yield key_of(address), _port_of(result, here)

    def exactly(self, box: Box, arriving: Names) -> Result:
        """What becomes of the packets of a box before they are routed."""
        space = Space(self.universe)
        packets = where(space, IIFNAME, *((name, name) for name in sorted(arriving)))
        names = space.fields
        for field_, place in ((names["saddr"], SOURCE), (names["daddr"], DESTINATION), (names["l4proto"], PROTOCOL)):
            packets = packets & where(space, field_, box[place])
        packets = packets & where(space, DPORT, box[PORT]) & where(space, CT_STATE, (CtState.NEW, CtState.NEW))
        return execute(self.ruleset, self.way(), self.universe, space=space, start=packets)

    def input(self) -> Result:
        """What the router accepts for itself."""
        result = self.run("input")
        accepted = new_connections(result, result.may)
        for rest, names in by_interface(essential(result, accepted), IIFNAME, self.around.legs):
            for box in fill_in(skeleton(result, rest), self.elements):
                if _narrowed(names, box[IIF]):
                    source, destination = spans(box, self.universe)
                    self.layer.own += _triples([source], destination, list(services_of(box)))
        legs = where(result.space, IIFNAME, *((name, name) for name in sorted(self.around.legs)))
        self.layer.stray |= accepts_stray(result, legs, accepted & legs)
        return result


def _port_of(result: Result, packets: PacketSet) -> int | None:
    """The one port that packets leave for, if it is one."""
    low, high = 0, 0xFFFF
    while low < high:
        middle = (low + high) // 2
        if not packets & result.leaving_with(DPORT, (low, middle)):
            low = middle + 1
        elif packets & result.leaving_with(DPORT, (middle + 1, high)):
            return None
        else:
            high = middle
    return low


def _triples(sources: Iterable[Span], destination: Span, services: Iterable[Span]) -> list[Triple]:
    services = list(services)
    return [(source, destination, service) for source in sources for service in services]


def _target(addresses: Iterable[Address], one: PublishedService) -> Address:
    return next(address for address in addresses if address.version == one.address.version)


def _untranslated(result: Result) -> PacketSet:
    return result.unchanged(result.space.fields["daddr"]) & result.unchanged(DPORT)


def _narrowed(names: Iterable[int], interval: Span) -> Names:
    return frozenset(name for name in names if interval[0] <= name <= interval[1])
