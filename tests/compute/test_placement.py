"""Where instances go: never over a node's room, never two of an application together while another node has room."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from ringfort.compute.placement import Instance, Node, Size, place, update_domain

SIZES = st.builds(Size, st.integers(0, 60), st.integers(1, 60), st.integers(0, 60))
NODES = st.lists(
    st.builds(
        Node,
        st.sampled_from([f"node-{n}" for n in range(8)]),
        st.builds(Size, *(st.integers(0, 200),) * 3),
        st.sampled_from(["", "a", "b", "c"]),
    ),
    max_size=8,
    unique_by=lambda node: node.name,
)


@st.composite
def instances(draw: st.DrawFn, placed: bool) -> list[Instance]:
    found = []
    for application in range(draw(st.integers(0, 4))):
        size = draw(SIZES)
        for number in range(draw(st.integers(1, 6))):
            here = draw(st.sampled_from(["", *(f"node-{n}" for n in range(8)), "gone"])) if placed else ""
            found.append(Instance(f"i-{application}-{number}", f"acme/app-{application}", size, here))
    return found


def free(nodes: list[Node], known: list[Instance], assignment: Mapping[str, str]) -> dict[str, Size]:
    left = {node.name: node.room for node in nodes}
    for one in known:
        if one.name in assignment:
            left[assignment[one.name]] -= one.size
    return left


def needlessly_together(nodes: list[Node], known: list[Instance], assignment: Mapping[str, str]) -> list[str]:
    """Instances that share a node with one of their application although another node has room and none of it."""
    left = free(nodes, known, assignment)
    counts = Counter((one.application, assignment[one.name]) for one in known if one.name in assignment)
    return [
        one.name
        for one in known
        if one.name in assignment and counts[one.application, assignment[one.name]] > 1
        if any(one.size.fits(room) and not counts[one.application, name] for name, room in left.items())
    ]


@given(NODES, instances(placed=False))
def test_nothing_is_overbooked_crowded_or_left_out_while_there_is_room(
    nodes: list[Node], known: list[Instance]
) -> None:
    assignment = place(nodes, known)
    left = free(nodes, known, assignment)
    assert all(min(room.cpu, room.memory, room.disk) >= 0 for room in left.values())
    assert needlessly_together(nodes, known, assignment) == []
    unplaced = [one for one in known if one.name not in assignment]
    assert not [one for one in unplaced if any(one.size.fits(room) for room in left.values())]


@given(NODES, instances(placed=True))
def test_what_can_stay_stays_and_one_at_a_time_spreads_out(nodes: list[Node], known: list[Instance]) -> None:
    names = {node.name for node in nodes}
    for _ in range(len(known) + 1):
        assignment = place(nodes, known)
        moved = Counter(one.application for one in known if one.node in names and assignment[one.name] != one.node)
        assert all(count == 1 for count in moved.values())
        known = [replace(one, node=assignment.get(one.name, "")) for one in known]
    assert not moved
    assert needlessly_together(nodes, known, assignment) == []


@given(NODES, instances(placed=True))
def test_the_order_of_what_is_given_changes_nothing(nodes: list[Node], known: list[Instance]) -> None:
    assert place(nodes[::-1], known[::-1]) == place(nodes, known)


LARGE = Size(1000, 1000, 1000)
SMALL = Size(10, 10, 10)


def test_instances_are_spread_over_fault_domains() -> None:
    nodes = [Node(f"{rack}-{n}", LARGE, rack) for rack in "ab" for n in range(4)]
    known = [Instance(f"i-{n}", "acme/shop", SMALL) for n in range(4)]
    assignment = place(nodes, known)
    assert Counter(name[0] for name in assignment.values()) == {"a": 2, "b": 2}
    assert len(set(assignment.values())) == 4


def test_a_lost_nodes_instances_go_elsewhere_and_the_others_stay() -> None:
    nodes = [Node(f"n-{n}", LARGE) for n in range(3)]
    known = [Instance(f"i-{n}", "acme/shop", SMALL) for n in range(3)]
    before = place(nodes, known)
    known = [replace(one, node=before[one.name]) for one in known]
    after = place(nodes[1:], known)
    assert {name: node for name, node in after.items() if before[name] != "n-0"} == {
        name: node for name, node in before.items() if node != "n-0"
    }
    assert set(after) == set(before)


def test_an_instance_that_was_moved_away_comes_back_only_if_nothing_else_has_room() -> None:
    nodes = [Node("a", LARGE), Node("b", SMALL)]
    moved = Instance("i", "acme/shop", SMALL, node="a", avoid="a")
    assert place(nodes, [moved]) == {"i": "b"}
    assert place(nodes[:1], [moved]) == {"i": "a"}


def test_what_was_there_stays_on_a_node_that_became_too_small() -> None:
    assert place([Node("a", Size(1, 1, 1))], [Instance("i", "acme/shop", SMALL, node="a")]) == {"i": "a"}


def test_update_domains_take_turns() -> None:
    assert [update_domain(n, 3) for n in range(7)] == [0, 1, 2, 0, 1, 2, 0]
