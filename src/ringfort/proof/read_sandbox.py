"""A sandbox's ruleset, as the layer it is: what its guest can send and be sent, and what strays from that.

A sandbox routes between two interfaces. Whatever frames a guest makes, only packets go on, in frames of the sandbox's
own: so its guest's MAC address decides nothing beyond it, and a rule that asks for another one is a hole.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field

from ringfort.environment.model import Environment, Host
from ringfort.environment.topology import SANDBOX_GUEST, SANDBOX_UPLINK, gateway_mac
from ringfort.proof.addresses import key_of
from ringfort.proof.execute import Result
from ringfort.proof.expand import SOURCE_MAC, Box, ElementsOf, Part, fill_in, services_of, skeleton
from ringfort.proof.fields import ETHER_SADDR, IIFNAME, OIFNAME, Universe, name_value
from ringfort.proof.hooks import Hook
from ringfort.proof.layers import IP_UNIVERSES, DoubtfulRule, SandboxLayer, Span, Triple, beyond, meet, number_of, spans
from ringfort.proof.packets import PacketSet, where
from ringfort.proof.read_host import accepts_stray, doubtful, goes_on
from ringfort.proof.ruleset import Ruleset
from ringfort.proof.structure import STAND_IN, Executions, new_connections, stands_in_exactly, structure, with_stand_in

GUEST, UPLINK = name_value(SANDBOX_GUEST), name_value(SANDBOX_UPLINK)
THROUGH = tuple(Hook(name) for name in ("prerouting", "forward", "postrouting"))
TO_ITSELF = tuple(Hook(name) for name in ("prerouting", "input"))


@dataclass(frozen=True, slots=True)
class _Ways:
    """What is accepted inward, outward and by the sandbox itself, before elements are put in."""

    inward: tuple[Part, ...]
    outward: tuple[Part, ...]
    stray: bool
    goes_on: bool


@dataclass(slots=True)
class SandboxReader:
    """Reads sandboxes' rulesets; what they have in common is worked out once."""

    environment: Environment
    executions: Executions = field(default_factory=Executions)
    _ways: dict[Hashable, _Ways] = field(default_factory=dict)
    _own: dict[Hashable, tuple[Part, ...]] = field(default_factory=dict)

    def read(self, host: Host, ruleset: Ruleset) -> SandboxLayer:
        """The layer of an instance's sandbox.

        Raises:
            NotPlainError: see `ringfort.proof.expand`; the executions then have to do without opaque lookups.
        """
        gateway = number_of(gateway_mac(self.environment, host.segment))
        if stands_in_exactly(ruleset, gateway):
            ruleset = with_stand_in(ruleset, gateway)
            gateway = STAND_IN
        key = structure(ruleset) if self.executions.opaque else host.name
        elements = self.executions.elements_in(ruleset)
        layer = SandboxLayer()
        doubts: dict[DoubtfulRule, None] = {}
        for universe in IP_UNIVERSES:
            through = self.executions.run(ruleset, key, THROUGH, universe)
            itself = self.executions.run(ruleset, key, TO_ITSELF, universe)
            for result in (through, itself):
                doubts |= dict.fromkeys(doubtful(result))
            ways = self._remember(through, (key, universe))
            layer.stray |= ways.stray
            layer.mute |= bool(ways.inward or ways.outward) and not ways.goes_on
            _Filling(layer, host, universe, elements).fill(ways)
            layer.own += _boxes(self._remember_own(itself, (key, universe)), universe, elements)
        layer.doubts = tuple(doubts)
        return layer

    def _remember(self, result: Result, key: Hashable) -> _Ways:
        known = self._ways.get(key)
        if known is None:
            inward, outward = _between(result, UPLINK, GUEST), _between(result, GUEST, UPLINK)
            fresh = [new_connections(result, result.may & way) for way in (inward, outward)]
            stray = any(accepts_stray(result, way, new) for way, new in zip((inward, outward), fresh, strict=True))
            parts = [skeleton(result, new.forget(IIFNAME).forget(OIFNAME)) for new in fresh]
            both = goes_on(result, inward) and goes_on(result, outward)
            known = self._ways[key] = _Ways(parts[0], parts[1], stray, both)
        return known

    def _remember_own(self, result: Result, key: Hashable) -> tuple[Part, ...]:
        known = self._own.get(key)
        if known is None:
            arriving = where(result.space, IIFNAME, (GUEST, GUEST), (UPLINK, UPLINK))
            fresh = new_connections(result, result.may & arriving).forget(IIFNAME).forget(ETHER_SADDR)
            known = self._own[key] = skeleton(result, fresh)
        return known


def _between(result: Result, iif: int, oif: int) -> PacketSet:
    return where(result.space, IIFNAME, (iif, iif)) & where(result.space, OIFNAME, (oif, oif))


@dataclass(frozen=True, slots=True)
class _Filling:
    """One sandbox's layer, filled with what its elements say in one universe."""

    layer: SandboxLayer
    host: Host
    universe: Universe
    elements: ElementsOf

    def fill(self, ways: _Ways) -> None:
        own = [key_of(a) for a in self.host.addresses if (a.version == 4) == (self.universe is Universe.IP)]
        for source, destination, service, _ in self.boxes(ways.inward):
            for key in own:
                if meet(destination, (key, key)):
                    self.layer.incoming.append((source, (key, key), service))
        mac = number_of(self.host.mac)
        for source, destination, service, macs in self.boxes(ways.outward):
            mine: list[Span] = [(key, key) for key in own if meet(source, (key, key))]
            if macs[0] <= mac <= macs[1]:
                self.layer.outgoing += [(end, destination, service) for end in mine]
                foreign = list(beyond(source, mine))
            else:
                foreign = [source]
            self.layer.foreign += [(end, destination, service) for end in foreign]

    def boxes(self, parts: tuple[Part, ...]) -> Iterator[tuple[Span, Span, Span, Span]]:
        """Sources, destinations, services, and the MAC addresses they are accepted under."""
        for box in fill_in(parts, self.elements):
            for source, destination, service in _triples(box, self.universe):
                yield source, destination, service, box[SOURCE_MAC]


def _boxes(parts: tuple[Part, ...], universe: Universe, elements: ElementsOf) -> list[Triple]:
    return [triple for box in fill_in(parts, elements) for triple in _triples(box, universe)]


def _triples(box: Box, universe: Universe) -> Iterator[Triple]:
    source, destination = spans(box, universe)
    for service in services_of(box):
        yield source, destination, service
