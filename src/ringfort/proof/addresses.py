"""All addresses as a short line of numbers, so that an IPv6 address fits in 32 bits and a range is two numbers.

An *address key* is an integer: an IPv4 address itself, an IPv6 address plus 2**32; so one line holds both families. An
*atom* is a stretch of that line which nothing in the question divides: every bound of every box, every host's address
and every network's edge is the edge of an atom. Atoms are numbered from 0 in order; that numbering loses nothing.

Every atom lies in one *zone*: a segment, or one of the three kinds of source that are nobody's segment.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

import numpy as np
from numpy.typing import NDArray

from ringfort.environment.model import Address, Environment, Network
from ringfort.environment.topology import internal_networks

IPV6_BASE = 1 << 32
"""Key of ``::``."""
END = IPV6_BASE + (1 << 128)
"""One past the last key."""
FAMILIES = ((0, IPV6_BASE - 1), (IPV6_BASE, END - 1))
"""First and last key of each family."""

Ints = NDArray[np.int32]


def key_of(address: Address) -> int:
    """The key of an address."""
    return int(address) if address.version == 4 else IPV6_BASE + int(address)


def address_of(key: int) -> Address:
    """The address of a key."""
    return IPv4Address(key) if key < IPV6_BASE else IPv6Address(key - IPV6_BASE)


def key_range(network: Network) -> tuple[int, int]:
    """First and last key of a network."""
    return key_of(network.network_address), key_of(network.broadcast_address)


@dataclass(frozen=True, slots=True)
class AddressLine:
    """The line of atoms for one environment and one set of bounds.

    Attributes:
        starts: first key of each atom, ascending, from 0; the next start ends it.
        index: first key of an atom -> its number.
        zone: zone of each atom: the number of a segment in ``segments``, or ``internal`` (inside, but no segment),
            ``bogon`` (never a true source) or ``external`` (the internet).
        entry: number of the host address that the atom is, or -1. Entries are numbered in key order.
        entry_host: name of the host of each entry; ``entry_key`` its key; ``entry_zone`` its segment's number.
    """

    starts: list[int]
    index: dict[int, int]
    segments: tuple[str, ...]
    zone: Ints
    entry: Ints
    entry_host: tuple[str, ...]
    entry_key: tuple[int, ...]
    entry_zone: Ints
    entries_before: Ints

    @property
    def internal(self) -> int:
        """Zone of what is inside but in no segment."""
        return len(self.segments)

    @property
    def bogon(self) -> int:
        """Zone of what is never a true source."""
        return len(self.segments) + 1

    @property
    def external(self) -> int:
        """Zone of the internet."""
        return len(self.segments) + 2

    @property
    def zones(self) -> int:
        """How many zones there are."""
        return len(self.segments) + 3

    def atoms(self, edges: list[int]) -> Ints:
        """For each edge the atom that starts there.

        Raises:
            UnknownBoundError: one of them divides an atom.
        """
        try:
            return np.fromiter(map(self.index.__getitem__, edges), dtype=np.int32, count=len(edges))
        except KeyError as missing:
            raise UnknownBoundError(int(missing.args[0])) from None

    def atom_of(self, key: int) -> int:
        """The atom that holds ``key``."""
        return bisect_right(self.starts, key) - 1

    def key_in(self, atom: int) -> int:
        """A key in the atom, away from its edges where it has room (a network's own address makes a poor example)."""
        first, end = self.starts[atom], self.starts[atom + 1]
        return first if end - first < 3 else first + 1


class UnknownBoundError(Exception):
    """A bound that is not the edge of an atom: the line has to be laid out anew with it."""


def lay_out(environment: Environment, bounds: Iterable[int]) -> AddressLine:
    """The line for an environment, divided at ``bounds`` (first keys of ranges, and last keys plus one)."""
    hosts = sorted((key_of(a), host.name) for host in environment.hosts.values() for a in host.addresses)
    zones = _zone_ranges(environment)
    edges = {0, IPV6_BASE, END}
    edges.update(bounds)
    edges.update([key for key, _ in hosts])
    edges.update([key + 1 for key, _ in hosts])
    for _, first, last in zones:
        edges.update((first, last + 1))
    starts = sorted(edges)
    index = dict(zip(starts, range(len(starts)), strict=True))
    zone = np.full(len(starts) - 1, len(environment.segments) + 2, dtype=np.int32)
    for number, first, last in zones:
        zone[index[first] : index[last + 1]] = number
    entry = np.full(len(starts) - 1, -1, dtype=np.int32)
    places = np.array([index[key] for key, _ in hosts], dtype=np.int32)
    entry[places] = np.arange(len(hosts), dtype=np.int32)
    before = np.zeros(len(starts), dtype=np.int32)
    before[1:] = np.cumsum(entry >= 0)
    number_of = {key: number for number, key in enumerate(environment.segments)}
    return AddressLine(
        starts=starts,
        index=index,
        segments=tuple(environment.segments),
        zone=zone,
        entry=entry,
        entry_host=tuple(name for _, name in hosts),
        entry_key=tuple(key for key, _ in hosts),
        entry_zone=np.array([number_of[environment.hosts[name].segment] for _, name in hosts], dtype=np.int32),
        entries_before=before,
    )


def _zone_ranges(environment: Environment) -> list[tuple[int, int, int]]:
    """(zone, first key, last key); a later one lies on top of an earlier one."""
    count = len(environment.segments)
    ranges = [(count + 1, *key_range(network)) for network in environment.bogons]
    ranges += [(count, *key_range(network)) for network in internal_networks(environment)]
    for number, segment in enumerate(environment.segments.values()):
        ranges += [(number, *key_range(network)) for network in segment.networks]
    return ranges
