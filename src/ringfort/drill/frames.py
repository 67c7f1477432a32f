"""Probes as bytes: Ethernet, IPv4, IPv6, TCP, UDP, ICMP, and what is none of them. Pure.

A probe is known by its claimed source and its source port (or ICMP identifier), which no other probe of its batch has.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import StrEnum

from ringfort.environment.model import Address


class Kind(StrEnum):
    """What a probe is. ``tcp`` opens a connection; ``tcp-piece`` claims to belong to one; ``other`` has the protocol
    number that is kept for experiments (RFC 3692). The last six are openings in fragments (`ringfort.drill.fragments`).
    """

    TCP = "tcp"
    UDP = "udp"
    ICMP = "icmp"
    TCP_PIECE = "tcp-piece"
    OTHER = "other"
    IN_TWO = "tcp-in-two-fragments"
    TINY = "tcp-tiny-fragment"
    REWRITTEN = "tcp-fragment-sent-twice"
    OVERLAPPING = "tcp-overlapping-fragments"
    FIRST = "tcp-first-fragment"
    LATER = "tcp-later-fragment"


_TCP, _UDP, _ICMP, _ICMP6, _OTHER = 6, 17, 1, 58, 253  # IANA protocol numbers
_SYN, _RST, _ACK = 0x02, 0x04, 0x10  # RFC 9293, 3.1
_ECHO, _ECHO6 = 8, 128  # RFC 792, RFC 4443
PROTOCOLS = {4: (_TCP, _UDP, _ICMP, _OTHER), 6: (_TCP, _UDP, _ICMP6, _OTHER)}
"""IP version -> the protocols of probes."""
_ETHERTYPE = {4: b"\x08\x00", 6: b"\x86\xdd"}

FIRST_PORT, PORTS = 10000, 20000
"""Source ports of probes: FIRST_PORT to FIRST_PORT + PORTS - 1, in turn; the kernel picks none of them (from 32768)."""


_SHORT = struct.Struct("!H")


def tag_port(tag: int) -> int:
    """The source port (ICMP identifier) of the probe with this tag."""
    return FIRST_PORT + tag % PORTS


def mac_bytes(mac: str) -> bytes:
    """The six bytes of a MAC address written with colons."""
    return bytes.fromhex(mac.replace(":", ""))


@dataclass(frozen=True, slots=True)
class Template:
    """The Ethernet frame of a probe with tag 0, and where another one's port goes: it is sent again and again.

    Attributes:
        first, second: where the port goes, twice: as source port (ICMP identifier), and as sequence number or payload,
            so that no frame is like the one before.
        checksum: where the checksum is; 0 for none.
    """

    data: bytes
    first: int
    second: int
    checksum: int

    def tagged(self, tag: int) -> bytes:
        """The frame with right checksums and its tag's port."""
        port, found = tag_port(tag), bytearray(self.data)
        _SHORT.pack_into(found, self.first, port)
        _SHORT.pack_into(found, self.second, port)
        if self.checksum:
            # RFC 1624: the sum grows by what was 0 before.
            total = (found[self.checksum] << 8 | found[self.checksum + 1]) ^ 0xFFFF
            total += 2 * port
            total = (total & 0xFFFF) + (total >> 16)
            total = (total & 0xFFFF) + (total >> 16)
            _SHORT.pack_into(found, self.checksum, total ^ 0xFFFF)
        return bytes(found)


def template(
    source_mac: str, destination_mac: str, source: Address, destination: Address, kind: Kind, port: int
) -> Template:
    """The Ethernet frame of a probe, with right lengths, to be tagged."""
    body, protocol = _body(source, destination, kind, port)
    data = _ethernet(source_mac, destination_mac, source, destination, body, protocol)
    first, second, total = _PLACES[kind]
    begin = len(data) - len(body)
    return Template(data, begin + first, begin + second, begin + total if total else 0)


@dataclass(frozen=True, slots=True)
class Segment:
    """One TCP segment: ports, sequence and acknowledgment number, flags, data."""

    source_port: int
    port: int
    number: int
    acknowledged: int
    flags: int
    data: bytes = b""


def tcp_segment(
    source_mac: str, destination_mac: str, source: Address, destination: Address, segment: Segment
) -> bytes:
    """The Ethernet frame of a TCP segment."""
    head = struct.pack(
        "!HHIIBBHHH",
        segment.source_port, segment.port, segment.number, segment.acknowledged, 5 << 4, segment.flags, 64240, 0, 0,
    )  # fmt: skip
    body = _sum_into(head + segment.data, 16, source, destination, _TCP)
    return _ethernet(source_mac, destination_mac, source, destination, body, _TCP)


def reset(source_mac: str, destination_mac: str, source: Address, destination: Address, port: int, tag: int) -> bytes:
    """The RST that takes back a probe's SYN (RFC 9293, 3.10.7.4), so that no half-open connection is left behind."""
    segment = Segment(tag_port(tag), port, tag_port(tag) + 1, 0, _RST)
    return tcp_segment(source_mac, destination_mac, source, destination, segment)


def _ethernet(
    source_mac: str, destination_mac: str, source: Address, destination: Address, body: bytes, protocol: int
) -> bytes:
    link = mac_bytes(destination_mac) + mac_bytes(source_mac) + _ETHERTYPE[source.version]
    if source.version == 6:
        head = struct.pack("!IHBB", 6 << 28, len(body), protocol, 64) + source.packed + destination.packed
        return link + head + body
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, protocol, 0) + source.packed + destination.packed
    return link + head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body


_PLACES = {
    Kind.TCP: (0, 6, 16),
    Kind.TCP_PIECE: (0, 6, 16),
    Kind.UDP: (0, 18, 6),
    Kind.ICMP: (4, 6, 2),
    Kind.OTHER: (0, 6, 0),
}
"""Where in a probe's body its port goes, once more, and its checksum."""


def _body(source: Address, destination: Address, kind: Kind, port: int) -> tuple[bytes, int]:
    if kind in (Kind.TCP, Kind.TCP_PIECE):
        flags, number = (_SYN, 0) if kind is Kind.TCP else (_ACK, 1)
        head = struct.pack("!HHIIBBHHH", 0, port, 0, number, 5 << 4, flags, 64240, 0, 0)
        return _sum_into(head, 16, source, destination, _TCP), _TCP
    if kind is Kind.UDP:
        payload = b"ringfort" + bytes(4)
        head = struct.pack("!HHHH", 0, port, 8 + len(payload), 0)
        return _sum_into(head + payload, 6, source, destination, _UDP), _UDP
    if kind is Kind.ICMP:
        six = source.version == 6
        head = struct.pack("!BBHHH", _ECHO6 if six else _ECHO, 0, 0, 0, 0) + b"ringfort"
        if six:
            return _sum_into(head, 2, source, destination, _ICMP6), _ICMP6
        return head[:2] + struct.pack("!H", checksum(head)) + head[4:], _ICMP
    return bytes(8), _OTHER


def _sum_into(body: bytes, where: int, source: Address, destination: Address, protocol: int) -> bytes:
    """``body`` with the checksum over it and its pseudo-header (RFC 8200, 8.1) at ``where``."""
    pseudo = source.packed + destination.packed + struct.pack("!II", len(body), protocol)
    return body[:where] + struct.pack("!H", checksum(pseudo + body)) + body[where + 2 :]


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def port_of(protocol: int, body: bytes) -> int | None:
    """The source port (ICMP identifier) in the body of a received packet; None when no probe has it.

    Args:
        protocol: IANA number of the body's protocol.
        body: what follows the IP header.
    """
    where = {_TCP: 0, _UDP: 0, _OTHER: 0, _ICMP: 4, _ICMP6: 4}.get(protocol)
    if where is None or len(body) < where + 2:
        return None
    if protocol in (_ICMP, _ICMP6) and body[0] not in (_ECHO, _ECHO6):
        return None
    port = int.from_bytes(body[where : where + 2])
    return port if FIRST_PORT <= port < FIRST_PORT + PORTS else None
