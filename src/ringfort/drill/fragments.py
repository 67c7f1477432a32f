"""Openings in pieces: IPv4 and IPv6 fragments, of which some make a packet and some never do. Pure.

What a fragment is made of, whatever a stack makes of it, names closed ports only: whichever way the pieces are put
together, nothing of it may arrive.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from ringfort.drill import frames
from ringfort.drill.frames import Kind
from ringfort.environment.model import Address

CUTS = (Kind.IN_TWO, Kind.TINY, Kind.REWRITTEN, Kind.OVERLAPPING, Kind.FIRST, Kind.LATER)
"""The ways to cut an opening."""

_ETHERNET, _IPV4, _IPV6 = 14, 20, 40
_FRAGMENT = 44  # IANA: the Fragment header of IPv6 (RFC 8200, 4.5)
_MORE = 0x2000  # RFC 791; in IPv6 it is the lowest bit
_SYN = 0x02
_OTHER_PORT = 23
"""Closed as well: what a rewritten beginning says instead."""


def never_whole(kind: Kind, version: int) -> bool:
    """Whether no stack makes a packet of the pieces: no rule sees them, and no counter counts them.

    Linux keeps the first of two equal pieces, and forgets a packet whose pieces overlap otherwise
    (inet_frag_queue_insert). Of an IPv6 packet whose first piece does not hold its whole header it makes nothing (RFC
    7112), of an IPv4 one it does.
    """
    return kind in (Kind.OVERLAPPING, Kind.FIRST, Kind.LATER) or (kind is Kind.TINY and version == 6)


def cut(
    source_mac: str, destination_mac: str, source: Address, destination: Address, kind: Kind, port: int, tag: int
) -> list[bytes]:
    """The Ethernet frames of an opening that is cut in the way of ``kind``, in the order in which they are sent."""

    def whole(number: int) -> bytes:
        segment = frames.Segment(frames.tag_port(tag), number, tag & 0xFFFFFFFF, 0, _SYN, b"ringfort" * 3)
        return frames.tcp_segment(source_mac, destination_mac, source, destination, segment)

    frame = whole(port)
    head = _ETHERNET + (_IPV4 if source.version == 4 else _IPV6)
    pieces = _pieces(kind, frame[head:], whole(_OTHER_PORT)[head:])
    return [_fragment(frame[:head], offset, data, more=more, number=tag) for offset, data, more in pieces]


def _pieces(kind: Kind, body: bytes, other: bytes) -> Iterator[tuple[int, bytes, bool]]:
    """Offset and data of each piece, and whether it says that more come. All but the last are a multiple of 8 bytes."""
    first = 8 if kind is Kind.TINY else 24
    if kind is not Kind.LATER:
        yield 0, body[:first], True
    if kind is Kind.REWRITTEN:
        yield 0, other[:first], True
    if kind is Kind.OVERLAPPING:
        yield 16, other[16:32], True
    if kind is not Kind.FIRST:
        yield first, body[first:], False


def _fragment(head: bytes, offset: int, data: bytes, *, more: bool, number: int) -> bytes:
    """A piece with the Ethernet and IP headers of the whole, of which it changes what it must."""
    link, ip = head[:_ETHERNET], head[_ETHERNET:]
    if ip[0] >> 4 == 6:
        extension = struct.pack("!BBHI", ip[6], 0, offset | more, number & 0xFFFFFFFF)
        length = struct.pack("!H", len(extension) + len(data))
        return link + ip[:4] + length + bytes([_FRAGMENT]) + ip[7:] + extension + data
    where = (_MORE if more else 0) | offset // 8
    changed = ip[:2] + struct.pack("!HHH", len(ip) + len(data), number & 0xFFFF, where) + ip[8:10] + b"\0\0" + ip[12:]
    return link + changed[:10] + struct.pack("!H", frames.checksum(changed)) + changed[12:] + data
