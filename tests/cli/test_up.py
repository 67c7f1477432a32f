"""``ringfort up`` and ``down`` as a person types them: what is printed, what is left, and the exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ringfort.lab import netns, state
from tests.lab import worlds

pytestmark = pytest.mark.lab

PROVED = worlds.SMALL.replace("  - {from: app, to: names}\n", "")
"""Without a flow that no caller has to prove itself for."""


@pytest.fixture
def name() -> Iterator[str]:
    found = worlds.name_of("cli")
    yield found
    ringfort("down", found)


def ringfort(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "ringfort", *map(str, words)], capture_output=True, text=True)


def test_up_builds_proves_attacks_and_says_what_to_do_next(tmp_path: Path, name: str) -> None:
    file = worlds.write(tmp_path, PROVED, "cli")
    first = ringfort("up", file)
    assert first.returncode == 0, first.stdout + first.stderr
    for words in ("open", "closed", "depth", "confidential", "proved", "held", "all work", "12 devices changed"):
        assert words in first.stdout
    assert f"ringfort drill {file}" in first.stdout
    assert "making 12 namespaces" in first.stderr
    second = ringfort("up", file, "--no-drill", "--format", "json")
    document = json.loads(second.stdout)
    assert (second.returncode, document["proof"]["outcome"]) == (0, "proved")
    assert (document["changes"]["devices-changed"], document["changes"]["services"]) == (0, "kept")
    down = ringfort("down", file)
    assert (down.returncode, down.stdout) == (0, f"{name}: 12 namespaces removed, services stopped\n")
    again = ringfort("down", file)
    assert (again.returncode, again.stdout) == (0, f"{name}: 0 namespaces removed\n")


def test_a_rule_added_by_hand_is_named_even_where_it_changes_nothing(tmp_path: Path, name: str) -> None:
    file = worlds.write(tmp_path, PROVED, "cli")
    assert ringfort("up", file, "--no-drill").returncode == 0
    untouched = ringfort("verify", file, "--live")
    assert (untouched.returncode, untouched.stderr) == (0, "")
    rule = ("inet", "ringfort", "input", "tcp", "dport", "22", "accept")
    inside = ("ip", "netns", "exec", f"rf-{name}.app-1")
    subprocess.run([*inside, "nft", "add", "rule", *rule], check=True)
    subprocess.run([*inside, "nft", "add", "rule", "inet", "ringfort", "output", "drop"], check=True)
    result = ringfort("verify", file, "--live", "--format", "json")
    document = json.loads(result.stdout)
    (intact,) = [r for r in document["refutations"] if r["claim"] == "intact"]
    assert (result.returncode, document["outcome"]) == (1, "refuted")
    assert "chain input of table inet ringfort: + tcp dport 22 accept" in intact["summary"]
    assert "chain output of table inet ringfort: + drop" in intact["summary"], "it changes nothing, and is told"
    assert ringfort("up", file, "--no-drill").returncode == 0
    assert ringfort("verify", file, "--live").returncode == 0


def test_a_refuted_environment_stays_up_and_says_so(tmp_path: Path, name: str) -> None:
    file = worlds.write(tmp_path, worlds.SMALL, "cli")
    result = ringfort("up", file, "--no-drill")
    assert result.returncode == 1
    assert f"The environment stays up. All of it: ringfort verify {file} --live" in result.stdout
    assert len(netns.names(f"rf-{name}.")) == 12


def test_a_dry_run_says_what_would_change_and_changes_nothing(tmp_path: Path, name: str) -> None:
    file = worlds.write(tmp_path, worlds.ONE_HOST, "cli")
    result = ringfort("up", file, "--dry-run")
    assert result.returncode == 0
    assert f"rf-{name}.app: make the namespace" in result.stdout
    assert "6 devices would change, 2 certificates would be issued, services started" in result.stdout
    assert netns.names(f"rf-{name}.") == []
    assert not state.directory(name).exists()


def test_a_dry_run_of_down_removes_nothing(tmp_path: Path, name: str) -> None:
    file = worlds.write(tmp_path, worlds.ONE_HOST, "cli")
    ringfort("up", file, "--no-drill")
    result = ringfort("down", file, "--dry-run")
    assert f"rf-{name}.app: remove the namespace" in result.stdout
    assert f"{name}: 6 namespaces would be removed, services would be stopped" in result.stdout
    assert len(netns.names(f"rf-{name}.")) == 6


def test_a_lab_whose_file_is_gone_or_broken_comes_down_by_its_name(tmp_path: Path, name: str) -> None:
    file = worlds.write(tmp_path, worlds.ONE_HOST, "cli")
    ringfort("up", file, "--no-drill")
    file.write_text("broken: [")
    assert ringfort("down", file).returncode == 2
    assert ringfort("down", name).stdout == f"{name}: 6 namespaces removed, services stopped\n"


@pytest.mark.parametrize("words", [("up", "nowhere.yaml"), ("down", "no/where.yaml"), ("down", "Not-A-Name")])
def test_what_does_not_exist_is_told(words: tuple[str, str]) -> None:
    result = ringfort(*words)
    assert result.returncode == 2
    assert words[1] in result.stderr
    assert "Traceback" not in result.stderr


def test_a_foreign_namespace_is_told_with_what_to_do(tmp_path: Path, name: str) -> None:
    file = worlds.write(tmp_path, worlds.ONE_HOST, "cli")
    foreign = f"rf-{name}.app"
    subprocess.run(["ip", "netns", "add", foreign], check=True)
    try:
        result = ringfort("up", file)
        assert result.returncode == 2
        assert "was not made by Ringfort" in result.stderr
        assert f"ip netns delete {foreign}" in result.stderr
    finally:
        subprocess.run(["ip", "netns", "delete", foreign], check=True)
