"""What a site's routers have on which leg: which sources are true there, under which MAC address."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ringfort.environment.model import Environment
from ringfort.environment.topology import BACKBONE, Leg, backbone_mac, internal_networks, legs
from ringfort.proof.addresses import key_of, key_range
from ringfort.proof.declared import outside_ranges
from ringfort.proof.expand import FULL, SOURCE_MAC
from ringfort.proof.fields import name_value
from ringfort.proof.layers import Span, beyond, cut, number_of

Names = frozenset[int]
"""Interfaces, as numbers of their names."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """A site as its routers see it. Legs are known by the number of their interface's name.

    Attributes:
        legs: the legs.
        behind: for each leg the ranges of addresses that are reached through it.
        holder: key of each host of any site -> the leg it comes by, and the MAC address it comes under.
        hosts: for a segment's leg its hosts, as (key, MAC address).
        sites: the other sites, as (blocks, MAC address on the backbone).
        outside: the sources that may be true on the internet; ``inside``: the environment's own networks.
    """

    legs: dict[int, Leg]
    behind: dict[int, list[Span]]
    holder: dict[int, tuple[int, int]]
    hosts: dict[int, list[tuple[int, int]]]
    sites: list[tuple[list[Span], int]]
    outside: list[Span]
    inside: list[Span]

    @property
    def all(self) -> Names:
        """Every leg."""
        return frozenset(self.legs)

    def has_provider(self, names: Names) -> bool:
        """Whether one of the legs leads to the internet."""
        return any(self.legs[name].kind == "provider" for name in names)

    def true_sources(self, source: Span, arriving: Names, macs: Span) -> Iterator[Span]:
        """The part of a range of sources whose true way in is one of ``arriving``, under one of ``macs``."""
        if source[0] == source[1] and source[0] in self.holder:
            leg, mac = self.holder[source[0]]
            if leg in arriving and macs[0] <= mac <= macs[1]:
                yield source
        elif arriving == self.all and macs == FULL[SOURCE_MAC]:
            yield source
        else:
            for name in sorted(arriving):
                yield from self._true_on_leg(source, name, macs)

    def _true_on_leg(self, source: Span, name: int, macs: Span) -> Iterator[Span]:
        kind = self.legs[name].kind
        if kind == "provider" or (kind == "segment" and macs == FULL[SOURCE_MAC]):
            yield from cut(source, self.behind[name])
        elif kind == "segment":
            for key, mac in self.hosts.get(name, ()):
                if source[0] <= key <= source[1] and macs[0] <= mac <= macs[1]:
                    yield key, key
        else:
            for blocks, mac in self.sites:
                if macs[0] <= mac <= macs[1]:
                    yield from cut(source, blocks)

    def untrue_sources(self, source: Span, arriving: Names) -> Iterator[Span]:
        """The part of a range of sources that comes from a provider and cannot be true there."""
        if self.has_provider(arriving):
            yield from beyond(source, self.outside)

    def destinations(self, destination: Span, leaving: Names) -> Iterator[Span]:
        """The part of a range of inside destinations that is reached through ``leaving``."""
        if leaving == self.all:
            yield destination
            return
        for name in sorted(leaving):
            if self.legs[name].kind != "provider":
                yield from cut(destination, self.behind[name])


def surroundings(environment: Environment, site: str) -> Surroundings:
    """A site as its routers see it."""
    found = {name_value(leg.interface): leg for leg in legs(environment, site)}
    by_peer = {leg.peer: number for number, leg in found.items()}
    others = [other for other in environment.sites.values() if other.name != site]
    outside = sorted([*outside_ranges(environment, 4), *outside_ranges(environment, 6)])
    blocks_of = {other.name: [key_range(block) for block in other.blocks] for other in others}
    behind: dict[int, list[Span]] = {}
    for number, leg in found.items():
        if leg.kind == "segment":
            behind[number] = [key_range(network) for network in environment.segments[leg.peer].networks]
        else:
            elsewhere = [block for blocks in blocks_of.values() for block in blocks]
            behind[number] = outside if leg.kind == "provider" else elsewhere
    holder: dict[int, tuple[int, int]] = {}
    hosts: dict[int, list[tuple[int, int]]] = {}
    for host in environment.hosts.values():
        here = host.site == site
        number = by_peer.get(host.segment if here else BACKBONE, -1)
        mac = number_of(host.mac if here else backbone_mac(environment, host.site))
        for address in host.addresses:
            holder[key_of(address)] = number, mac
            if here:
                hosts.setdefault(number, []).append((key_of(address), mac))
    sites = [(blocks_of[other.name], number_of(backbone_mac(environment, other.name))) for other in others]
    inside = [key_range(network) for network in internal_networks(environment)]
    return Surroundings(found, behind, holder, hosts, sites, outside, inside)
