"""What every verb has in common: a quick help, no traceback, a pipe that may close, colour only where wanted."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from ringfort.cli.main import VERBS

EXAMPLE = str(Path(__file__).resolve().parents[2] / "examples" / "shop")
HEAVY = {"numba", "numpy", "oxidd", "pyroute2", "cryptography", "jinja2", "pydantic"}


def ringfort(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ringfort", *words]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})


def test_help_needs_nothing_heavy() -> None:
    program = f"""
import sys
from click.testing import CliRunner
from ringfort.cli.main import ringfort
assert CliRunner().invoke(ringfort, ["--help"]).exit_code == 0
print(*sorted({HEAVY!r} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_the_overview_names_every_verb_and_the_version_is_told() -> None:
    overview = ringfort("--help").stdout
    assert [verb for verb in VERBS if f"\n  {verb} " not in overview] == []
    assert ringfort("--version").stdout.startswith("ringfort, version ")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["frobnicate"], "frobnicate"),
        (["check"], "ENV"),
        (["check", EXAMPLE, "--nonsense"], "--nonsense"),
        (["check", EXAMPLE, "--format", "xml"], "xml"),
        (["check", "no-such-file.yaml"], "no-such-file.yaml"),
        (["compile", EXAMPLE, "--device", "host:nobody"], "host:nobody"),
    ],
)
def test_what_cannot_be_done_is_named_on_stderr_and_exits_with_2(words: list[str], named: str) -> None:
    done = ringfort(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert named in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [["compile", EXAMPLE], ["check", EXAMPLE], ["diff", EXAMPLE, EXAMPLE]])
def test_a_reader_that_goes_away_ends_it_quietly(words: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as out:
        command = [sys.executable, "-m", "ringfort", *words]
        done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 141
    assert done.stderr == ""


def in_a_terminal(*words: str, **environment: str) -> str:
    """What a person in a terminal sees."""
    ours, theirs = pty.openpty()
    environ = (
        {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
        | {"TERM": "xterm-256color"}
        | environment
    )
    process = subprocess.Popen([sys.executable, "-m", "ringfort", *words], stdout=theirs, stderr=theirs, env=environ)
    os.close(theirs)
    seen = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # Linux's way to say that the other end is closed
            break
        if not piece:
            break
        seen += piece
    os.close(ours)
    process.wait()
    return seen.decode()


def test_colour_is_for_terminals_and_can_be_refused() -> None:
    assert "\x1b[" in in_a_terminal("check", "no-such-file.yaml")
    assert "\x1b[3" not in in_a_terminal("check", "no-such-file.yaml", NO_COLOR="1")
    assert "\x1b" not in ringfort("check", "no-such-file.yaml").stderr
    assert "\x1b" not in ringfort("check", EXAMPLE).stdout


@pytest.mark.parametrize(
    "words", [["check", EXAMPLE], ["diff", EXAMPLE, EXAMPLE], ["compile", EXAMPLE], ["verify", EXAMPLE]]
)
def test_json_is_one_document_and_nothing_else(words: list[str]) -> None:
    done = ringfort(*words, "--format", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)


def test_the_largest_of_our_own_rulesets_can_be_asked_about(tmp_path: Path) -> None:
    """Packet sets are walked by recursion; once, Python's limit on it ended this with a traceback."""
    file = tmp_path / "router.json"
    file.write_text(ringfort("compile", EXAMPLE, "--device", "router:north-r1", "--format", "json").stdout)
    done = ringfort("verify", "--ruleset", str(file), "--format", "json")
    assert "Traceback" not in done.stderr
    assert json.loads(done.stdout)


def test_an_error_of_ours_does_not_look_like_a_verdict() -> None:
    program = """
import sys
from unittest import mock
from ringfort.cli import main
sys.argv = ["ringfort", "check", "x"]
with mock.patch.object(main.ringfort, "main", side_effect=ZeroDivisionError):
    main.main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 70
    assert "ZeroDivisionError" in done.stderr
    assert "please report it" in done.stderr


def test_completion_offers_the_verbs() -> None:
    offered = ringfort(_RINGFORT_COMPLETE="bash_complete", COMP_WORDS="ringfort ", COMP_CWORD="1").stdout
    assert {line.partition(",")[2] for line in offered.splitlines()} == set(VERBS)
