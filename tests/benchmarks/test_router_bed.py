"""A measurement is worth something only when packets are really routed, and the right ones."""

from __future__ import annotations

import os
import socket

import numpy as np
import pytest

from benchmarks.frames import FRAME_BYTES, Datagrams
from benchmarks.loads import router_new
from benchmarks.namespaces import inside
from benchmarks.router_bed import Bed
from benchmarks.router_throughput import SIZES, ratios
from benchmarks.rulesets import linear, ringfort
from benchmarks.synthetic import CLIENTS, SERVERS, entries, environment


def ones_complement_sum(data: bytes) -> int:
    """RFC 1071: 0xffff over a header that carries its own checksum."""
    total = sum(int.from_bytes(data[place : place + 2], "big") for place in range(0, len(data), 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def test_frames_say_what_was_asked_for() -> None:
    frames = Datagrams(
        source_macs=np.array([[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]], np.uint8),
        sources=np.array([0x0A000001, 0x0A0000FF], np.uint32),
        source_ports=np.array([20_000, 65_535], np.uint16),
        destinations=np.array([0x0A010002, 0xFFFFFFFE], np.uint32),
        destination_ports=np.array([4000, 53], np.uint16),
        gateway_mac=bytes.fromhex("02aabbccddee"),
    ).frames()
    second = frames[1].tobytes()
    assert len(second) == FRAME_BYTES
    assert second[:14].hex() == "02aabbccddee" + "020000000002" + "0800"
    assert [ones_complement_sum(frame.tobytes()[14:34]) for frame in frames] == [0xFFFF, 0xFFFF]
    assert socket.inet_ntoa(second[26:30]) == "10.0.0.255"
    assert socket.inet_ntoa(second[30:34]) == "255.255.255.254"
    assert second[34:40] == (65_535).to_bytes(2, "big") + (53).to_bytes(2, "big") + (FRAME_BYTES - 34).to_bytes(
        2, "big"
    )


@pytest.mark.parametrize("size", SIZES)
def test_the_synthetic_site_has_the_entries_it_is_named_after(size: int) -> None:
    assert len(set(entries(environment(*SIZES[size])))) == size


def test_ratios_are_taken_within_a_round() -> None:
    assert ratios([1.0, 9.0, 4.0], [2.0, 10.0, 4.0]) == (0.9, 0.5, 1.0)


@pytest.mark.lab
def test_our_ruleset_really_routes_what_is_measured() -> None:
    bed = Bed(f"rf-bench-{os.getpid()}", environment(4, 2), "")
    bed.ruleset = ringfort(bed.environment)
    bed.up()
    try:
        assert router_new(bed, np.random.default_rng(1)) > 0
        with inside(bed.server):
            listener = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
        with listener:
            listener.settimeout(2)
            listener.bind(("inner", 0x0800))
            bed.send(bed.traffic(1, np.random.default_rng(2)).load, bed.client)
            frame = listener.recv(2048)
    finally:
        bed.down()
    leg = bed.leg(SERVERS)
    assert frame[6:12] == bytes.fromhex(leg.mac.replace(":", "")), "not sent by the router's leg"
    assert frame[22] == 63, "not routed: the time to live was not counted down"


@pytest.mark.lab
def test_a_ruleset_that_refuses_is_no_result() -> None:
    bed = Bed(f"rf-bench-{os.getpid()}", environment(4, 2), "")
    bed.ruleset = linear(environment(1, 1))
    bed.up()
    try:
        with pytest.raises(RuntimeError, match="left the router"):
            router_new(bed, np.random.default_rng(1))
    finally:
        bed.down()
    assert bed.hosts(CLIENTS)
