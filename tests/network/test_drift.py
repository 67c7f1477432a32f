"""A change by hand is told where it stands and in the words of nft, and nothing else is told."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ringfort.network.compile import compile_device
from ringfort.network.drift import drift
from ringfort.network.nft import Json
from tests.network.worlds import example, objects, router

INET = "of table inet ringfort"


def document() -> Json:
    return copy.deepcopy(compile_device(example("small"), router("r1")).document)


def added_rule(changed: Json, chain: str, expr: list[Any], at: int = -1) -> None:
    rule = {"rule": {"family": "inet", "table": "ringfort", "chain": chain, "expr": expr}}
    changed["nftables"].insert(at if at >= 0 else len(changed["nftables"]), rule)


def told(changed: Json) -> list[str]:
    return list(map(str, drift(document(), changed)))


def test_nothing_changed_is_nothing_told() -> None:
    assert told(document()) == []


def test_a_rule_that_was_added_is_told_as_nft_would_write_it() -> None:
    changed = document()
    match = {"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 22}}
    added_rule(changed, "forward", [match, {"accept": None}])
    assert told(changed) == [f"chain forward {INET}: + tcp dport 22 accept"]


def test_a_rule_in_a_form_that_we_never_write_is_told_all_the_same() -> None:
    changed = document()
    added_rule(changed, "forward", [{"xt": {"type": "match", "name": "bpf"}}, {"queue": None}])
    assert told(changed) == [
        f'chain forward {INET}: + [{{"xt": {{"name": "bpf", "type": "match"}}}}, {{"queue": null}}]'
    ]


def test_a_rule_that_was_removed_is_told() -> None:
    changed = document()
    number = next(n for n, e in enumerate(changed["nftables"]) if e.get("rule", {}).get("chain") == "antispoofing")
    changed["nftables"].pop(number)
    (one,) = drift(document(), changed)
    assert (one.sign, one.place) == ("-", f"chain antispoofing {INET}")


def test_a_policy_that_was_changed_is_told_before_and_after() -> None:
    changed = document()
    objects(changed, "chain")["forward"]["policy"] = "accept"
    assert [(one.sign, one.place) for one in drift(document(), changed)] == [
        ("-", f"chain forward {INET}"),
        ("+", f"chain forward {INET}"),
    ]
    assert '"policy": "accept"' in told(changed)[1]


def test_elements_are_told_one_by_one() -> None:
    changed = document()
    objects(changed, "set")["never-internet4"]["elem"].append("192.0.2.7")
    objects(changed, "set")["never-internet4"]["elem"].remove({"prefix": {"addr": "127.0.0.0", "len": 8}})
    place = f"set never-internet4 {INET}"
    assert told(changed) == [f"{place}: - 127.0.0.0/8", f"{place}: + 192.0.2.7"]


def test_a_table_that_is_gone_or_foreign_is_one_difference() -> None:
    assert list(map(str, drift(document(), {"nftables": []}))) == ["the ruleset: - table inet ringfort"]
    changed = document()
    changed["nftables"] += [
        {"table": {"family": "ip", "name": "mine"}},
        {"chain": {"family": "ip", "table": "mine", "name": "own"}},
        {"rule": {"family": "ip", "table": "mine", "chain": "own", "expr": [{"drop": None}]}},
    ]
    assert told(changed) == ["the ruleset: + table ip mine, with 1 chain and 1 rule"]


def test_a_chain_that_was_added_is_told_with_its_rules() -> None:
    changed = document()
    changed["nftables"].append({"chain": {"family": "inet", "table": "ringfort", "name": "side"}})
    added_rule(changed, "side", [{"accept": None}])
    assert told(changed) == ["table inet ringfort: + chain side", f"chain side {INET}: + accept"]


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_whatever_object_is_left_out_is_told(data: st.DataObject) -> None:
    changed = document()
    numbers = [n for n, entry in enumerate(changed["nftables"]) if "metainfo" not in entry and "table" not in entry]
    gone = changed["nftables"].pop(data.draw(st.sampled_from(numbers)))
    if "chain" in gone:
        of_chain = [e for e in changed["nftables"] if e.get("rule", {}).get("chain") == gone["chain"]["name"]]
        changed["nftables"] = [e for e in changed["nftables"] if e not in of_chain]
    assert all(one.sign == "-" for one in drift(document(), changed)), gone
    assert drift(document(), changed), gone
