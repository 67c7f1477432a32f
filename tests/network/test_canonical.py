"""What is loaded is compared with what is wanted by meaning: nothing else may make a difference, and that must."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest

from ringfort.network.canonical import canonical, same
from ringfort.network.compile import compile_device
from ringfort.network.drift import drift
from ringfort.network.nft import Json
from tests.network.worlds import example, objects, router, rules


def document() -> Json:
    return copy.deepcopy(compile_device(example("small"), router("r1")).document)


def _reverse_elements(changed: Json) -> None:
    objects(changed, "map")["flows4"]["elem"].reverse()
    objects(changed, "set")["bound6"]["elem"].reverse()


def _number_handles(changed: Json) -> None:
    for number, entry in enumerate(changed["nftables"]):
        next(iter(entry.values()))["handle"] = number


def _count(changed: Json) -> None:
    objects(changed, "counter")["undeclared"].update(packets=7, bytes=420)


def _remember_a_scanner(changed: Json) -> None:
    objects(changed, "set")["scanners4"]["elem"] = [{"elem": {"val": "192.0.2.1", "timeout": 300, "expires": 12}}]


def _count_connections(changed: Json) -> None:
    objects(changed, "set")["connections4"]["elem"] = [{"elem": {"val": "192.0.2.1", "ct count": {"val": 500}}}]


def _turn_states(changed: Json) -> None:
    rules(changed, "forward")[0][0]["vmap"]["data"]["set"].reverse()


def _spell_ipv6_differently(changed: Json) -> None:
    elements = objects(changed, "set")["never-internet6"]["elem"]
    (mapped,) = (e for e in elements if isinstance(e, dict) and e["prefix"]["addr"] == "::ffff:0:0")
    mapped["prefix"]["addr"] = "::ffff:0.0.0.0"


def _reorder_objects(changed: Json) -> None:
    changed["nftables"].sort(key=lambda entry: next(iter(entry)))


@pytest.mark.parametrize(
    "change",
    [
        _reverse_elements,
        _number_handles,
        _count,
        _remember_a_scanner,
        _count_connections,
        _turn_states,
        _spell_ipv6_differently,
        _reorder_objects,
    ],
)
def test_what_means_the_same_is_the_same(change: Callable[[Json], None]) -> None:
    changed = document()
    change(changed)
    assert changed != document()
    assert same(changed, document())


def _accept_all(changed: Json) -> None:
    objects(changed, "chain")["forward"]["policy"] = "accept"


def _drop_an_element(changed: Json) -> None:
    objects(changed, "map")["flows4"]["elem"].pop()


def _redirect_an_element(changed: Json) -> None:
    objects(changed, "map")["flows4"]["elem"][0][1] = {"accept": None}


def _swap_rules(changed: Json) -> None:
    numbers = [
        number
        for number, entry in enumerate(changed["nftables"])
        if entry.get("rule", {}).get("chain") == "antispoofing"
    ]
    one, other = numbers[0], numbers[-1]
    every = changed["nftables"]
    every[one], every[other] = every[other], every[one]


def _bogon_lost(changed: Json) -> None:
    objects(changed, "set")["never-internet4"]["elem"].pop(0)


def _hook_later(changed: Json) -> None:
    objects(changed, "chain")["antispoofing"]["prio"] = -100


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (_accept_all, "chain forward of table inet ringfort"),
        (_drop_an_element, "map flows4 of table inet ringfort"),
        (_redirect_an_element, "map flows4 of table inet ringfort"),
        (_swap_rules, "chain antispoofing of table inet ringfort"),
        (_bogon_lost, "set never-internet4 of table inet ringfort"),
        (_hook_later, "chain antispoofing of table inet ringfort"),
    ],
)
def test_what_means_something_else_differs_and_is_named(change: Callable[[Json], None], named: str) -> None:
    changed = document()
    change(changed)
    assert not same(changed, document())
    assert {difference.place for difference in drift(document(), changed)} == {named}


def test_comments_count_unless_they_are_left_out() -> None:
    changed = document()
    objects(changed, "set")["bound4"]["comment"] = "by hand"
    objects(changed, "set")["bound4"]["elem"][0]["elem"].pop("comment")
    assert not same(changed, document())
    assert canonical(changed, comments=False) == canonical(document(), comments=False)


def test_the_canonical_form_of_a_canonical_form_is_itself() -> None:
    assert canonical(canonical(document())) == canonical(document())


def test_the_document_is_left_as_it_was() -> None:
    given, before = document(), document()
    canonical(given)
    assert given == before
