"""The reader takes any listed ruleset, adds back what nft hides, and says what it does not understand."""

from __future__ import annotations

import contextlib
import copy
import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringfort.errors import RingfortError
from ringfort.proof.execute import execute
from ringfort.proof.fields import LATER_FRAGMENT, TRANSPORT, Universe
from ringfort.proof.hooks import hooks
from ringfort.proof.packets import PacketSet, everything, where
from ringfort.proof.reader import RulesetError, parse, read
from ringfort.proof.ruleset import AnyBit, Doubt, Doubtful, Match, Note, Statement, Translate, VerdictMap
from ringfort.proof.variables import Space
from tests.proof.documents import (
    ACCEPT,
    DADDR,
    DPORT,
    DROP,
    SADDR,
    STATE,
    ct,
    document,
    field,
    match,
    meta,
    prefix,
    ruleset,
    table,
)

Statements = list[dict[str, Any]]


def statements(*expressions: dict[str, Any], family: str = "inet") -> tuple[Statement, ...]:
    loaded = ruleset(table({"forward": [list(expressions)]}, family=family))
    return loaded.tables[0].chains["forward"].rules[0].statements


def accepted(*expressions: dict[str, Any], universe: Universe = Universe.IP, family: str = "inet") -> PacketSet:
    """What one rule with these matches accepts."""
    loaded = ruleset(table({"forward": [[*expressions, ACCEPT]]}, family=family))
    result = execute(loaded, "forward", universe)
    assert result.certain
    return result.may


def fields(space: Space, **values: tuple[int, int]) -> PacketSet:
    packets = everything(space)
    for name, interval in values.items():
        packets = packets & where(space, space.fields[name.replace("_", " ")], interval)
    return packets


def is_set(packets: PacketSet, wanted: PacketSet, family: str = "inet") -> bool:
    """Equal, among the packets that can exist."""
    domain = execute(
        ruleset(table({"forward": []}, family=family)), "forward", packets.space.universe, space=packets.space
    )
    return packets == wanted & domain.domain


# -- notations that mean the same ----------------------------------------------------------------------------------

PORT_NOTATIONS: dict[str, Statements] = {
    "a range": [match(DPORT, {"range": [80, 90]})],
    "two comparisons": [match(DPORT, 80, ">="), match(DPORT, 90, "<=")],
    "strict comparisons": [match(DPORT, 79, ">"), match(DPORT, 91, "<")],
    "a set": [match(DPORT, {"set": [80, {"range": [81, 90]}]})],
    "a set of an elem with a comment": [
        match(DPORT, {"set": [{"elem": {"val": {"range": [80, 90]}, "comment": "web", "counter": {"packets": 1}}}]})
    ],
    "a plain list, as nft 0.9 prints it": [match(DPORT, [80, 81, {"range": [82, 90]}])],
    "not in the rest": [match(DPORT, {"set": [{"range": [0, 79]}, {"range": [91, 65535]}]}, "!=")],
    "a concatenation": [
        match({"concat": [meta("l4proto"), DPORT]}, {"set": [{"concat": ["tcp", {"range": [80, 90]}]}]}),
    ],
}


@pytest.mark.parametrize("expressions", PORT_NOTATIONS.values(), ids=PORT_NOTATIONS.keys())
def test_notations_of_ports_mean_the_same(expressions: Statements) -> None:
    packets = accepted(*expressions)
    space = packets.space
    wanted = fields(space, l4proto=(6, 6), dport=(80, 90)) & where(space, TRANSPORT, (1, 1))
    assert is_set(packets, wanted)


ADDRESS_NOTATIONS: dict[str, Statements] = {
    "a prefix": [match(SADDR, prefix("10.0.0.0/8"))],
    "a prefix as text": [match(SADDR, "10.0.0.0/8")],
    "a range": [match(SADDR, {"range": ["10.0.0.0", "10.255.255.255"]})],
    "a mask": [match({"&": [SADDR, "255.0.0.0"]}, "10.0.0.0")],
    "raw payload": [match({"payload": {"base": "nh", "offset": 96, "len": 8}}, 10)],
    "a flipped mask": [match({"^": [{"&": [SADDR, "255.0.0.0"]}, "255.0.0.0"]}, "245.0.0.0")],
    "a shift": [match({">>": [SADDR, 24]}, 10)],
}


@pytest.mark.parametrize("expressions", ADDRESS_NOTATIONS.values(), ids=ADDRESS_NOTATIONS.keys())
def test_notations_of_addresses_mean_the_same(expressions: Statements) -> None:
    packets = accepted(*expressions, family="ip")
    assert is_set(packets, fields(packets.space, saddr=(0x0A000000, 0x0AFFFFFF)), "ip")


# -- what nft hides when it lists ----------------------------------------------------------------------------------


def test_a_port_of_tcp_asks_for_tcp_and_for_a_transport_header() -> None:
    packets = accepted(match(DPORT, 22, "!="))
    space = packets.space
    assert packets <= where(space, space.fields["l4proto"], (6, 6))
    assert packets <= where(space, TRANSPORT, (1, 1))


def test_an_address_of_one_family_matches_no_packet_of_the_other_not_even_negated() -> None:
    for operator in ("==", "!="):
        assert accepted(match(SADDR, "10.0.0.1", operator), universe=Universe.IP6).is_empty


def test_a_negated_match_on_icmp_asks_for_icmp() -> None:
    packets = accepted(match(field("icmp", "type"), "echo-request", "!="))
    assert packets <= where(packets.space, packets.space.fields["l4proto"], (1, 1))


def test_an_icmp_identifier_asks_for_the_types_that_have_one() -> None:
    packets = accepted(match(field("icmp", "id"), 5))
    space = packets.space
    assert packets.values(space.fields["icmp type"]) == ((0, 0), (8, 8))


def test_a_link_layer_address_asks_for_an_ethernet_interface() -> None:
    packets = accepted(match(field("ether", "saddr"), "02:00:00:00:00:01"))
    assert packets.values(packets.space.fields["iiftype"]) == ((1, 1),)


def test_ct_values_other_than_the_state_ask_for_a_connection() -> None:
    packets = accepted(match(ct("mark"), 5, "!="))
    space = packets.space
    assert packets.values(space.fields["ct state"]) == ((2, 2), (4, 4), (8, 8))


def test_a_rejection_for_one_family_does_nothing_in_the_other() -> None:
    loaded = ruleset(table({"forward": [[{"reject": {"type": "icmp", "expr": "host-unreachable"}}], [ACCEPT]]}))
    assert execute(loaded, "forward", Universe.IP).may.is_empty
    result = execute(loaded, "forward", Universe.IP6)
    assert result.must == result.domain


def test_raw_bits_of_the_transport_header_that_only_the_slow_way_reads_ask_for_a_whole_packet() -> None:
    fast = accepted(match({"payload": {"base": "th", "offset": 32, "len": 16}}, 5))
    slow = accepted(match({"payload": {"base": "th", "offset": 8, "len": 16}}, 5))
    later = where(fast.space, LATER_FRAGMENT, (1, 1))
    assert fast.overlaps(later)
    assert not slow.overlaps(where(slow.space, LATER_FRAGMENT, (1, 1)))


# -- odd shapes ----------------------------------------------------------------------------------------------------


def test_a_plain_match_on_flags_asks_for_any_of_them() -> None:
    (first, _) = statements(match(STATE, ["established", "related"], "in"), ACCEPT)
    assert isinstance(first, AnyBit)
    assert first.mask == 6


def test_a_match_on_flags_with_an_operator_asks_for_equality() -> None:
    (first, _) = statements(match(STATE, "established", "!="), ACCEPT)
    assert isinstance(first, Match)
    assert first.negated


def test_names_of_interfaces_with_an_asterisk_are_prefixes() -> None:
    packets = accepted(match(meta("iifname"), "eth*"))
    space = packets.space
    name = space.fields["iifname"]
    assert packets.overlaps(where(space, name, (int.from_bytes(b"eth7".ljust(16, b"\0"), "big"),) * 2))
    assert not packets.overlaps(where(space, name, (int.from_bytes(b"et".ljust(16, b"\0"), "big"),) * 2))


def test_an_interface_that_is_gone_is_not_understood() -> None:
    (first, _) = statements(match(meta("iif"), 7), ACCEPT)
    assert isinstance(first, Doubtful)
    assert first.doubt is Doubt.UNKNOWN


def test_a_catch_all_holds_for_keys_no_other_element_holds() -> None:
    vmap = {"vmap": {"key": SADDR, "data": {"set": [["10.0.0.1", DROP], ["*", ACCEPT]]}}}
    packets = execute(ruleset(table({"forward": [[vmap]]}, family="ip")), "forward").may
    space = packets.space
    outside = where(space, space.fields["saddr"], (0, 0x0A000000), (0x0A000002, 0xFFFFFFFF))
    assert is_set(packets, outside, "ip")


def test_a_set_that_rules_fill_is_dynamic_although_nft_does_not_say_so() -> None:
    scanners = {"set": {"name": "scanners", "type": "ipv4_addr", "size": 65535}}
    fill = {"set": {"op": "update", "elem": SADDR, "set": "@scanners"}}
    loaded = ruleset(table({"forward": [[match(SADDR, "@scanners"), DROP], [fill], [ACCEPT]]}, objects=[scanners]))
    assert loaded.tables[0].sets["scanners"].dynamic
    result = execute(loaded, "forward")
    assert result.must.is_empty
    assert result.may == result.domain
    assert {doubt.doubt for doubt in result.doubts} == {Doubt.STATE}


def test_a_set_whose_listed_type_is_wrong_is_read_by_what_is_looked_up_in_it() -> None:
    # nft 1.0.6 lists `typeof ip id . meta mark` as the type "mark".
    key = {"concat": [field("ip", "id"), meta("mark")]}
    named = {"set": {"name": "s", "type": ["mark"], "elem": [{"concat": [7, 1]}]}}
    packets = execute(ruleset(table({"forward": [[match(key, "@s"), ACCEPT]]}, objects=[named])), "forward")
    assert packets.certain
    assert packets.may.values(packets.space.fields["mark"]) == ((1, 1),)


def test_an_unreadable_element_makes_every_lookup_unknown_and_names_the_set() -> None:
    named = {"set": {"name": "s", "type": "ipv4_addr", "elem": ["10.0.0.1", {"oddity": 1}]}}
    result = execute(ruleset(table({"forward": [[match(SADDR, "@s"), ACCEPT]]}, objects=[named])), "forward")
    assert result.must.is_empty
    assert not result.may.is_empty
    assert "set s" in result.doubts[0].reason


# -- what cannot be decided from the packet ------------------------------------------------------------------------

OPEN: dict[str, tuple[dict[str, Any], Doubt]] = {
    "a rate limit": ({"limit": {"rate": 10, "per": "second"}}, Doubt.STATE),
    "a quota": ({"quota": {"val": 10, "val_unit": "mbytes"}}, Doubt.STATE),
    "a connection limit": ({"ct count": {"val": 20, "inv": True}}, Doubt.STATE),
    "chance": (match({"numgen": {"mode": "random", "mod": 2}}, 0), Doubt.STATE),
    "the clock": (match(meta("hour"), {"range": ["00:00", "01:00"]}), Doubt.STATE),
    "a local socket": (match({"socket": {"key": "transparent"}}, 1), Doubt.STATE),
    "a hash": (match({"jhash": {"mod": 2, "expr": SADDR}}, 0), Doubt.UNKNOWN),
    "a fingerprint": (match({"osf": {"key": "name"}}, "Linux"), Doubt.UNKNOWN),
    "an extension of iptables": ({"xt": {"type": "match", "name": "string"}}, Doubt.UNKNOWN),
    "a statement of tomorrow": ({"teleport": {"to": "mars"}}, Doubt.UNKNOWN),
    "an expression of tomorrow": (match({"aura": {"key": "colour"}}, "blue"), Doubt.UNKNOWN),
    "a header of tomorrow": (match(field("quic", "version"), 1), Doubt.UNKNOWN),
    "an operator of tomorrow": (match({"@@": [SADDR, 1]}, 1), Doubt.UNKNOWN),
    "a value that does not fit": (match(DPORT, 70000), Doubt.UNKNOWN),
}


@pytest.mark.parametrize(("expression", "doubt"), OPEN.values(), ids=OPEN.keys())
def test_followed_both_ways_with_its_place(expression: dict[str, Any], doubt: Doubt) -> None:
    result = execute(ruleset(table({"forward": [[match(DADDR, "10.0.0.9"), DROP], [expression, ACCEPT]]})), "forward")
    assert result.must.is_empty
    assert not result.may.is_empty
    (found,) = result.doubts
    assert found.doubt is doubt
    assert str(found.place) == "inet t forward rule 2 (handle 11)"
    assert found.reason


def test_a_quiet_machine_exceeds_no_limit() -> None:
    over = {"limit": {"rate": 10, "per": "second", "inv": True}}
    within = {"limit": {"rate": 10, "per": "second"}}
    for expression, passes in ((over, False), (within, True)):
        result = execute(ruleset(table({"forward": [[expression, ACCEPT]]})), "forward", quiet=True)
        assert result.certain
        assert bool(result.may) is passes


def test_doubt_that_nothing_follows_is_no_doubt() -> None:
    limited_log: Statements = [{"limit": {"rate": 1, "per": "second"}}, {"log": {"prefix": "x"}}]
    assert all(isinstance(statement, Note) for statement in statements(*limited_log))
    assert execute(ruleset(table({"forward": [limited_log, [ACCEPT]]})), "forward").doubts == ()


def test_translations_are_read_with_their_maps() -> None:
    data = {"set": [[{"concat": ["1.2.3.4", 80]}, {"concat": ["10.1.1.1", 8080]}]]}
    dnat = {"dnat": {"family": "ip", "addr": {"map": {"key": {"concat": [DADDR, DPORT]}, "data": data}}}}
    (found,) = statements(dnat)
    assert isinstance(found, Translate)
    assert found.both is not None
    assert found.both.width == 48


def test_verdict_maps_keep_their_verdicts() -> None:
    (found,) = statements({"vmap": {"key": STATE, "data": {"set": [["new", ACCEPT], ["invalid", DROP]]}}})
    assert isinstance(found, VerdictMap)
    assert len(found.elements) == 2


# -- documents that are not rulesets -------------------------------------------------------------------------------

REFUSED: dict[str, tuple[str, str]] = {
    "nothing": ("", "empty"),
    "a plain nft file": ("table inet t {\n}", "not JSON"),
    "half a document": ('{"nftables": [', "not JSON"),
    "another document": ('{"rules": []}', "nftables"),
    "a list": ("[1, 2]", "nftables"),
    "nested a million deep": ("[" * 1_000_000, "nested"),
    "an object that is two": ('{"nftables": [{"table": {}, "chain": {}}]}', "object 0"),
    "a command": ('{"nftables": [{"add": {"table": {"family": "ip", "name": "t"}}}]}', "command"),
    "a table without a name": ('{"nftables": [{"table": {"family": "ip"}}]}', "no name"),
    "a family that does not exist": ('{"nftables": [{"table": {"family": "ipx", "name": "t"}}]}', "ipx"),
    "a rule in no chain": (
        '{"nftables": [{"rule": {"family": "ip", "table": "t", "chain": "c", "expr": []}}]}',
        "not listed",
    ),
    "a number that is text": (
        '{"nftables": [{"chain": {"family": "ip", "table": "t", "name": "c", "hook": "input", "prio": "high"}}]}',
        "not a number",
    ),
}


@pytest.mark.parametrize(("text", "told"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_ruleset_is_refused_with_a_reason(text: str, told: str) -> None:
    with pytest.raises(RulesetError) as refused:
        read(parse(text))
    assert told in refused.value.message
    assert refused.value.hint


def test_a_plain_nft_file_is_told_how_to_become_one() -> None:
    with pytest.raises(RulesetError) as refused:
        parse("table inet filter {\n}")
    assert "nft --json list ruleset" in refused.value.hint


def test_a_jump_to_nowhere_is_refused() -> None:
    with pytest.raises(RulesetError, match="'nowhere'"):
        ruleset(table({"forward": [[{"jump": {"target": "nowhere"}}]]}))


def test_chains_in_a_circle_are_refused() -> None:
    circle = ruleset(table({"forward": [[{"jump": {"target": "a"}}]], "a": [[{"jump": {"target": "a"}}]]}))
    with pytest.raises(RulesetError, match="circle"):
        execute(circle, "forward")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=12,
)


@given(JSON)
def test_any_document_is_read_or_refused(one: object) -> None:
    for candidate in (one, {"nftables": one}, {"nftables": [one]}, {"nftables": [{"rule": one}]}):
        with contextlib.suppress(RulesetError):
            read(candidate)


def _sample() -> dict[str, Any]:
    named: Statements = [
        {
            "set": {
                "name": "s",
                "type": ["ipv4_addr", "inet_service"],
                "flags": ["interval"],
                "elem": [{"concat": [prefix("10.0.0.0/8"), {"range": [80, 90]}]}],
            }
        },
        {"map": {"name": "m", "type": "ipv4_addr", "map": "verdict", "elem": [["10.0.0.1", ACCEPT]]}},
    ]
    chains = {
        "prerouting": [[{"dnat": {"family": "ip", "addr": "10.0.0.1", "port": {"range": [1, 2]}}}]],
        "forward": [
            [match(STATE, ["established"], "in"), ACCEPT],
            [match({"concat": [SADDR, DPORT]}, "@s"), {"counter": {"packets": 0, "bytes": 0}}, ACCEPT],
            [{"vmap": {"key": SADDR, "data": "@m"}}],
            [match({"fib": {"result": "oif", "flags": ["saddr", "iif"]}}, False), DROP],
            [{"mangle": {"key": meta("mark"), "value": {"|": [meta("mark"), 16]}}}],
            [match({"&": [meta("mark"), 255]}, 16), {"jump": {"target": "c"}}],
        ],
        "c": [[{"reject": {"type": "icmpx", "expr": "admin-prohibited"}}]],
    }
    bases = {"prerouting": {"type": "nat", "prio": -100, "policy": "accept"}}
    return document(table(chains, objects=named, bases=bases))


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), JSON)
def test_any_change_of_a_document_is_read_or_refused_and_executed(seed: int, replacement: object) -> None:
    """No damage to a listed ruleset, however small, ends in anything but an answer or a refusal."""
    changed = copy.deepcopy(_sample())
    chance = random.Random(seed)
    node: Any = changed
    for _ in range(chance.randrange(2, 9)):
        if not isinstance(node, dict | list) or not node:
            break
        key = chance.choice(list(node) if isinstance(node, dict) else range(len(node)))
        if not isinstance(node[key], dict | list) or chance.random() < 0.2:
            node[key] = replacement
            break
        node = node[key]
    with contextlib.suppress(RingfortError):
        loaded = read(json.loads(json.dumps(changed)))
        for hook in hooks(loaded):
            for universe in hook.universes:
                execute(loaded, hook, universe)
