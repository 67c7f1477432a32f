"""What tells two rulesets apart: everything an operator wrote, and nothing that packets or time changed."""

from __future__ import annotations

import copy
import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from ringfort.errors import RingfortError
from ringfort.lab import netns, nft
from tests.lab import worlds

DOCUMENT: dict[str, Any] = {
    "nftables": [
        {"metainfo": {"version": "1.0.6"}},
        {"table": {"family": "inet", "name": "t", "handle": 1}},
        {"counter": {"family": "inet", "name": "c", "table": "t", "handle": 2, "packets": 1, "bytes": 60}},
        {"set": {"family": "inet", "name": "s", "table": "t", "type": "ipv4_addr", "handle": 3, "elem": ["a", "b"]}},
        {
            "rule": {
                "family": "inet",
                "table": "t",
                "handle": 4,
                "expr": [{"counter": {"packets": 1}}, {"accept": None}],
            }
        },
    ]
}


def changed(place: int, kind: str, **fields: object) -> dict[str, Any]:
    document = copy.deepcopy(DOCUMENT)
    document["nftables"][place][kind].update(fields)
    return document


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(changed(1, "table", handle=9), id="handles"),
        pytest.param(changed(2, "counter", packets=9, bytes=999), id="counters"),
        pytest.param(changed(3, "set", elem=["b", "a"]), id="the order of elements"),
        pytest.param(
            changed(3, "set", elem=["a", "b", {"elem": {"val": "c", "ct count": {"val": 5}}}]), id="counted connections"
        ),
        pytest.param(
            changed(3, "set", elem=["a", "b", {"elem": {"val": "c", "expires": 5}}]), id="what goes by itself"
        ),
        pytest.param(changed(4, "rule", expr=[{"counter": {"packets": 8}}, {"accept": None}]), id="counts in rules"),
        pytest.param({"nftables": [{"metainfo": {"version": "2"}}, *DOCUMENT["nftables"][1:]]}, id="nft's version"),
    ],
)
def test_what_changes_by_itself_is_no_difference(document: dict[str, Any]) -> None:
    assert nft.canonical(document) == nft.canonical(DOCUMENT)


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(changed(1, "table", name="u"), id="a name"),
        pytest.param(changed(3, "set", elem=["a"]), id="a lost element"),
        pytest.param(changed(3, "set", elem=["a", "b", "c"]), id="an element more"),
        pytest.param(changed(3, "set", elem=[]), id="an empty set"),
        pytest.param(changed(4, "rule", expr=[{"accept": None}]), id="a counter that is gone"),
        pytest.param(changed(4, "rule", expr=[{"counter": {"packets": 1}}, {"drop": None}]), id="another verdict"),
        pytest.param(changed(4, "rule", comment="x"), id="a comment"),
        pytest.param({"nftables": DOCUMENT["nftables"][:-1]}, id="a lost rule"),
        pytest.param({"nftables": [*DOCUMENT["nftables"], DOCUMENT["nftables"][-1]]}, id="a rule twice"),
    ],
)
def test_whatever_an_operator_changes_is_a_difference(document: dict[str, Any]) -> None:
    assert nft.canonical(document) != nft.canonical(DOCUMENT)


@pytest.fixture
def space() -> Iterator[str]:
    name = f"rf-{worlds.name_of('nft')}.x"
    netns.prepare_directory()
    netns.create(name, worlds.name_of("nft"))
    yield name
    netns.delete(name)


@pytest.mark.lab
def test_a_broken_transaction_changes_nothing_and_says_where(space: str) -> None:
    nft.run(space, "add table inet t")
    with pytest.raises(RingfortError, match="syntax error"):
        nft.run(space, "delete table inet t\nadd nonsense")
    with pytest.raises(RingfortError, match="No such file or directory"):
        nft.run(space, "add table inet u\nadd rule inet t absent accept")
    tables = [entry["table"]["name"] for entry in nft.ruleset(space)["nftables"] if "table" in entry]
    assert tables == ["t"]


@pytest.mark.lab
def test_sets_that_packets_fill_are_emptied_and_others_kept(space: str) -> None:
    nft.run(
        space,
        """
        table inet t {
            set learnt {
                type ipv4_addr
                flags dynamic,timeout
                timeout 5m
                elements = { 10.0.0.1 }
            }
            set known {
                type ipv4_addr
                elements = { 10.0.0.2 }
            }
        }
        """,
    )
    nft.flush_dynamic_sets(space)
    sets = {
        entry["set"]["name"]: entry["set"].get("elem", []) for entry in nft.ruleset(space)["nftables"] if "set" in entry
    }
    assert sets == {"learnt": [], "known": ["10.0.0.2"]}


@pytest.mark.lab
def test_the_library_prints_what_the_command_prints(space: str) -> None:
    nft.run(space, "table inet t {\nchain c {\ntcp dport { 1, 2-3 } counter accept\n}\n}")
    command = ["ip", "netns", "exec", space, "nft", "--json", "list", "ruleset"]
    printed = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    assert nft.ruleset(space) == printed


@pytest.mark.lab
def test_without_such_a_namespace_it_says_so() -> None:
    with pytest.raises(RingfortError, match="there is no namespace 'rf-nowhere'"):
        nft.ruleset("rf-nowhere")
