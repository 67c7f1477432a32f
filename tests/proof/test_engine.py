"""The sweep says what an exhaustive simulation says, on thousands of small worlds."""

from __future__ import annotations

import numpy as np
import pytest

from ringfort.proof import sweep
from ringfort.proof.addresses import AddressLine, address_of, key_of
from ringfort.proof.engine import Question, Result, build
from tests.proof import oracle
from tests.proof.worlds import Case, case

WORLDS = 400


Cell = tuple[str, str, int]
Group = tuple[str, str, str]
"""Kind of attack, zone of the claimed source, segment of the receiver."""

KINDS = {
    sweep.NOT_CLOSED: "own",
    sweep.SHALLOW: "own",
    sweep.DIRECT: "own",
    sweep.NEIGHBOUR: "neighbour",
    sweep.TAKEN_ROUTER: "router",
}
PROMISED = {"own": 2, "internet": 2, "neighbour": 2, "router": 1}


def ask(one: Case) -> tuple[Question, Result]:
    question = build(one.world.environment, one.raw, one.facts)
    return question, question.ask()


def zone_of(line: AddressLine, zone: int) -> str:
    return line.segments[zone] if zone < len(line.segments) else ("internal", "bogon", "external")[zone - line.internal]


def found_groups(question: Question, result: Result) -> dict[Group, int]:
    found: dict[Group, int] = {}
    for row in result.records:
        if row[sweep.KIND] in KINDS:
            zone, there = (zone_of(question.line, end) for end in question.ends[row[sweep.BUCKET]])
            kind = KINDS[row[sweep.KIND]]
            kind = "internet" if kind == "own" and zone == "external" else kind
            group = (kind, zone, there)
            found[group] = min(found.get(group, 2), int(row[sweep.DEPTH]))
    return found


def simulated_groups(one: Case, line: AddressLine) -> dict[Group, int]:
    weakest: dict[Group, int] = {}
    for attempt in oracle.attempts(one.world):
        kind = "own" if attempt.kind == "direct" else attempt.kind
        zone = zone_of(line, line.zone[line.atom_of(key_of(attempt.packet[0]))])
        receiver = one.world.host_of(attempt.packet[1])
        assert receiver is not None
        group = (kind, zone, receiver.segment)
        weakest[group] = min(weakest.get(group, 2), attempt.depth())
    return weakest


@pytest.mark.parametrize("seeds", [range(start, start + 20) for start in range(0, WORLDS, 20)], ids=str)
def test_the_sweep_agrees_with_sending_every_packet_under_every_failure(seeds: range) -> None:
    for seed in seeds:
        one = case(seed)
        question, result = ask(one)
        weakest = simulated_groups(one, question.line)
        expected = {group: depth for group, depth in weakest.items() if depth < PROMISED.get(group[0], 0)}
        assert found_groups(question, result) == expected, seed
        exposed = {(zone, there) for kind, zone, there in expected if kind == "router"}
        for (kind, zone, there), depth in weakest.items():
            if kind in ("far", "internet-spoof") and depth < 2:
                assert (zone, there) in exposed, "a false source from afar is as weak as a taken-over router, no weaker"


@pytest.mark.parametrize("seeds", [range(start, start + 20) for start in range(0, WORLDS, 20)], ids=str)
def test_what_is_declared_and_refused_somewhere_is_found(seeds: range) -> None:
    for seed in seeds:
        one = case(seed)
        question, result = ask(one)
        expected = {(str(a), str(b), c) for a, b, c in oracle.not_open(one.world)}
        rows = [row for row in result.records if row[sweep.KIND] == sweep.NOT_OPEN]
        assert sum(int(row[sweep.COUNT]) for row in rows) == len(expected), seed
        keys = question.line.entry_key
        for row in rows:
            source = keys[question.line.entry[row[sweep.ATOM]]]
            cell = (str(address_of(source)), str(address_of(keys[row[sweep.ENTRY]])), int(row[sweep.FIRST]))
            assert cell in expected, seed


@pytest.mark.parametrize("seed", range(40))
def test_a_large_grid_cut_into_slabs_gives_the_same_answer(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    question, whole = ask(case(seed))
    monkeypatch.setattr(sweep, "GRID_LIMIT", 6)
    cut = question.ask()
    assert np.array_equal(cut.minima[:, :, 0], whole.minima[:, :, 0])
    assert found_groups(question, cut) == found_groups(question, whole)


def test_compiled_and_interpreted_sweeps_find_the_same() -> None:
    for seed in range(40):
        question, interpreted = ask(case(seed))
        compiled = question.ask(compiled=True)
        assert np.array_equal(compiled.records, interpreted.records), seed
        assert np.array_equal(compiled.minima, interpreted.minima), seed
        assert compiled.cells == interpreted.cells


def test_what_one_changed_segment_touches_is_all_that_has_to_be_asked_again() -> None:
    for seed in range(40):
        one = case(seed)
        question, whole = ask(one)
        for segment in question.line.segments:
            again = question.changed(segment, one.raw)
            found = found_groups(again, again.ask())
            expected = {group: depth for group, depth in found_groups(question, whole).items() if segment in group[1:]}
            assert found == expected, (seed, segment)
