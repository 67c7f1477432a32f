"""``ringfort verify --ruleset``: for people who use nothing else of Ringfort."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import run
from tests.proof.documents import ACCEPT, DPORT, DROP, SADDR, STATE, document, match, prefix, table

SSH = [match(SADDR, prefix("10.0.0.0/8")), match(DPORT, 22), ACCEPT]
WEB = [match(DPORT, {"set": [80, 443]}), ACCEPT]


def written(path: Path, *rules: list[dict[str, Any]]) -> Path:
    path.write_text(json.dumps(document(table({"input": [[match(STATE, "new", "!="), DROP], *rules]}))))
    return path


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    return written(tmp_path / "rules.json", SSH, WEB)


def test_a_survey_tells_what_each_hook_accepts(rules: Path) -> None:
    ran = run("verify", "--ruleset", rules)
    assert ran.code == 0
    assert ran.err == ""
    assert ran.out.splitlines() == [
        "input, IPv4: accepts",
        "    tcp port { 80, 443 } ct state new",
        "    tcp from 10.0.0.0/8 port 22 ct state new",
        "input, IPv6: accepts",
        "    tcp port { 80, 443 } ct state new",
    ]


def test_dead_rules_are_found_with_the_rule_that_shadows_them(tmp_path: Path) -> None:
    ran = run("verify", "--ruleset", written(tmp_path / "r.json", [match(SADDR, prefix("10.0.0.0/8")), DROP], SSH))
    assert ran.code == 1
    assert ran.out.splitlines()[-4:] == [
        "rules that decide nothing:",
        "  inet t input rule 3 (handle 12): ip saddr 10.0.0.0/8 tcp dport 22 accept",
        "      shadowed: earlier rules take all its packets",
        "      by inet t input rule 2 (handle 11): ip saddr 10.0.0.0/8 drop",
    ]


def test_what_is_not_understood_is_told_with_its_place(tmp_path: Path) -> None:
    ran = run("verify", "--ruleset", written(tmp_path / "r.json", [{"teleport": None}, ACCEPT]))
    assert ran.code == 3
    assert "  inet t input rule 2 (handle 11): teleport" in ran.out.splitlines()
    assert "      not understood: statement teleport is not known here" in ran.out.splitlines()


def test_a_question_is_answered_with_a_packet_and_its_way(rules: Path) -> None:
    ran = run("verify", "--ruleset", rules, "--query", "no tcp port 22 in input")
    assert ran.code == 1
    assert ran.out.splitlines()[:3] == [
        "no: no tcp port 22 in input",
        "  for example tcp 10.0.0.10:40000 -> 198.51.100.20:22",
        "      inet t input rule 2 (handle 11): ip saddr 10.0.0.0/8 tcp dport 22 accept",
    ]
    assert run("verify", "--ruleset", rules, "--query", "no udp in input").code == 0


def test_two_rulesets_are_compared(rules: Path, tmp_path: Path) -> None:
    same = written(tmp_path / "same.json", [match(DPORT, 443), ACCEPT], SSH, [match(DPORT, 80), ACCEPT])
    ran = run("verify", "--ruleset", rules, "--ruleset", same)
    assert (ran.code, ran.out) == (0, "equal: both accept the same packets\n")
    wider = written(tmp_path / "wider.json", SSH, WEB, [match(DPORT, 25), ACCEPT])
    ran = run("verify", "--ruleset", rules, "--ruleset", wider)
    assert ran.code == 1
    assert ran.out.splitlines()[:4] == [
        "wider: the second accepts more than the first",
        "input, IPv4: wider",
        "  accepted by the second only, for example tcp 192.0.2.10:40000 -> 198.51.100.20:25, ct state new",
        "    tcp port 25 ct state new",
    ]


def test_the_result_as_json(rules: Path) -> None:
    ran = run("verify", "--ruleset", rules, "--format", "json")
    survey = json.loads(ran.out)
    assert survey["kind"] == "survey"
    assert [hook["hook"] for hook in survey["hooks"]] == ["input", "input"]
    assert survey["dead"] == []


REFUSED = {
    "a plain nft file": ("table inet t {\n}\n", "nft --json list ruleset"),
    "a file that is not JSON": ('{"nftables": [}', "line 1"),
    "bytes that are no text": ("\udcff\udcfe", "UTF-8"),
    "an empty file": ("", "empty"),
    "a ruleset with a hole": ('{"nftables": [{"rule": {"family": "ip", "table": "t", "chain": "c"}}]}', "not listed"),
}


@pytest.mark.parametrize(("content", "told"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_ruleset_is_refused(content: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "rules"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    ran = run("verify", "--ruleset", path)
    assert ran.code == 2
    assert ran.out == ""
    assert told in ran.err
    assert "Traceback" not in ran.err


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    ran = run("verify", "--ruleset", tmp_path / "missing.json")
    assert ran.code == 2
    assert "No such file" in ran.err


def test_a_question_that_is_not_understood_is_told_with_its_column(rules: Path) -> None:
    ran = run("verify", "--ruleset", rules, "--query", "tcp fro 10.0.0.1 in input")
    assert ran.code == 2
    assert "column 5" in ran.err
    assert "did you mean 'from'?" in ran.err


def test_three_rulesets_are_one_too_many(rules: Path) -> None:
    assert run("verify", *["--ruleset", rules] * 3).code == 2
