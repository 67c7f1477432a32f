"""What has to change: nothing when all is as planned, and exactly what differs otherwise."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfort.environment.model import Environment
from ringfort.environment.topology import Device, DeviceKind
from ringfort.lab.differences import Address, Change, Seen, SeenLink, Step, differences
from ringfort.lab.plan import active_routers, plan
from ringfort.lab.shapes import Forwarding, Link, Namespace, Neighbour, Route, Rule, namespace_name
from tests.lab import worlds


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return worlds.environment(tmp_path_factory.mktemp("small"), worlds.SMALL, "differ")


@pytest.fixture(scope="module")
def wanted(small: Environment) -> dict[str, Namespace]:
    return plan(small, active_routers(small))


def built(wanted: dict[str, Namespace]) -> dict[str, Seen]:
    """What an observer sees when everything is as planned."""
    numbers = count(10)
    indexes = {(name, link): next(numbers) for name, space in wanted.items() for link in space.links}
    seen = {}
    for name, space in wanted.items():
        links = {}
        for link in space.links.values():
            kind = "veth" if link.peer else "bridge"
            other = indexes[link.peer] if link.peer else 0
            mac = link.mac or "02:00:00:00:00:01"
            links[link.name] = SeenLink(indexes[name, link.name], kind, other, replace(link, mac=mac, peer=None))
        seen[name] = Seen(links, space.routes, space.neighbours, space.forwarding, space.rules)
    return seen


def test_what_is_as_planned_needs_no_change(wanted: dict[str, Namespace]) -> None:
    assert differences(wanted, built(wanted)) == []


def test_a_link_that_somebody_else_makes_there_is_left_alone(wanted: dict[str, Namespace]) -> None:
    seen = built(wanted)
    name = next(name for name in wanted if name.endswith(".admin"))
    tap = SeenLink(99, "tun", 0, Link("guest", "02:00:00:00:00:02", addresses=frozenset({"192.0.0.1/30"})))
    seen[name] = replace(seen[name], links={**seen[name].links, "guest": tap})
    assert differences(wanted, seen) == [Change(name, Step.REMOVE_LINK, tap.link)]
    known = wanted | {name: replace(wanted[name], others=frozenset({"guest"}))}
    assert differences(known, seen) == []


def test_from_nothing_every_cable_is_made_once(wanted: dict[str, Namespace]) -> None:
    made = [change for change in differences(wanted, {}) if change.step is Step.ADD_LINK]
    links = [link for space in wanted.values() for link in space.links.values()]
    pairs = sum(link.peer is not None for link in links) // 2
    bridges = sum(link.peer is None for link in links)
    assert len(made) == pairs + bridges


def test_changes_come_in_the_order_of_their_steps(wanted: dict[str, Namespace]) -> None:
    steps = [change.step for change in differences(wanted, {})]
    assert steps == sorted(steps)


def test_a_lost_namespace_is_wired_again_and_no_other_address_is_touched(
    small: Environment, wanted: dict[str, Namespace]
) -> None:
    name = namespace_name(small, Device(DeviceKind.HOST, "web-1"))
    switch = namespace_name(small, Device(DeviceKind.SWITCH, "north/edge"))
    seen = built(wanted)
    seen[name] = Seen()
    seen[switch] = replace(
        seen[switch], links={key: link for key, link in seen[switch].links.items() if key != "web-1"}
    )
    changes = differences(wanted, seen)
    assert {change.namespace for change in changes} == {name, switch}
    assert {change.item.interface for change in changes if isinstance(change.item, Address)} == {"eth0"}


def _items(wanted: dict[str, Namespace]) -> list[tuple[str, object]]:
    return [
        (name, item)
        for name, space in wanted.items()
        for item in (*space.links.values(), *space.routes, *space.rules, *space.neighbours, *space.forwarding)
    ]


@given(st.data())
def test_whatever_one_thing_is_missing_exactly_its_namespace_is_mended(
    wanted: dict[str, Namespace], data: st.DataObject
) -> None:
    name, item = data.draw(st.sampled_from(_items(wanted)))
    seen = built(wanted)
    here = seen[name]
    match item:
        case Link():
            seen[name] = replace(here, links={key: link for key, link in here.links.items() if key != item.name})
        case Route():
            seen[name] = replace(here, routes=here.routes - {item})
        case Rule():
            seen[name] = replace(here, rules=here.rules - {item})
        case Neighbour():
            seen[name] = replace(here, neighbours=here.neighbours - {item})
        case Forwarding():
            seen[name] = replace(here, forwarding=here.forwarding - {item})
    changes = differences(wanted, seen)
    ends = {name} | ({item.peer[0]} if isinstance(item, Link) and item.peer else set())
    assert {change.namespace for change in changes} == ends


@given(st.data())
def test_whatever_one_thing_is_too_much_is_removed(wanted: dict[str, Namespace], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([name for name, space in wanted.items() if "eth0" in space.links]))
    here = built(wanted)[name]
    extras: list[Route | Rule | Neighbour] = [
        Route("192.0.2.0/24", "10.0.0.1", "eth0"),
        Rule(4, 5, 77),
        Neighbour("192.0.2.9", "02:00:00:00:00:09", "eth0"),
    ]
    extra = data.draw(st.sampled_from(extras))
    more = replace(
        here,
        routes=here.routes | ({extra} if isinstance(extra, Route) else set()),
        rules=here.rules | ({extra} if isinstance(extra, Rule) else set()),
        neighbours=here.neighbours | ({extra} if isinstance(extra, Neighbour) else set()),
    )
    assert differences(wanted, built(wanted) | {name: more}) == [Change(name, Step.REMOVE, extra)]


def test_a_stray_interface_is_removed(small: Environment, wanted: dict[str, Namespace]) -> None:
    router = namespace_name(small, Device(DeviceKind.ROUTER, "r1"))
    seen = built(wanted)
    stray = Link("hole", "02:00:00:00:00:09")
    here = seen[router]
    seen[router] = replace(here, links={**here.links, "hole": SeenLink(99, "dummy", 0, stray)})
    assert differences(wanted, seen) == [Change(router, Step.REMOVE_LINK, stray)]
