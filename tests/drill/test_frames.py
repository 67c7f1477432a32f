"""A probe's bytes are what its words say, with sound checksums; and its number is found again where it arrives."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfort.drill.fragments import CUTS
from ringfort.drill.frames import (
    FIRST_PORT,
    PORTS,
    PROTOCOLS,
    Kind,
    Segment,
    port_of,
    reset,
    tag_port,
    tcp_segment,
    template,
)

MAC_A, MAC_B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
ENDS = {4: (ip_address("10.1.1.2"), ip_address("10.1.2.3")), 6: (ip_address("fd00::2"), ip_address("fd00:1::3"))}
WHOLE = [kind for kind in Kind if kind not in CUTS]
NUMBERS = {Kind.TCP: 6, Kind.TCP_PIECE: 6, Kind.UDP: 17, Kind.OTHER: 253}


def folded(data: bytes) -> int:
    """The ones' complement sum (RFC 1071), written apart: 0xffff over whatever carries its own right checksum."""
    total = 0
    for at in range(0, len(data), 2):
        total += int.from_bytes(data[at : at + 2].ljust(2, b"\0"))
        total = (total & 0xFFFF) + (total >> 16)
    return total


def taken_apart(data: bytes) -> tuple[int, bytes, bytes, bytes]:
    """Protocol, source, destination and body of an Ethernet frame, after checking lengths and the IPv4 checksum."""
    if data[12:14] == b"\x08\x00":
        header, body = data[14:34], data[34:]
        assert header[0] == 0x45
        assert int.from_bytes(header[2:4]) == len(header) + len(body)
        assert folded(header) == 0xFFFF
        return header[9], header[12:16], header[16:20], body
    assert data[12:14] == b"\x86\xdd"
    header, body = data[14:54], data[54:]
    assert header[0] >> 4 == 6
    assert int.from_bytes(header[4:6]) == len(body)
    return header[6], header[8:24], header[24:40], body


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("kind", WHOLE)
@given(port=st.integers(1, 65535), tag=st.integers(0, 1 << 40))
def test_a_frame_carries_what_was_asked_with_sound_checksums(version: int, kind: Kind, port: int, tag: int) -> None:
    source, destination = ENDS[version]
    data = template(MAC_A, MAC_B, source, destination, kind, port).tagged(tag)
    assert data[:12].hex(":") == f"{MAC_B}:{MAC_A}"
    protocol, from_, to, body = taken_apart(data)
    assert (from_, to) == (source.packed, destination.packed)
    assert protocol == NUMBERS.get(kind, 1 if version == 4 else 58)
    if kind is not Kind.OTHER:
        pseudo = from_ + to + struct.pack("!II", len(body), protocol)
        assert folded(body if protocol == 1 else pseudo + body) == 0xFFFF
    if kind in (Kind.TCP, Kind.TCP_PIECE, Kind.UDP):
        assert struct.unpack_from("!HH", body) == (tag_port(tag), port)
    assert port_of(protocol, body) == tag_port(tag)


def test_only_an_opening_opens() -> None:
    source, destination = ENDS[4]
    flags = {
        kind: template(MAC_A, MAC_B, source, destination, kind, 80).tagged(1)[14 + 20 + 13]
        for kind in (Kind.TCP, Kind.TCP_PIECE)
    }
    assert flags == {Kind.TCP: 0x02, Kind.TCP_PIECE: 0x10}  # SYN; ACK


def test_a_reset_ends_the_connection_that_its_probe_began() -> None:
    source, destination = ENDS[6]
    _, _, _, opening = taken_apart(template(MAC_A, MAC_B, source, destination, Kind.TCP, 443).tagged(77))
    _, _, _, ending = taken_apart(reset(MAC_A, MAC_B, source, destination, 443, 77))
    assert ending[:4] == opening[:4]
    assert int.from_bytes(ending[4:8]) == int.from_bytes(opening[4:8]) + 1
    assert ending[13] == 0x04


@given(data=st.binary(max_size=1400))
def test_a_segment_carries_its_data(data: bytes) -> None:
    source, destination = ENDS[4]
    segment = Segment(40000, 443, 5, 6, 0x18, data)
    protocol, from_, to, body = taken_apart(tcp_segment(MAC_A, MAC_B, source, destination, segment))
    assert folded(from_ + to + struct.pack("!II", len(body), protocol) + body) == 0xFFFF
    assert body[20:] == data


@given(tags=st.integers(0, 1 << 40), count=st.integers(2, PORTS))
def test_probes_that_follow_each_other_have_different_ports_below_the_kernels_own(tags: int, count: int) -> None:
    ports = {tag_port(tag) for tag in range(tags, tags + min(count, 300))}
    assert len(ports) == min(count, 300)
    assert min(ports) >= FIRST_PORT
    assert max(ports) < 32768


@pytest.mark.parametrize("version", [4, 6])
def test_what_is_no_probe_is_passed_over(version: int) -> None:
    for protocol in PROTOCOLS[version]:
        assert port_of(protocol, b"") is None
        assert port_of(protocol, bytes(20)) is None
    assert port_of(1, bytes([0, 0, 0, 0]) + FIRST_PORT.to_bytes(2)) is None  # an echo reply
    assert port_of(89, FIRST_PORT.to_bytes(2) + bytes(20)) is None
