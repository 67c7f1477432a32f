"""``ringfort check``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.command import run
from tests.environment.declare import SOUND, edited

EXAMPLE = Path(__file__).parents[2] / "examples" / "shop"
BROKEN = edited(("customer: acme}", "custmer: acme}"), ("[10.1.4.10,", "[10.1.4.1,"))


@pytest.fixture
def main(tmp_path: Path) -> Path:
    path = tmp_path / "environment.yaml"
    path.write_text(SOUND)
    return path


def test_a_sound_environment_is_summarised(main: Path) -> None:
    ran = run("check", main)
    assert ran.code == 0
    assert ran.err == ""
    assert ran.out.splitlines() == [
        "sound  test (test.example)",
        "  site north: 2 routers, 1 providers, 6 segments, 7 hosts",
        "  site south: 1 routers, 1 providers, 1 segments, 1 hosts",
        "  5 services, 2 times published",
        "  6 flows between 7 pairs of hosts; everything else is refused",
    ]


def test_a_directory_may_be_named() -> None:
    assert run("check", EXAMPLE).code == 0


def test_all_problems_go_to_stderr_with_place_text_and_hint(main: Path) -> None:
    main.write_text(BROKEN)
    ran = run("check", main)
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.splitlines() == [
        f"{main}:29:48: 10.1.4.1 of 'db' is the gateway's address in segment north/data [address-reserved]",
        '    db: {site: north, segment: data, addresses: [10.1.4.1, "fd00:1:0:4::10"], services: [database]}',
        "    hint: 10.1.4.2 is free",
        f"{main}:31:40: 'custmer' is not a key that is known here [unknown-key]",
        "    acme: {site: north, segment: guests, custmer: acme}",
        "    hint: did you mean 'customer'?",
        "error: 2 problems found [declaration-refused]",
    ]


def test_scripts_get_a_sound_environment_as_json(main: Path) -> None:
    ran = run("check", main, "--format", "json")
    assert ran.code == 0
    assert json.loads(ran.out) == {
        "result": "sound",
        "environment": "test",
        "trust-domain": "test.example",
        "sites": 2,
        "routers": 3,
        "providers": 2,
        "segments": 7,
        "hosts": 8,
        "services": 5,
        "flows": 6,
        "pairs": 7,
        "published": 2,
    }


def test_scripts_get_the_problems_as_json_on_stdout(main: Path) -> None:
    main.write_text(BROKEN)
    ran = run("check", main, "--format=json")
    assert ran.code == 2
    assert ran.err == ""
    told = json.loads(ran.out)
    assert told["result"] == "refused"
    assert told["problems"][1] == {
        "code": "unknown-key",
        "file": str(main),
        "line": 31,
        "column": 40,
        "message": "'custmer' is not a key that is known here",
        "excerpt": "acme: {site: north, segment: guests, custmer: acme}",
        "hint": "did you mean 'customer'?",
    }


def test_brackets_in_a_file_are_printed_as_they_are(main: Path) -> None:
    main.write_text(edited(("customer: acme}", 'customer: "[red]x[/red]\\\\[b]"}')))
    odd = main.rename(main.with_name("[bold]\\.yaml"))
    ran = run("check", odd)
    assert ran.code == 2
    assert ran.err.startswith(f"{odd}:31:50: ")
    assert "'[red]x[/red]\\[b]' is not a name" in ran.err


@pytest.mark.parametrize("words", [["check"], ["check", "a", "b"], ["check", "a", "--format", "xml"], ["chek"]])
def test_wrong_usage_exits_with_2(words: list[str]) -> None:
    ran = run(*words)
    assert ran.code == 2
    assert "Usage: ringfort" in ran.err


def test_a_missing_file_is_told_without_a_traceback(tmp_path: Path) -> None:
    ran = run("check", tmp_path / "nothing.yaml")
    assert ran.code == 2
    assert "there is no file" in ran.err
    assert "Traceback" not in ran.err
