"""``ringfort explain`` as people use it."""

from __future__ import annotations

import json

from click.testing import CliRunner, Result

from ringfort.cli.explain import command

SHOP = "examples/shop/environment.yaml"


def run(*words: str) -> Result:
    return CliRunner().invoke(command, [SHOP, *words])


def test_the_way_of_a_declared_flow_is_printed_and_the_exit_code_is_0() -> None:
    result = run("web-n-1", "app")
    assert result.exit_code == 0
    assert "declared by flow web-to-app (examples/shop/flows.yaml:" in result.output
    assert "router-filter:north-r1" in result.output
    assert "it gets through" in result.output


def test_a_refused_packet_has_exit_code_1_and_says_who_refuses() -> None:
    result = run("acme-n-1", "db-n-1", "tcp/5432")
    assert result.exit_code == 1
    assert "refused by 3 owners: sandbox-filter:acme-n-1, router-filter:north-r1" in result.output


def test_json_is_json_and_nothing_else() -> None:
    result = run("acme-n-1", "db-n-1", "tcp/5432", "--format", "json", "--without", "router-filter:north-r1")
    assert result.exit_code == 1
    assert json.loads(result.output)["without"] == ["router-filter:north-r1"]


def test_help_has_examples() -> None:
    assert "ringfort explain examples/shop" in run("--help").output
