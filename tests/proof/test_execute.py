"""Execution: chains, priorities, translation, marks, doubt - as the kernel does it."""

from __future__ import annotations

from typing import Any

from ringfort.proof.execute import Result, execute
from ringfort.proof.fields import CT_STATE, IIFNAME, MARK, TRANSPORT, CtState, Field, Universe, name_value
from ringfort.proof.fields import DPORT as PORT
from ringfort.proof.hooks import Hook, Layer
from ringfort.proof.packets import PacketSet, everything, nothing, of_boxes, where
from ringfort.proof.trace import exactly, trace
from ringfort.proof.witness import witness
from tests.proof.documents import (
    ACCEPT,
    DADDR,
    DPORT,
    DROP,
    RETURN,
    SADDR,
    STATE,
    ct,
    field,
    goto,
    jump,
    match,
    meta,
    prefix,
    ruleset,
    table,
)

HOST = 0x0A000001
"""10.0.0.1"""


def new(packets: PacketSet) -> PacketSet:
    return packets & where(packets.space, CT_STATE, (CtState.NEW, CtState.NEW))


def ports(packets: PacketSet) -> tuple[tuple[int, int], ...]:
    """The TCP ports with an accepted packet."""
    space = packets.space
    return (packets & where(space, space.fields["l4proto"], (6, 6)) & where(space, TRANSPORT, (1, 1))).values(PORT)


def nat(rules: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    base = {"prerouting": {"type": "nat", "prio": -100, "policy": "accept"}}
    return table({"prerouting": rules}, name="nat", bases=base)


# -- chains --------------------------------------------------------------------------------------------------------


def test_jump_comes_back_and_goto_does_not() -> None:
    body = {"a": [[match(DPORT, 1), ACCEPT]]}
    after = [match(DPORT, 2), ACCEPT]
    jumped = execute(ruleset(table({"forward": [[jump("a")], after], **body})), "forward")
    gone = execute(ruleset(table({"forward": [[goto("a")], after], **body})), "forward")
    assert ports(jumped.may) == ((1, 2),)
    assert ports(gone.may) == ((1, 1),)


def test_a_goto_inside_a_jump_comes_back_to_the_one_who_jumped() -> None:
    chains = {
        "forward": [[jump("a")], [match(DPORT, 3), ACCEPT]],
        "a": [[goto("b")], [match(DPORT, 2), ACCEPT]],
        "b": [[match(DPORT, 1), ACCEPT]],
    }
    assert ports(execute(ruleset(table(chains)), "forward").may) == ((1, 1), (3, 3))


def test_return_from_a_base_chain_meets_the_policy() -> None:
    chains: dict[str, list[list[dict[str, Any]]]] = {"forward": [[match(DPORT, 1), RETURN], [ACCEPT]]}
    result = execute(ruleset(table(chains)), "forward")
    assert ports(result.may) == ((0, 0), (2, 65535))


def test_a_packet_must_be_accepted_by_every_base_chain_of_every_table() -> None:
    first = table({"forward": [[match(DPORT, {"range": [1, 10]}), ACCEPT]]})
    second = table({"forward": [[match(DPORT, {"range": [5, 20]}), ACCEPT]]}, name="u", family="ip")
    assert ports(execute(ruleset(first, second), "forward").may) == ((5, 10),)
    assert ports(execute(ruleset(first, second), "forward", Universe.IP6).may) == ((1, 10),)


def test_a_dormant_table_sees_nothing() -> None:
    sleeping = table({"forward": []})
    sleeping[0]["table"]["flags"] = "dormant"
    result = execute(ruleset(sleeping), "forward")
    assert result.must == result.domain


def test_no_chain_at_a_hook_accepts() -> None:
    result = execute(ruleset(table({"input": []})), "forward")
    assert result.must == result.domain


def test_rules_of_one_verdict_taken_together_give_the_same() -> None:
    rules = [[match(DPORT, n), ACCEPT if n % 3 else DROP] for n in (1, 2, 3, 4, 4, 6, 7)]
    loaded = ruleset(table({"forward": rules}))
    slow = execute(loaded, "forward")
    quick = execute(loaded, "forward", space=slow.space, details=False)
    assert quick.may == slow.may
    assert ports(slow.may) == ((1, 2), (4, 4), (7, 7))


# -- change --------------------------------------------------------------------------------------------------------


def test_a_mark_set_earlier_is_read_later_in_the_next_chain_and_the_next_hook() -> None:
    marking = table(
        {"prerouting": [[match(SADDR, prefix("10.0.0.0/8")), {"mangle": {"key": meta("mark"), "value": 7}}]]},
        bases={"prerouting": {"prio": -150, "policy": "accept"}},
    )
    asking = table({"forward": [[match(meta("mark"), 7), ACCEPT]]}, name="u")
    result = execute(ruleset(marking, asking), ["prerouting", "forward"])
    space = result.space
    assert where(space, space.fields["saddr"], (HOST, HOST)) & result.domain <= result.must
    others = where(space, space.fields["saddr"], (0x0B000000, 0x0B000000))
    assert (result.may & others) == (result.domain & others & where(space, MARK, (7, 7)))


def test_bits_of_a_mark_change_by_themselves() -> None:
    value = {"|": [{"&": [meta("mark"), 0xFFFFFFF0]}, 1]}
    chains = {"forward": [[{"mangle": {"key": meta("mark"), "value": value}}], [match(meta("mark"), 0x21), ACCEPT]]}
    result = execute(ruleset(table(chains)), "forward")
    assert result.may.values(MARK) == ((0x20, 0x2F),)


def test_a_mark_from_a_map_is_known_for_each_packet() -> None:
    value = {"map": {"key": SADDR, "data": {"set": [["10.0.0.1", 5], ["10.0.0.2", 6]]}}}
    chains = {"forward": [[{"mangle": {"key": meta("mark"), "value": value}}], [match(meta("mark"), 6), ACCEPT]]}
    result = execute(ruleset(table(chains)), "forward")
    assert result.certain
    space = result.space
    unmarked = where(space, space.fields["saddr"], (0x0A000001, 0x0A000001))
    assert not result.may.overlaps(unmarked)
    assert where(space, space.fields["saddr"], (0x0A000002, 0x0A000002)) & result.domain <= result.must


DNAT = {"dnat": {"family": "ip", "addr": {"map": {"key": {"concat": [DADDR, DPORT]}, "data": {"set": [
    [{"concat": ["198.51.100.5", 443]}, {"concat": ["10.0.0.1", 8443]}],
    [{"concat": ["198.51.100.6", 443]}, {"concat": ["10.0.0.2", 8443]}],
]}}}}}  # fmt: skip


def published() -> Result:
    filters = table({"forward": [
        [match(ct("status"), "dnat", "in"), match(DADDR, "10.0.0.1"), match(DPORT, 8443), ACCEPT],
    ]})  # fmt: skip
    return execute(ruleset(nat([[DNAT]]), filters), ["prerouting", "forward"])


def test_translation_comes_before_the_filter_and_the_answer_speaks_of_packets_as_they_arrive() -> None:
    result = published()
    space = result.space
    packets = new(result.must)
    assert result.must == result.may
    assert packets.values(space.fields["daddr"]) == ((0xC6336405, 0xC6336405),)
    assert packets.values(PORT) == ((443, 443),)
    assert packets <= result.leaving_with(space.fields["daddr"], (HOST, HOST))
    assert new(result.unchanged(space.fields["daddr"])).is_empty


def test_a_packet_sent_to_the_private_address_directly_was_not_translated() -> None:
    result = published()
    space = result.space
    direct = where(space, space.fields["daddr"], (HOST, HOST)) & where(space, PORT, (8443, 8443))
    assert not new(result.may).overlaps(direct)


def test_the_first_translation_wins() -> None:
    first = {"dnat": {"family": "ip", "addr": "10.0.0.1"}}
    second = {"dnat": {"family": "ip", "addr": "10.0.0.2"}}
    filters = table({"forward": [[match(DADDR, "10.0.0.1"), ACCEPT]]})
    result = execute(ruleset(nat([[first], [second]]), filters), ["prerouting", "forward"])
    assert new(result.domain) <= result.must


def test_only_the_first_packet_of_a_connection_is_translated_by_rules() -> None:
    result = execute(ruleset(nat([[DROP]])), "prerouting")
    space = result.space
    assert new(result.may).is_empty
    assert where(space, CT_STATE, (CtState.ESTABLISHED, CtState.ESTABLISHED)) & result.domain <= result.must


def test_an_address_that_no_ruleset_tells_is_unknown_with_the_reason() -> None:
    redirect = table(
        {"prerouting": [[{"redirect": {"port": 80}}]]},
        name="nat",
        bases={"prerouting": {"type": "nat", "prio": -100, "policy": "accept"}},
    )
    filters = table({"input": [[match(DADDR, "10.0.0.1"), ACCEPT]]})
    result = execute(ruleset(redirect, filters), ["prerouting", "input"])
    assert new(result.must).is_empty
    assert not new(result.may).is_empty
    assert "redirect" in result.doubts[0].reason


def test_a_hop_is_lost_on_the_way_to_the_forward_hook() -> None:
    loaded = ruleset(table({"forward": [[match(field("ip", "ttl"), 63), ACCEPT]]}))
    packets = execute(loaded, ["prerouting", "forward"]).may
    vector = packets.space.vector(Field("nh", 64, 8))
    assert packets <= PacketSet(packets.space, packets.space.between(vector, 64, 64))


def test_before_connections_are_tracked_there_is_no_state() -> None:
    base = {"prerouting": {"prio": -300, "policy": "accept"}}
    early = table({"prerouting": [[match(STATE, "invalid", "in"), DROP]]}, bases=base)
    result = execute(ruleset(early), "prerouting")
    arrives, returns = (where(result.space, IIFNAME, (name_value(n), name_value(n))) for n in ("eth0", "lo"))
    assert not new(result.may).overlaps(arrives)
    assert new(result.may).overlaps(returns)  # what the machine sends to itself carries its connection already


def test_notrack_lasts() -> None:
    early = table({"prerouting": [[{"notrack": None}]]}, bases={"prerouting": {"prio": -300, "policy": "accept"}})
    later = table({"forward": [[match(STATE, "untracked", "in"), ACCEPT]]}, name="u")
    result = execute(ruleset(early, later), ["prerouting", "forward"])
    assert result.must == result.domain


# -- hooks ---------------------------------------------------------------------------------------------------------


def test_there_is_no_output_interface_before_routing_and_no_input_interface_on_the_way_out() -> None:
    for hook, key in (("input", "oifname"), ("prerouting", "oifname"), ("output", "iifname")):
        loaded = ruleset(table({hook: [[match(meta(key), "eth0"), ACCEPT]]}))
        assert execute(loaded, hook).may.is_empty
        loaded = ruleset(table({hook: [[match(meta(key), "eth0", "!="), ACCEPT]]}))
        result = execute(loaded, hook)
        assert result.must == result.domain


def test_a_bridge_sees_arp_and_other_protocols() -> None:
    asks = [match(field("arp", "operation"), "request"), match(field("arp", "saddr ip"), "10.0.0.1")]
    chains = {"forward": [[*asks, ACCEPT]]}
    loaded = ruleset(table(chains, family="bridge"))
    hook = Hook("forward", Layer.BRIDGE)
    assert execute(loaded, hook, Universe.ARP).may.values(
        execute(loaded, hook, Universe.ARP).space.fields["arp operation"]
    ) == ((1, 1),)
    for universe in (Universe.IP, Universe.IP6, Universe.OTHER):
        assert execute(loaded, hook, universe).may.is_empty


def test_a_chain_whose_device_nft_does_not_list_may_or_may_not_stand_at_a_device() -> None:
    base = {"ingress": {"type": "filter", "hook": "ingress", "prio": 0, "policy": "drop"}}
    loaded = ruleset(table({"ingress": []}, family="netdev", bases=base))
    assert execute(loaded, Hook("ingress", Layer.NETDEV)).may.is_empty
    result = execute(loaded, Hook("ingress", Layer.NETDEV, "eth0"))
    assert result.may == result.domain
    assert result.must.is_empty
    assert "device" in result.doubts[0].reason


# -- opaque lookups ------------------------------------------------------------------------------------------------


def test_opaque_lookups_expand_to_the_same_set() -> None:
    named: list[dict[str, Any]] = [
        {"set": {"name": "bad", "type": "ipv4_addr", "flags": ["interval"], "elem": [prefix("10.9.0.0/16")]}},
        {"map": {"name": "flows", "type": ["ipv4_addr", "inet_service"], "map": "verdict", "elem": [
            [{"concat": ["10.0.0.1", 80]}, goto("one")],
            [{"concat": ["10.0.0.2", 81]}, goto("two")],
            [{"concat": ["10.9.0.2", 82]}, ACCEPT],
            [{"concat": ["10.0.0.3", 83]}, DROP],
        ]}},
    ]  # fmt: skip
    chains = {
        "forward": [
            [match(SADDR, "@bad"), DROP],
            [{"vmap": {"key": {"concat": [SADDR, DPORT]}, "data": "@flows"}}],
            [match(DPORT, 9), ACCEPT],
        ],
        "one": [[{"counter": {"packets": 0, "bytes": 0}}, ACCEPT]],
        "two": [[{"counter": "named"}], [ACCEPT]],
    }
    loaded = ruleset(table(chains, objects=named))
    result = execute(loaded, "forward", opaque=True)
    # Both chains count and accept, and so does the verdict itself: one behaviour, one variable.
    assert len(result.opaque) == 3
    space = result.space
    meaning = {}
    for one in result.opaque:
        fields = [f for f in one.fields if f is not None]
        meaning[one.number] = of_boxes(space, fields, [element.key for element in one.elements])
    expanded = nothing(space)
    for term in result.terms(result.may):
        part = term.packets
        for number in term.true:
            part = part & meaning[number]
        for number in term.false:
            part = part - meaning[number]
        expanded = expanded | part
    assert expanded == execute(loaded, "forward", space=space).may


def test_a_lookup_that_depends_on_state_or_on_a_change_is_never_opaque() -> None:
    named = [{"set": {"name": "s", "type": "mark", "elem": [5]}}]
    chains = {"forward": [[{"mangle": {"key": meta("mark"), "value": 5}}], [match(meta("mark"), "@s"), ACCEPT]]}
    result = execute(ruleset(table(chains, objects=named)), "forward", opaque=True)
    assert result.opaque == ()
    assert result.must == result.domain


# -- the way of a packet -------------------------------------------------------------------------------------------


def test_a_trace_names_the_rules_that_decided() -> None:
    result = published()
    packet = witness(new(result.may))
    assert packet is not None
    filters = table({"forward": [[match(ct("status"), "dnat", "in"), ACCEPT]]})
    steps, traced = trace(ruleset(nat([[DNAT]]), filters), ["prerouting", "forward"], exactly(result.space, packet))
    assert [(str(step.place), step.verdict.split()[0]) for step in steps] == [
        ("inet nat prerouting rule 1 (handle 10)", "dnat"),
        ("inet t forward rule 1 (handle 10)", "accept"),
    ]
    assert all(step.certain and step.all_packets for step in steps)
    assert traced.must == exactly(result.space, packet)


def test_a_trace_ends_with_the_policy_where_no_rule_decides() -> None:
    loaded = ruleset(table({"forward": [[match(DPORT, 1), ACCEPT]]}))
    result = execute(loaded, "forward")
    packet = witness(result.domain - result.may)
    assert packet is not None
    steps, _ = trace(loaded, "forward", exactly(result.space, packet))
    assert [str(step.place) for step in steps] == ["inet t forward policy"]


def test_results_of_one_space_are_compared_by_equality() -> None:
    loaded = ruleset(table({"forward": [[match(DPORT, {"set": [1, 2]}), ACCEPT]]}))
    other = ruleset(table({"forward": [[match(DPORT, 2), ACCEPT], [match(DPORT, 1), ACCEPT]]}))
    one = execute(loaded, "forward")
    two = execute(other, "forward", space=one.space)
    assert one.may == two.may != everything(one.space)
