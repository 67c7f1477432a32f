"""What each layer accepts, as boxes: a range of sources, a range of destinations, a range of protocol and port.

The *service number* of a packet is its protocol times 65536 plus its destination port; for ICMP the port is type times
256 plus code; where a protocol has neither, any. So one range of numbers says "tcp 443", "any port" or "any protocol".
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, MutableSequence
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
"""Numbers that fit in 32 bits; keys of addresses need up to 129 and stay lists."""


def _column() -> Column:
    return array("i")  # numpy takes it as it is


@dataclass(slots=True)
class RawBoxes:
    """Columns of boxes, bounds as keys and service numbers, all inclusive.

    ``router`` is the number of the router (in the environment's order) for `Layer.ROUTER`, else -1.
    """

    source_first: list[int] = field(default_factory=list)
    source_last: list[int] = field(default_factory=list)
    destination_first: list[int] = field(default_factory=list)
    destination_last: list[int] = field(default_factory=list)
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
        self.source_first.append(source[0])
        self.source_last.append(source[1])
        self.destination_first.append(destination[0])
        self.destination_last.append(destination[1])
        self.service_first.append(service[0])
        self.service_last.append(service[1])
        self.layer.append(layer)
        self.router.append(router)

    def extend(self, other: RawBoxes) -> None:
        """Add all boxes of ``other``."""
        for name in self.__slots__:
            getattr(self, name).extend(getattr(other, name))

    def bounds(self) -> set[int]:
        """Every key where a box starts or has just ended."""
        edges = {*self.source_first, *self.destination_first}
        edges.update(key + 1 for key in {*self.source_last, *self.destination_last})
        return edges


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
