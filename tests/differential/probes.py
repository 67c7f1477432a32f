"""Packets as bytes: what is sent, and what its fields are, bit by bit, as the proof names them."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address

from ringfort.proof.fields import (
    CT_DIRECTION,
    CT_MARK,
    CT_STATE,
    CT_STATUS,
    IIFNAME,
    IIFTYPE,
    LATER_FRAGMENT,
    MARK,
    OIFNAME,
    OIFTYPE,
    PKTTYPE,
    TRANSPORT,
    Field,
    Universe,
    name_value,
)
from ringfort.proof.variables import Space

TCP, UDP, ICMP, ICMPV6, OTHER = 6, 17, 1, 58, 253
DESTINATION_OPTIONS = 60


@dataclass(frozen=True, slots=True)
class Probe:
    """One packet to send.

    Attributes:
        source, target: addresses, both of one family.
        words: the transport header's first two 16-bit numbers: ports, or ICMP type and code and (computed) checksum.
        offset: fragment offset in units of 8 bytes; not 0 for a later fragment.
        echo: an ICMP message's identifier.
        mark: set by the observer before any rule under test.
        way: which interface it enters by.
    """

    source: str
    target: str
    protocol: int
    words: tuple[int, int] = (40000, 80)
    echo: int = 80
    flags: int = 2
    ttl: int = 64
    dscp: int = 0
    offset: int = 0
    more: bool = False
    payload: int = 8
    options: bool = False
    bad_checksum: bool = False
    broadcast: bool = False
    ether_source: str = "02:00:00:00:00:01"
    mark: int = 0
    tracked: bool = True
    established: bool = False
    way: int = 0
    ident: int = 0

    @property
    def universe(self) -> Universe:
        return Universe.IP6 if ":" in self.source else Universe.IP


def frame(probe: Probe, ether_target: str) -> bytes:
    """The Ethernet frame."""
    target = "ff:ff:ff:ff:ff:ff" if probe.broadcast else ether_target
    kind = 0x0800 if probe.universe is Universe.IP else 0x86DD
    link = _mac(target) + _mac(probe.ether_source) + struct.pack("!H", kind)
    return link + (_ipv4(probe) if probe.universe is Universe.IP else _ipv6(probe))


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _ipv4(probe: Probe) -> bytes:
    body = _transport(probe, _pseudo_ipv4)
    flags = (0x2000 if probe.more else 0) | probe.offset
    header = struct.pack(
        "!BBHHHBBH4s4s",
        0x45,
        probe.dscp << 2,
        20 + len(body),
        probe.ident,
        flags,
        probe.ttl,
        probe.protocol,
        0,
        IPv4Address(probe.source).packed,
        IPv4Address(probe.target).packed,
    )
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + body


def _ipv6(probe: Probe) -> bytes:
    body = _transport(probe, _pseudo_ipv6)
    following = probe.protocol
    if probe.options:
        body = struct.pack("!BBBBI", probe.protocol, 0, 1, 4, 0) + body  # PadN, RFC 8200 4.2
        following = DESTINATION_OPTIONS
    first = 6 << 28 | probe.dscp << 22 | probe.ident
    header = struct.pack("!IHBB", first, len(body), following, probe.ttl)
    return header + IPv6Address(probe.source).packed + IPv6Address(probe.target).packed + body


def _pseudo_ipv4(probe: Probe, length: int) -> bytes:
    addresses = IPv4Address(probe.source).packed + IPv4Address(probe.target).packed
    return addresses + struct.pack("!BBH", 0, probe.protocol, length)


def _pseudo_ipv6(probe: Probe, length: int) -> bytes:
    addresses = IPv6Address(probe.source).packed + IPv6Address(probe.target).packed
    return addresses + struct.pack("!IHBB", length, 0, 0, probe.protocol)


def _transport(probe: Probe, pseudo: object) -> bytes:
    payload = bytes(probe.payload)
    first, second = probe.words
    make = _pseudo_ipv4 if pseudo is _pseudo_ipv4 else _pseudo_ipv6
    wrong = 1 if probe.bad_checksum else 0
    if probe.protocol == TCP:
        head = struct.pack("!HHIIBBHHH", first, second, 1000, 2000, 0x50, probe.flags, 4096, 0, 0)
        total = checksum(make(probe, len(head) + len(payload)) + head + payload) ^ wrong
        return head[:16] + struct.pack("!H", total) + head[18:] + payload
    if probe.protocol == UDP:
        length = 8 + len(payload)
        head = struct.pack("!HHHH", first, second, length, 0)
        total = (checksum(make(probe, length) + head + payload) or 0xFFFF) ^ wrong
        return head[:6] + struct.pack("!H", total) + payload
    if probe.protocol in (ICMP, ICMPV6):
        head = struct.pack("!HHHH", first, 0, probe.echo, second)
        cover = b"" if probe.protocol == ICMP else make(probe, len(head) + len(payload))
        total = checksum(cover + head + payload) ^ wrong
        return head[:2] + struct.pack("!H", total) + head[4:] + payload
    return struct.pack("!HHI", first, second, 0) + payload


def checksum(data: bytes) -> int:
    """The internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total = sum(int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@dataclass(frozen=True, slots=True)
class Seen:
    """What the kernel knows of a packet beside its bytes."""

    iifname: str
    oifname: str = ""
    state: int = 8
    status: int = 0
    reply: bool = False
    pkttype: int = 0


def facts(probe: Probe, data: bytes, seen: Seen) -> dict[str, tuple[bytes, int]]:
    """Region -> its bits, and how many. Regions are those of `ringfort.proof.fields`."""
    network = data[14:]
    start = 20 if probe.universe is Universe.IP else 40 + (8 if probe.options else 0)
    transport = network[start:]
    return {
        "ll": (data[:14], 112),
        "nh": (network, len(network) * 8),
        "th": (transport, len(transport) * 8),
        "l4proto": _number(probe.protocol, 8),
        TRANSPORT.region: _number(1, 1),
        LATER_FRAGMENT.region: _number(0 if probe.offset == 0 else 1, 1),
        IIFNAME.region: _number(name_value(seen.iifname), 128),
        OIFNAME.region: _number(name_value(seen.oifname), 128),
        IIFTYPE.region: _number(1, 16),
        OIFTYPE.region: _number(1 if seen.oifname else 0, 16),
        CT_STATE.region: _number(seen.state, CT_STATE.width),
        CT_STATUS.region: _number(seen.status, CT_STATUS.width),
        CT_DIRECTION.region: _number(1 if seen.reply else 0, 8),
        CT_MARK.region: _number(0, 32),
        MARK.region: _number(probe.mark, 32),
        PKTTYPE.region: _number(1 if probe.broadcast else seen.pkttype, 8),
        "meta length": _number(len(network), 32),
    }


def _number(value: int, width: int) -> tuple[bytes, int]:
    size = (width + 7) // 8
    return (value << (size * 8 - width)).to_bytes(size, "big"), width


def assignment(space: Space, known: Mapping[str, tuple[bytes, int]]) -> list[tuple[int, bool]]:
    """The value of every variable of ``space`` for a packet; bits that no fact covers are 0."""
    values: list[tuple[int, bool]] = []
    for number in range(space.opaque_count, space.manager.num_vars()):
        region, offset = space.owner(number)
        content, width = known.get(region, (b"", 0))
        bit = offset < width and bool(content[offset // 8] >> (7 - offset % 8) & 1)
        values.append((number, bit))
    return values


def present(space: Space, field: Field) -> bool:
    """Whether a field's region has variables: a rule read it."""
    return space.has(field)


def numbered(probes: list[Probe], first: int = 1) -> list[Probe]:
    """The probes with identifiers by which the observer tells them apart."""
    return [replace(probe, ident=first + i) for i, probe in enumerate(probes)]
