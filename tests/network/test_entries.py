"""Elements of verdict maps: exact where they can be, never overlapping where they are ranges."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ringfort.environment.model import PortRange, Protocol
from ringfort.network.entries import EXPANDED_PORTS, Entries

A, B = "10.0.0.1", "10.0.0.2"
NUMBERS = {A: 1, B: 2}


def entries(*declared: tuple[int, int, str]) -> Entries:
    made = Entries(NUMBERS)
    for first, last, chain in declared:
        made.add(A, B, Protocol.TCP, [PortRange(first, last)], chain)
    return made


def test_a_short_range_becomes_one_exact_element_for_each_port() -> None:
    made = entries((6514, 6514 + EXPANDED_PORTS - 1, "flow-logs"))
    assert sorted(port for *_, port in made.exact) == list(range(6514, 6514 + EXPANDED_PORTS))
    assert not made.wide


def test_a_long_range_becomes_one_interval() -> None:
    made = entries((6000, 6000 + EXPANDED_PORTS, "flow-calls"))
    assert made.wide == {(A, B, "tcp"): [(6000, 6000 + EXPANDED_PORTS, "flow-calls")]}
    assert not made.exact


def test_the_first_flow_to_declare_a_communication_keeps_it() -> None:
    assert entries((443, 443, "flow-a"), (443, 443, "flow-b")).exact == {(A, B, "tcp", 443): "flow-a"}


def test_a_later_range_takes_only_the_ports_that_are_left() -> None:
    spans = entries((100, 200, "flow-a"), (50, 300, "flow-b")).wide[A, B, "tcp"]
    assert sorted(spans) == [(50, 99, "flow-b"), (100, 200, "flow-a"), (201, 300, "flow-b")]


SPANS = st.tuples(st.integers(1, 300), st.integers(EXPANDED_PORTS, 100)).map(lambda span: (span[0], span[0] + span[1]))


@given(st.lists(SPANS, min_size=1, max_size=8))
@settings(deadline=None)
def test_ranges_never_overlap_and_together_cover_what_is_declared(spans: list[tuple[int, int]]) -> None:
    made = entries(*((first, last, f"flow-{number}") for number, (first, last) in enumerate(spans)))
    covered = [port for first, last, _ in made.wide[A, B, "tcp"] for port in range(first, last + 1)]
    assert sorted(covered) == sorted({port for first, last in spans for port in range(first, last + 1)})


def test_echo_requests_have_no_ports() -> None:
    made = Entries(NUMBERS)
    made.add(A, B, Protocol.ICMP, [], "flow-ping")
    assert made.echo == {(A, B): "flow-ping"}
    assert made.chains() == {"flow-ping"}
