"""The matrix sums up every cell, and nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ringfort.drill.attacks import SENTENCES, Attack
from ringfort.drill.cells import EVERYTHING_ON, KINDS, REFUSERS, RESTORED, Cell, kind_of, letter_of, matrix_of
from ringfort.drill.result import DISAGREES, GOT_THROUGH, HELD
from tests.report import samples

NAMES = [EVERYTHING_ON, "host-firewall:a", "host-firewall:b", "port-security:s/x", "authority", RESTORED]
MECHANISMS = ["port-security:s/x", "port-security:s/y", "router-filter:r", "host-firewall:a", "identity:i"]

cells = st.builds(
    lambda attack, failure, refused, delivered: Cell(
        attack, failure, sum(refused.values()) + delivered, refused, delivered
    ),
    st.sampled_from(list(Attack)),
    st.sampled_from(NAMES),
    st.dictionaries(st.sampled_from(MECHANISMS), st.integers(1, 1000)),
    st.integers(0, 3),
)


@given(found=st.lists(cells, max_size=30).map(tuple))
def test_nothing_is_lost_in_the_matrix(found: tuple[Cell, ...]) -> None:
    matrix = matrix_of(SENTENCES, tuple(NAMES), found)
    sums = [total for row in matrix.rows for total in row.sums if total is not None]
    assert sum(total.probes for total in sums) == sum(cell.probes for cell in found)
    assert sum(total.delivered for total in sums) == sum(cell.delivered for cell in found)
    for refuser in REFUSERS:
        counted = sum(n for cell in found for name, n in cell.refused_by.items() if kind_of(name) == refuser.kind)
        assert sum(total.refused_by.get(refuser.kind, 0) for total in sums) == counted
    assert sum(len(details) for details in matrix.details.values()) == len(found)
    assert all(total.unexplained == 0 for total in sums)


def test_columns_follow_a_packets_way_and_say_how_many_failures_they_stand_for() -> None:
    matrix = matrix_of(SENTENCES, tuple(reversed(NAMES)), ())
    assert [(column.kind, column.count) for column in matrix.columns] == [
        (EVERYTHING_ON, 1), ("port-security", 1), ("host-firewall", 2), ("authority", 1), (RESTORED, 1),
    ]  # fmt: skip
    assert matrix.rows == ()


def test_every_refuser_has_its_own_letter() -> None:
    assert len({refuser.letter for refuser in REFUSERS}) == len(REFUSERS)
    assert letter_of("router-filter") == "R"
    assert letter_of("unheard-of") == "?"
    assert len(set(KINDS)) == len(KINDS)


def test_a_probe_that_nobody_counted_is_unexplained() -> None:
    assert Cell("a", EVERYTHING_ON, 10, {"router-filter:r": 7}, 1).unexplained == 2


def test_the_exit_code_tells_held_from_broken_from_contradiction() -> None:
    assert samples.drill().exit_code == HELD
    assert samples.drill(open_fails=True).exit_code == GOT_THROUGH
    assert samples.drill(through=True).exit_code == GOT_THROUGH
    assert samples.drill(through=True, disagrees=True).exit_code == DISAGREES


def test_json_holds_every_number_of_the_result() -> None:
    result = samples.drill(through=True)
    document = result.to_json()
    assert document["probes"] == sum(cell["probes"] for cell in document["cells"]) == 2077
    assert document["cells"][0]["refused_by"] == {"router-filter:north-r1": 600, "router-filter:south-r1": 400}
    assert document["delivered"][0]["failure"] == "port-security:north/data"
    assert document["exit_code"] == GOT_THROUGH
