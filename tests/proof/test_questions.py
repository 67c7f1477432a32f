"""Questions about one ruleset, two side by side, and rules that decide nothing."""

from __future__ import annotations

from typing import Any

import pytest

from ringfort.proof.comparison import Relation, compare, overall
from ringfort.proof.cubes import cubes
from ringfort.proof.dead import Why, dead_rules
from ringfort.proof.execute import execute
from ringfort.proof.hooks import hooks
from ringfort.proof.query import Quantifier, QueryError, Verdict, answer, parse_query
from ringfort.proof.ruleset import Ruleset
from ringfort.proof.variables import Space
from ringfort.proof.witness import packet_text, witness
from tests.proof.documents import (
    ACCEPT,
    DADDR,
    DPORT,
    DROP,
    SADDR,
    STATE,
    field,
    jump,
    match,
    meta,
    prefix,
    ruleset,
    table,
)

Rules = list[list[dict[str, Any]]]
LIMIT = {"limit": {"rate": 10, "per": "second"}}


def filters(*rules: list[dict[str, Any]], policy: str = "drop", **chains: Rules) -> Ruleset:
    return ruleset(table({"forward": list(rules), **chains}, bases={"forward": {"policy": policy}}))


SSH = [match(SADDR, prefix("10.0.0.0/8")), match(DPORT, 22), ACCEPT]
WEB = [match(DPORT, {"set": [80, 443]}), ACCEPT]

# -- questions -----------------------------------------------------------------------------------------------------

ANSWERS = {
    "tcp from 10.1.0.0/16 to 10.1.2.3 port 22 in forward": Verdict.YES,
    "tcp from 192.0.2.1 port 22 in forward": Verdict.NO,
    "tcp from 192.0.2.1 port 22": Verdict.NO,
    "no tcp from 192.0.2.1 port 22 in forward": Verdict.YES,
    "no tcp port 22 in forward": Verdict.NO,
    "all tcp from 10.0.0.0/8 port 22 in forward": Verdict.YES,
    "all tcp port 22 in forward": Verdict.NO,
    "all tcp port 80,443 in forward": Verdict.YES,
    "tcp port 81-442 in forward": Verdict.NO,
    "udp in forward": Verdict.UNKNOWN,
    "all udp in forward": Verdict.UNKNOWN,
    "no udp in forward": Verdict.UNKNOWN,
    "icmp type echo-request in forward": Verdict.YES,
    "icmp type echo-reply in forward": Verdict.NO,
    "ip6 tcp port 443 in forward": Verdict.YES,
    "icmpv6 in forward": Verdict.NO,
    "tcp port 9 state established in forward": Verdict.NO,
    "tcp port 443 state any in forward": Verdict.YES,
    "saddr=10.1.1.1 dport=22 l4proto=tcp in forward": Verdict.YES,
    "tcp port 22 from 10.0.0.1-10.0.0.9 iif eth* oif lan0 in forward": Verdict.YES,
    "tcp port 443 source port 1024-65535 in prerouting,forward,postrouting": Verdict.YES,
    "tcp port 22 in input": Verdict.YES,
}


@pytest.mark.parametrize(("text", "verdict"), ANSWERS.items(), ids=ANSWERS.keys())
def test_a_question_gets_its_answer(text: str, verdict: Verdict) -> None:
    echo = [match(field("icmp", "type"), "echo-request"), ACCEPT]
    loaded = filters(SSH, WEB, echo, [match(meta("l4proto"), "udp"), LIMIT, ACCEPT])
    found = answer(loaded, parse_query(text))
    assert found.verdict is verdict
    if verdict is Verdict.UNKNOWN:
        assert [doubt.text for doubt in found.doubts] == ["limit rate 10/second"] * len(found.doubts)
        assert found.doubts
    if found.example is not None:
        assert witness(found.example) is not None


def test_an_answer_shows_a_packet() -> None:
    found = answer(filters(SSH), parse_query("all tcp to 10.1.2.3 port 22 in forward"))
    assert found.example is not None
    packet = witness(found.example)
    assert packet is not None
    assert packet_text(packet, found.example.space, found.example, found.asked[0]).startswith(
        "tcp 192.0.2.10:40000 -> 10.1.2.3:22"
    )


REFUSED = {
    "": (1, "empty"),
    "tcp fro 10.0.0.1 in forward": (5, "'from'"),
    "tcp from 10.0.0.300 in forward": (10, "10.0.0.300"),
    "tcp port 22,x in forward": (13, "'x'"),
    "tcp port": (9, "missing"),
    "tcp source 22": (12, "'port'"),
    "tcp in nowhere": (8, "'nowhere'"),
    "colour=blue in forward": (1, "colour"),
    "tcp state brown in forward": (11, "brown"),
}


@pytest.mark.parametrize(("text", "told"), REFUSED.items(), ids=REFUSED.keys())
def test_a_question_that_is_not_understood_is_refused_at_its_column(text: str, told: tuple[int, str]) -> None:
    with pytest.raises(QueryError) as refused:
        answer(filters(SSH), parse_query(text))
    column, word = told
    assert refused.value.column == column
    assert word in refused.value.message + refused.value.hint


def test_a_question_without_a_hook_needs_one_where_there_are_several() -> None:
    both = ruleset(table({"forward": [SSH], "input": [WEB]}))
    with pytest.raises(QueryError) as refused:
        answer(both, parse_query("tcp port 22"))
    assert "input, forward" in refused.value.hint


def test_questions_are_about_new_connections_unless_they_say_otherwise() -> None:
    established = filters([match(STATE, ["established"], "in"), ACCEPT])
    assert answer(established, parse_query("tcp in forward")).verdict is Verdict.NO
    assert answer(established, parse_query("tcp state any in forward")).verdict is Verdict.YES
    assert parse_query("tcp").quantifier is Quantifier.SOME


# -- two rulesets --------------------------------------------------------------------------------------------------


def relation(first: Ruleset, second: Ruleset) -> Relation:
    return overall(compare(first, second))


def test_the_same_in_other_words_is_equal() -> None:
    other = filters(
        [match(DPORT, 443), ACCEPT],
        [match(DPORT, 80), ACCEPT],
        [match(SADDR, prefix("10.128.0.0/9")), match(DPORT, 22), ACCEPT],
        [match(SADDR, prefix("10.0.0.0/9")), match(DPORT, 22), ACCEPT],
    )
    assert relation(filters(SSH, WEB), other) is Relation.EQUAL


def test_more_is_wider_and_less_is_narrower_with_a_packet_that_shows_it() -> None:
    comparisons = compare(filters(SSH), filters(SSH, WEB))
    assert overall(comparisons) is Relation.WIDER
    (added, _) = (one.added for one in comparisons)
    packet = witness(added)
    assert packet is not None
    assert packet.values["dport"] == 443
    assert relation(filters(SSH, WEB), filters(SSH)) is Relation.NARROWER
    assert relation(filters(SSH), filters(WEB)) is Relation.DIFFERENT


def test_rules_that_depend_on_the_same_state_in_the_same_way_are_equal() -> None:
    limited = filters([match(DPORT, 22), LIMIT, ACCEPT])
    assert relation(limited, filters([match(DPORT, 22), LIMIT, ACCEPT])) is Relation.EQUAL


def test_whether_a_limit_is_like_no_limit_is_unknown() -> None:
    limited, open_ = filters([match(DPORT, 22), LIMIT, ACCEPT]), filters([match(DPORT, 22), ACCEPT])
    (first, *_) = compare(limited, open_)
    assert first.relation is Relation.UNKNOWN
    assert [doubt.text for doubt in first.doubts] == ["limit rate 10/second"]


def test_a_hook_that_only_one_ruleset_uses_is_compared_with_accepting_all() -> None:
    assert relation(filters(SSH), ruleset(table({}))) is Relation.WIDER
    assert relation(ruleset(table({})), filters(SSH)) is Relation.NARROWER


# -- rules that decide nothing -------------------------------------------------------------------------------------


def dead(loaded: Ruleset) -> dict[int, Any]:
    spaces: dict[Any, Space] = {}
    results = [
        execute(loaded, hook, universe, space=spaces.setdefault(universe, Space(universe)))
        for hook in hooks(loaded)
        for universe in hook.universes
    ]
    return {
        entry.rule.place.number: entry for entry in dead_rules(loaded, results) if entry.rule.place.chain != "unused"
    }


def test_a_rule_whose_packets_an_earlier_one_takes_is_shadowed_by_it() -> None:
    found = dead(filters([match(SADDR, prefix("10.0.0.0/8")), DROP], SSH, WEB))
    assert list(found) == [2]
    assert found[2].why is Why.SHADOWED
    assert [rule.place.number for rule in found[2].by] == [1]


def test_several_rules_can_shadow_together() -> None:
    halves = [[match(SADDR, prefix(f"10.{n}.0.0/9")), match(DPORT, 22), ACCEPT] for n in (0, 128)]
    found = dead(filters(*halves, SSH))
    assert [rule.place.number for rule in found[3].by] == [1, 2]


def test_a_rule_that_contradicts_itself_is_told() -> None:
    found = dead(filters([match(DPORT, 22), match(meta("l4proto"), "udp"), ACCEPT], WEB))
    assert found[1].why is Why.CONTRADICTION


def test_a_rule_that_its_chains_callers_keep_packets_from_is_unreached() -> None:
    loaded = filters([match(DPORT, 80), jump("web")], web=[[match(DPORT, 22), ACCEPT]])
    assert dead(loaded)[1].why is Why.UNREACHED


def test_a_chain_nobody_jumps_to_is_unused() -> None:
    loaded = filters(SSH, unused=[WEB])
    result = execute(loaded, "forward")
    assert [entry.why for entry in dead_rules(loaded, [result])] == [Why.UNUSED]


def test_a_rule_for_one_family_is_not_dead_because_the_other_never_matches_it() -> None:
    six = [match(field("ip6", "saddr"), "2001:db8::1"), ACCEPT]
    assert dead(filters(SSH, six)) == {}


# -- lists for people ----------------------------------------------------------------------------------------------


def listed(loaded: Ruleset) -> list[str]:
    result = execute(loaded, "forward")
    found = cubes(result.may, result.domain)
    assert found.complete
    return [str(cube) for cube in found.cubes]


def test_a_list_looks_like_the_rules_it_comes_from() -> None:
    assert sorted(listed(filters(SSH, WEB))) == ["tcp from 10.0.0.0/8 port 22", "tcp port { 80, 443 }"]


def test_a_list_tells_all_but_where_that_is_shorter() -> None:
    assert listed(filters([match(meta("iifname"), "eth0"), DROP], policy="accept")) == [
        'any protocol iifname not "eth0"'
    ]
    assert listed(filters([match(DADDR, prefix("10.0.0.0/8")), DROP], policy="accept")) == [
        "any protocol to not 10.0.0.0/8"
    ]


def test_masks_that_no_interval_tells_are_told_as_masks() -> None:
    (line,) = listed(filters([match({"&": [meta("mark"), 255]}, 16), ACCEPT]))
    assert line == "any protocol meta mark & 0xff = 0x10"


def test_everything_and_nothing_are_told_in_a_word() -> None:
    assert listed(filters(policy="accept")) == ["everything"]
    assert listed(filters()) == []
