"""``ringfort verify`` over an environment, as people use it."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner, Result

from ringfort.cli import verify
from tests.proof import shop
from tests.proof.shop import ACCEPT, match, with_rule

SHOP = "examples/shop/environment.yaml"


def run(*words: str) -> Result:
    return CliRunner().invoke(verify.command, list(words))


def test_the_example_is_proved_and_the_exit_code_is_0() -> None:
    result = run(SHOP)
    assert result.exit_code == 0
    for claim in ("open", "closed", "depth", "confidential"):
        assert f"  {claim:<13}proved" in result.output
    assert "depth: owners that refuse anything undeclared" in result.output
    assert f"next: ringfort verify {SHOP} --live" in result.output


def test_json_is_json_and_nothing_else() -> None:
    result = run(SHOP, "--format", "json")
    assert result.exit_code == 0
    assert [claim["outcome"] for claim in json.loads(result.output)["claims"]] == ["proved"] * 4


def test_html_is_one_page() -> None:
    result = run(SHOP, "--format", "html")
    assert result.exit_code == 0
    assert result.output.lower().startswith("<!doctype html>")


def test_a_change_by_hand_is_refuted_with_its_rule_and_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = with_rule(shop.host("db-n-1"), "input", match("tcp", "dport", 22), ACCEPT)
    monkeypatch.setattr(verify, "rules_of", lambda *_, **__: (changed, shop.checks()))
    result = run(SHOP)
    assert result.exit_code == 1
    assert "depth is broken" in result.output
    assert "let in by host-firewall:db-n-1" in result.output
    assert "inet ringfort input rule 1 (handle 9999): tcp dport 22 accept" in result.output
    assert "run `ringfort up`" in result.output
    assert "next: ringfort explain" in result.output


def test_a_rule_that_is_not_understood_has_exit_code_3(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = {"xt": {"type": "match", "name": "bpf"}}
    changed = with_rule(shop.host("db-n-1"), "input", odd, ACCEPT)
    monkeypatch.setattr(verify, "rules_of", lambda *_, **__: (changed, shop.checks()))
    result = run(SHOP)
    assert result.exit_code == 3
    assert "unknown" in result.output


def test_what_does_not_go_together_is_refused() -> None:
    assert run().exit_code == 2
    assert run(SHOP, "--query", "tcp dport 22").exit_code == 2
    assert run(SHOP, "--ruleset", "x.json").exit_code == 2
