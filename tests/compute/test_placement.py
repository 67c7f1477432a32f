"""Where instances go: into declared places of their own customer and nowhere else, never over a node's room."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from ringfort.compute.placement import Instance, Node, Place, Placing, Reason, Size, place, update_domain
from ringfort.environment.model import PortRange

NAMES = [f"node-{n}" for n in range(6)]
CUSTOMERS = ["acme", "globex"]
PORTS = (PortRange(8080, 8083), PortRange(9000, 9000))
SIZES = st.builds(Size, st.integers(0, 60), st.integers(1, 60), st.integers(0, 60))
NODES = st.lists(
    st.builds(
        Node,
        st.sampled_from(NAMES),
        st.builds(Size, *(st.integers(0, 200),) * 3),
        st.sampled_from(["", "a", "b", "c"]),
    ),
    max_size=6,
    unique_by=lambda node: node.name,
)
PLACES = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(CUSTOMERS), st.sampled_from([PORTS[:1], PORTS])), max_size=14
).map(lambda found: [Place(f"p-{n}", *said) for n, said in enumerate(found)])


@st.composite
def instances(draw: st.DrawFn, placed: bool) -> list[Instance]:
    found: list[Instance] = []
    taken: set[str] = set()
    for application in range(draw(st.integers(0, 4))):
        size, customer = draw(SIZES), draw(st.sampled_from(CUSTOMERS))
        ports = draw(st.sampled_from([frozenset(), frozenset({8080}), frozenset({8083, 9000})]))
        for number in range(draw(st.integers(1, 5))):
            here = draw(st.sampled_from(["", *(f"p-{n}" for n in range(14)), "gone"])) if placed else ""
            here = "" if here in taken else here
            taken.add(here)
            avoid = draw(st.sampled_from(["", *NAMES])) if placed else ""
            rests = placed and draw(st.booleans())
            one = Instance(f"i-{application}-{number}", customer, f"app-{application}", size, number, ports)
            found.append(replace(one, place=here, avoid=avoid, rests=rests))
    return found


def free(nodes: list[Node], places: list[Place], known: list[Instance], placing: Placing) -> dict[str, Size]:
    """The room that is left on each node that is well."""
    left = {node.name: node.room for node in nodes}
    where = {one.name: one.node for one in places}
    for one in known:
        node = where.get(placing.places.get(one.name, ""), "")
        if node in left:
            left[node] -= one.size
    return left


def open_to(one: Instance, places: list[Place], placing: Placing, left: Mapping[str, Size]) -> list[Place]:
    """Places that an instance could have, after all were placed."""
    taken = set(placing.places.values())
    return [
        here
        for here in places
        if here.name not in taken and here.node in left and one.may_have(here) and one.size.fits(left[here.node])
    ]


def shared(places: list[Place], known: list[Instance], placing: Placing) -> Counter[tuple[str, str, str]]:
    where = {one.name: one.node for one in places}
    return Counter(
        (one.customer, one.application, where[placing.places[one.name]]) for one in known if one.name in placing.places
    )


@settings(deadline=None)
@given(NODES, PLACES, st.one_of(instances(placed=False), instances(placed=True)))
def test_each_place_has_one_instance_and_of_its_own_customer(
    nodes: list[Node], places: list[Place], known: list[Instance]
) -> None:
    placing = place(nodes, places, known)
    by_name = {one.name: one for one in places}
    assert len(set(placing.places.values())) == len(placing.places)
    for one in known:
        if one.name in placing.places:
            here = by_name[placing.places[one.name]]
            assert here.customer == one.customer
            assert all(here.serves(port) for port in one.ports)
    assert not [one for one in known if not one.rests and one.name not in placing.places.keys() | placing.waits.keys()]


@settings(deadline=None)
@given(NODES, PLACES, instances(placed=False))
def test_nothing_is_overbooked_crowded_or_left_out_while_there_is_a_place(
    nodes: list[Node], places: list[Place], known: list[Instance]
) -> None:
    placing = place(nodes, places, known)
    left = free(nodes, places, known, placing)
    assert all(min(room.cpu, room.memory, room.disk) >= 0 for room in left.values())
    counts = shared(places, known, placing)
    where = {one.name: one.node for one in places}
    for one in known:
        others = open_to(one, places, placing, left)
        if one.name not in placing.places:
            assert others == []
        elif counts[one.customer, one.application, where[placing.places[one.name]]] > 1:
            assert all(counts[one.customer, one.application, here.node] for here in others)


@settings(deadline=None)
@given(NODES, PLACES, instances(placed=True))
def test_what_can_stay_stays_and_one_at_a_time_spreads_out(
    nodes: list[Node], places: list[Place], known: list[Instance]
) -> None:
    well = {node.name for node in nodes}
    by_name = {one.name: one for one in places}
    for _ in range(len(known) + 2):
        placing = place(nodes, places, known)
        moved: Counter[tuple[str, str]] = Counter()
        for one in known:
            here = by_name.get(one.place)
            if here is None or not one.may_have(here):
                continue
            if one.rests:
                assert placing.places[one.name] == one.place
            elif placing.places[one.name] != one.place and here.node in well and here.node != one.avoid:
                moved[one.customer, one.application] += 1
        assert all(count == 1 for count in moved.values())
        known = [replace(one, place=placing.places.get(one.name, "")) for one in known]
    assert not moved


@settings(deadline=None)
@given(NODES, PLACES, instances(placed=True))
def test_an_instance_keeps_a_place_on_a_lost_node_only_if_there_is_no_other(
    nodes: list[Node], places: list[Place], known: list[Instance]
) -> None:
    placing = place(nodes, places, known)
    left = free(nodes, places, known, placing)
    where = {one.name: one.node for one in places}
    # what somebody else leaves in this very step is for the next one
    left_behind = [one for one in known if one.place and placing.places.get(one.name) != one.place]
    for one in known:
        here = placing.places.get(one.name, "")
        if not one.rests and where.get(here, "") not in left:
            assert one.name in placing.waits
            assert here in ("", one.place)
            if not left_behind:
                assert open_to(one, places, placing, left) == []


@settings(deadline=None)
@given(NODES, PLACES, instances(placed=True))
def test_the_order_of_what_is_given_changes_nothing(
    nodes: list[Node], places: list[Place], known: list[Instance]
) -> None:
    assert place(nodes[::-1], places[::-1], known[::-1]) == place(nodes, places, known)


LARGE = Size(1000, 1000, 1000)
SMALL = Size(10, 10, 10)


def shop(number: int, size: Size = SMALL, **more: object) -> Instance:
    return Instance(f"i-{number}", "acme", "shop", size, number, **more)  # type: ignore[arg-type]


def places_on(*nodes: str, customer: str = "acme") -> list[Place]:
    return [Place(f"{node}-{customer}-{n}", node, customer, PORTS) for n, node in enumerate(nodes)]


def test_instances_are_spread_over_fault_domains() -> None:
    nodes = [Node(f"{site}-{n}", LARGE, site) for site in "ab" for n in range(4)]
    placing = place(nodes, places_on(*(node.name for node in nodes)), [shop(n) for n in range(4)])
    assert Counter(name[0] for name in placing.places.values()) == {"a": 2, "b": 2}
    assert len({name[:3] for name in placing.places.values()}) == 4


def test_a_lost_nodes_instances_go_elsewhere_and_the_others_stay() -> None:
    nodes, places = [Node(f"n-{n}", LARGE) for n in range(3)], places_on("n-0", "n-1", "n-2", "n-2")
    known = [shop(n) for n in range(3)]
    before = place(nodes, places, known).places
    known = [replace(one, place=before[one.name]) for one in known]
    after = place(nodes[1:], places, known)
    assert {name: here for name, here in after.places.items() if not before[name].startswith("n-0")} == {
        name: here for name, here in before.items() if not here.startswith("n-0")
    }
    assert all(here.startswith(("n-1", "n-2")) for here in after.places.values())
    assert len(after.places) == 3
    assert after.waits == {}


def test_without_another_place_an_instance_waits_on_its_lost_node_and_says_why() -> None:
    nodes, places = [Node("n-1", LARGE)], places_on("n-0", "n-1")
    known = [shop(0, place="n-0-acme-0"), shop(1, place="n-1-acme-1")]
    placing = place(nodes, places, known)
    assert placing == Placing({"i-0": "n-0-acme-0", "i-1": "n-1-acme-1"}, {"i-0": Reason.TAKEN})


def test_every_reason_to_wait_is_told_from_the_others() -> None:
    nodes, one = [Node("n-1", SMALL)], shop(0, ports=frozenset({8080}))
    assert place(nodes, [], [one]).waits == {"i-0": Reason.NONE_DECLARED}
    assert place(nodes, places_on("n-1", customer="globex"), [one]).waits == {"i-0": Reason.NONE_DECLARED}
    assert place(nodes, places_on("n-1"), [replace(one, ports=frozenset({80}))]).waits == {"i-0": Reason.PORTS}
    assert place([], places_on("n-1"), [one]).waits == {"i-0": Reason.NODES}
    assert place(nodes, places_on("n-1"), [replace(one, size=LARGE)]).waits == {"i-0": Reason.ROOM}
    assert place(nodes, places_on("n-1"), [one, shop(1)]).waits == {"i-1": Reason.TAKEN}


def test_a_place_that_is_declared_no_longer_is_left_even_for_none() -> None:
    nodes = [Node("n-1", LARGE)]
    for gone in (shop(0, place="old"), shop(0, place="n-1-globex-0"), shop(0, place="old", rests=True)):
        assert place(nodes, places_on("n-1", customer="globex"), [gone]).places == {}


def test_one_that_rests_keeps_its_place_and_gets_no_other() -> None:
    places = places_on("n-1", "n-1")
    assert place([], places, [shop(0, place="n-1-acme-1", rests=True)]) == Placing({"i-0": "n-1-acme-1"}, {})
    assert place([Node("n-1", LARGE)], places, [shop(0, rests=True)]) == Placing({}, {})


def test_one_that_may_not_move_shares_its_node() -> None:
    nodes, places = [Node("n-0", LARGE), Node("n-1", LARGE)], places_on("n-0", "n-0", "n-1")
    known = [shop(n, place=f"n-0-acme-{n}", may_move=False) for n in range(2)]
    assert set(place(nodes, places, known).places.values()) == {"n-0-acme-0", "n-0-acme-1"}
    known = [replace(one, may_move=True) for one in known]
    assert set(place(nodes, places, known).places.values()) == {"n-0-acme-0", "n-1-acme-2"}


def test_an_instance_that_was_moved_away_comes_back_only_if_nothing_else_has_room() -> None:
    nodes, places = [Node("a", LARGE), Node("b", SMALL)], places_on("a", "b")
    moved = shop(0, place="a-acme-0", avoid="a")
    assert place(nodes, places, [moved]).places == {"i-0": "b-acme-1"}
    assert place(nodes[:1], places, [moved]).places == {"i-0": "a-acme-0"}


def test_what_was_there_stays_on_a_node_that_became_too_small() -> None:
    assert place([Node("a", Size(1, 1, 1))], places_on("a"), [shop(0, place="a-acme-0")]).places == {"i-0": "a-acme-0"}


def test_update_domains_take_turns() -> None:
    assert [update_domain(n, 3) for n in range(7)] == [0, 1, 2, 0, 1, 2, 0]
