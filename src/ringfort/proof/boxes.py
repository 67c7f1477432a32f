"""What each layer accepts, as boxes: a range of sources, a range of destinations, a range of protocol and port.

The *service number* of a packet is its protocol times 65536 plus its destination port; for ICMP the port is type times
256 plus code; where a protocol has neither, any. So one range of numbers says "tcp 443", "any port" or "any protocol".
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, MutableSequence
from dataclasses import dataclass, field
from enum import IntEnum

from ringfort.environment.model import PortRange, Protocol

PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 33: "dccp", 58: "icmpv6", 132: "sctp"}
"""Names of protocols (IANA protocol numbers) that a report uses."""
ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
ECHO_REQUEST = {4: (ICMP, 8), 6: (ICMPV6, 128)}
"""Address family -> protocol and type of an echo request (RFC 792; RFC 4443, 4.1)."""
ALL_SERVICES = (0, 256 * 65536 - 1)


class Layer(IntEnum):
    """Whose acceptance a box states. The first four are enforced, the last is what the file declares."""

    ROUTER = 0
    HOST_IN = 1
    HOST_OUT = 2
    IDENTITY = 3
    DECLARED = 4


Column = MutableSequence[int]
"""Numbers that fit in 32 bits, as numpy takes them. Keys of addresses need up to 129 bits."""


def _column() -> Column:
    return array("i")


class Edges:
    """The keys where boxes start or have just ended, numbered as they are met: there are few, and many boxes."""

    __slots__ = ("_numbers", "keys")

    def __init__(self) -> None:
        self.keys: list[int] = []
        self._numbers: dict[int, int] = {}

    def number(self, key: int) -> int:
        """The number of an edge."""
        known = self._numbers.get(key)
        if known is None:
            known = self._numbers[key] = len(self.keys)
            self.keys.append(key)
        return known


@dataclass(slots=True)
class RawBoxes:
    """Columns of boxes. Sources and destinations are numbers of ``edges``: the first key, and the last plus one.

    Service numbers are inclusive. ``router`` is the number of the router (in the environment's order) for
    `Layer.ROUTER`, else -1.
    """

    edges: Edges = field(default_factory=Edges)
    source_start: Column = field(default_factory=_column)
    source_end: Column = field(default_factory=_column)
    destination_start: Column = field(default_factory=_column)
    destination_end: Column = field(default_factory=_column)
    service_first: Column = field(default_factory=_column)
    service_last: Column = field(default_factory=_column)
    layer: Column = field(default_factory=_column)
    router: Column = field(default_factory=_column)

    def __len__(self) -> int:
        return len(self.layer)

    def add(
        self, layer: Layer, source: tuple[int, int], destination: tuple[int, int], service: tuple[int, int], router: int
    ) -> None:
        """Add one box; pairs are first and last."""
        number = self.edges.number
        self.source_start.append(number(source[0]))
        self.source_end.append(number(source[1] + 1))
        self.destination_start.append(number(destination[0]))
        self.destination_end.append(number(destination[1] + 1))
        self.service_first.append(service[0])
        self.service_last.append(service[1])
        self.layer.append(layer)
        self.router.append(router)

    def extend(self, other: RawBoxes) -> None:
        """Add all boxes of ``other``."""
        numbers = [self.edges.number(key) for key in other.edges.keys]
        for name in _OF_EDGES:
            getattr(self, name).extend(map(numbers.__getitem__, getattr(other, name)))
        for name in _PLAIN:
            getattr(self, name).extend(getattr(other, name))

    def chosen(self, places: Iterable[int]) -> RawBoxes:
        """Some of the boxes, by their places; with no other edges than theirs."""
        found = RawBoxes()
        keys = self.edges.keys
        for place in places:
            found.add(
                Layer(self.layer[place]),
                (keys[self.source_start[place]], keys[self.source_end[place]] - 1),
                (keys[self.destination_start[place]], keys[self.destination_end[place]] - 1),
                (self.service_first[place], self.service_last[place]),
                self.router[place],
            )
        return found

    def spans(self) -> Iterator[tuple[tuple[int, int], tuple[int, int], tuple[int, int]]]:
        """Each box's sources, destinations and services: first and last."""
        keys = self.edges.keys
        columns = (getattr(self, name) for name in (*_OF_EDGES, "service_first", "service_last"))
        for source, end, there, there_end, first, last in zip(*columns, strict=True):
            yield (keys[source], keys[end] - 1), (keys[there], keys[there_end] - 1), (first, last)


_OF_EDGES = ("source_start", "source_end", "destination_start", "destination_end")
_PLAIN = ("service_first", "service_last", "layer", "router")


def service_ranges(protocol: Protocol, ports: Iterable[PortRange], version: int) -> tuple[tuple[int, int], ...]:
    """The service numbers of a declared service in one address family."""
    if protocol is Protocol.ICMP:
        number, kind = ECHO_REQUEST[version]
        first = number << 16 | kind << 8
        return ((first, first | 255),)
    number = TCP if protocol is Protocol.TCP else UDP
    return tuple((number << 16 | ports.first, number << 16 | ports.last) for ports in ports)


def protocol_and_port(service: int) -> tuple[str, int]:
    """Protocol and port (ICMP: type) of a service number, for people."""
    number, port = service >> 16, service & 0xFFFF
    return PROTOCOLS.get(number, str(number)), port >> 8 if number in (ICMP, ICMPV6) else port
