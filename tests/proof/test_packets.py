"""Packet sets are exact: an algebra of sets, boxes that are the set, one packet that is in it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringfort.proof.fields import DPORT, L4PROTO, SPORT, Universe
from ringfort.proof.packets import Box, PacketSet, TooManyBoxesError, everything, nothing, of_boxes, where
from ringfort.proof.variables import Space
from ringfort.proof.witness import packet_text, witness

SPACE = Space(Universe.IP)
FIELDS = (SPORT, DPORT, L4PROTO)
SADDR, DADDR = SPACE.fields["saddr"], SPACE.fields["daddr"]


def interval(top: int) -> st.SearchStrategy[tuple[int, int]]:
    number = st.integers(0, top)
    return st.tuples(number, number).map(lambda pair: (min(pair), max(pair)))


BOXES = st.lists(st.tuples(interval(65535), interval(65535), interval(255)), max_size=4)


def points(box: Box) -> list[tuple[int, ...]]:
    """The corners of a box and their neighbours: where a bound that is off by one shows."""
    found: list[tuple[int, ...]] = [()]
    for (low, high), top in zip(box, (65535, 65535, 255), strict=True):
        values = {max(low - 1, 0), low, high, min(high + 1, top)}
        found = [(*start, value) for start in found for value in values]
    return found


def inside(boxes: list[Box], point: tuple[int, ...]) -> bool:
    return any(all(low <= n <= high for n, (low, high) in zip(point, box, strict=True)) for box in boxes)


def one(point: tuple[int, ...]) -> PacketSet:
    return of_boxes(SPACE, FIELDS, [tuple((n, n) for n in point)])


@settings(max_examples=60, deadline=None)
@given(BOXES, BOXES)
def test_the_algebra_of_sets_holds_point_by_point(first: list[Box], second: list[Box]) -> None:
    a, b = of_boxes(SPACE, FIELDS, first), of_boxes(SPACE, FIELDS, second)
    for point in [p for box in (*first, *second) for p in points(box)][:200]:
        in_a, in_b = inside(first, point), inside(second, point)
        p = one(point)
        assert (p <= a) == in_a
        assert (p <= (a | b)) == (in_a or in_b)
        assert (p <= (a & b)) == (in_a and in_b)
        assert (p <= (a - b)) == (in_a and not in_b)
        assert (p <= (a ^ b)) == (in_a != in_b)
        assert (p <= ~a) == (not in_a)


@settings(max_examples=60, deadline=None)
@given(BOXES)
def test_boxes_are_disjoint_and_are_the_set(boxes: list[Box]) -> None:
    packets = of_boxes(SPACE, FIELDS, boxes)
    cut = list(packets.boxes(*FIELDS))
    assert of_boxes(SPACE, FIELDS, cut) == packets
    for i, box in enumerate(cut):
        for other in cut[i + 1 :]:
            assert not of_boxes(SPACE, FIELDS, [box]).overlaps(of_boxes(SPACE, FIELDS, [other]))


@settings(max_examples=60, deadline=None)
@given(BOXES)
def test_a_witness_is_in_the_set_whenever_there_is_one(boxes: list[Box]) -> None:
    packets = of_boxes(SPACE, FIELDS, boxes)
    packet = witness(packets)
    assert (packet is None) == packets.is_empty
    if packet is not None:
        assert packets.contains(packet)


@given(interval((1 << 32) - 1))
def test_an_interval_holds_its_values_and_no_others(values: tuple[int, int]) -> None:
    assert where(SPACE, SADDR, values).values(SADDR) == (values,)


def test_everything_and_nothing() -> None:
    assert everything(SPACE).is_full
    assert nothing(SPACE).is_empty
    assert ~everything(SPACE) == nothing(SPACE)
    assert not nothing(SPACE)


def test_equal_sets_are_equal_however_they_were_made() -> None:
    low, high = where(SPACE, DPORT, (0, 1023)), where(SPACE, DPORT, (1024, 65535))
    assert (low | high) == everything(SPACE)
    assert low == ~high
    assert hash(low) == hash(~high)
    assert low < everything(SPACE)
    assert everything(SPACE) > high >= high


def test_sets_of_two_spaces_are_never_equal() -> None:
    assert everything(Space(Universe.IP)) != everything(SPACE)


def test_projection_forgets_all_but_the_fields_asked_for() -> None:
    packets = where(SPACE, DPORT, (80, 80)) & where(SPACE, SADDR, (1, 1))
    assert packets.project(DPORT) == where(SPACE, DPORT, (80, 80))
    assert packets.forget(DPORT) == where(SPACE, SADDR, (1, 1))
    assert packets.depends_on(DPORT)
    assert not packets.depends_on(DADDR)


def test_too_many_boxes_are_refused_and_not_listed_forever() -> None:
    vector = SPACE.vector(SADDR)
    odd = PacketSet(SPACE, vector[-1])  # every second address
    with pytest.raises(TooManyBoxesError, match="1,000"):
        list(odd.boxes(SADDR, limit=1000))


def test_a_witness_looks_like_a_packet_people_know() -> None:
    packets = (
        where(SPACE, DADDR, (0x0A010203, 0x0A010203)) & where(SPACE, DPORT, (22, 22)) & where(SPACE, L4PROTO, (6, 6))
    )
    packet = witness(packets)
    assert packet is not None
    assert packet_text(packet, SPACE) == "tcp 192.0.2.10:40000 -> 10.1.2.3:22"


def test_an_icmp_witness_is_an_echo_request() -> None:
    packet = witness(where(SPACE, L4PROTO, (1, 1)))
    assert packet is not None
    assert packet_text(packet, SPACE) == "icmp echo-request 192.0.2.10 -> 198.51.100.20"
