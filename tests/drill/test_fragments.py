"""Openings in pieces: sound fragments that make the packet they should, or none, whatever Linux version is asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from ringfort.drill.attacks import FRAGMENTED, Attack, Attacks, Probe
from ringfort.drill.fragments import CUTS, cut, never_whole
from ringfort.drill.frames import Kind
from ringfort.drill.tools import tools
from ringfort.lab.lab import Lab
from tests.drill import worlds
from tests.drill.test_frames import ENDS, MAC_A, MAC_B, folded, taken_apart
from tests.lab.running import running

EVERY = [(version, kind) for version in (4, 6) for kind in CUTS]


def pieces(version: int, kind: Kind) -> list[tuple[int, bool, bytes, int]]:
    """Offset, whether more come, data, and the number of the packet, of each frame."""
    found = []
    for frame in cut(MAC_A, MAC_B, *ENDS[version], kind, 22, 77):
        protocol, source, destination, body = taken_apart(frame)
        assert (source, destination) == tuple(address.packed for address in ENDS[version])
        if version == 4:
            assert protocol == 6
            where = int.from_bytes(frame[20:22])
            found.append((8 * (where & 0x1FFF), bool(where & 0x2000), body, int.from_bytes(frame[18:20])))
        else:
            assert (protocol, body[0]) == (44, 6)
            where = int.from_bytes(body[2:4])
            found.append((where & ~7, bool(where & 1), body[8:], int.from_bytes(body[4:8])))
    return found


@pytest.mark.parametrize(("version", "kind"), EVERY)
def test_all_pieces_are_of_one_packet_and_all_but_the_last_end_at_eight_bytes(version: int, kind: Kind) -> None:
    found = pieces(version, kind)
    assert {number for _, _, _, number in found} == {77}
    assert all(len(data) % 8 == 0 for _, more, data, _ in found if more)
    assert [more for _, more, _, _ in found] == sorted((more for _, more, _, _ in found), reverse=True)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("kind", [Kind.IN_TWO, Kind.TINY])
def test_put_together_they_are_an_opening_with_a_sound_checksum(version: int, kind: Kind) -> None:
    body = b""
    for offset, _, data, _ in pieces(version, kind):
        assert offset == len(body)
        body += data
    source, destination = (address.packed for address in ENDS[version])
    pseudo = source + destination + len(body).to_bytes(4) + (6).to_bytes(4)
    assert folded(pseudo + body) == 0xFFFF
    assert int.from_bytes(body[2:4]) == 22
    assert body[13] == 0x02


@pytest.mark.parametrize("version", [4, 6])
def test_what_is_sent_twice_or_overlaps_says_something_else_the_second_time(version: int) -> None:
    (_, _, first, _), (offset, _, second, _), _ = pieces(version, Kind.REWRITTEN)
    assert offset == 0
    assert (first[:2], len(first)) == (second[:2], len(second))
    assert first[2:4] != second[2:4]
    (_, _, first, _), (offset, _, second, _), _ = pieces(version, Kind.OVERLAPPING)
    assert 0 < offset < len(first) < offset + len(second)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running(tmp_path_factory.mktemp("pieces"), worlds.HOLDS, "pieces") as made:
        yield made


def probes(lab: Lab) -> list[Probe]:
    """Each cut in both families, from one host to a closed port of another."""
    whole = [
        probe
        for probe in Attacks(lab.environment).from_host("web-1", ["app-1"])
        if probe.attack is Attack.HOST_UNDECLARED and (probe.kind, probe.port) == (Kind.TCP, FRAGMENTED)
    ]
    assert {probe.source.version for probe in whole} == {4, 6}
    return [replace(probe, attack=Attack.FRAGMENTS, kind=kind) for probe in whole for kind in CUTS]


@pytest.mark.lab
def test_where_nothing_refuses_them_those_arrive_that_can_be_put_together(lab: Lab) -> None:
    """Or that none arrives elsewhere would prove nothing."""
    every = ("port-security:north/edge", "port-security:north/back", "router-filter:r1", "host-firewall:app-1")
    with tools(lab) as opened, lab.without(*every):
        opened.range.situation_changed()
        outcome = opened.range.fire(probes(lab))
    arrived = {(probe.source.version, probe.kind) for probe, _ in outcome.delivered}
    assert arrived == {(version, kind) for version, kind in EVERY if not never_whole(kind, version)}
    assert outcome.missing == 0


@pytest.mark.lab
@pytest.mark.parametrize(
    ("failure", "refuser"),
    [("host-firewall:app-1", "router-filter:r1"), ("router-filter:r1", "host-firewall:app-1")],
)
def test_whichever_of_two_fails_the_other_refuses_what_is_put_together(lab: Lab, failure: str, refuser: str) -> None:
    with tools(lab) as opened, lab.without(failure):
        opened.range.situation_changed()
        outcome = opened.range.fire(probes(lab))
    assert outcome.delivered == []
    whole = [probe for probe in probes(lab) if not never_whole(probe.kind, probe.source.version)]
    assert outcome.refused_by[refuser] == len(whole)
    assert outcome.missing == 0
