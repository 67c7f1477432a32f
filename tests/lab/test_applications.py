"""Two customers' applications on a lab, from `ringfort up` to its visitors: real guests, real orders, real packets."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ringfort.environment.load import load
from ringfort.lab import netns, state
from ringfort.lab.lab import Lab
from ringfort.proof.claims import verify
from tests.lab import worlds
from tests.lab.hosting import HOSTED, beside

pytestmark = pytest.mark.lab


def ringfort(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "ringfort", *map(str, words)], capture_output=True, text=True)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("hosted")
    beside(directory)
    found = worlds.write(directory, HOSTED, "hosted")
    yield found
    ringfort("down", found)


@pytest.fixture(scope="module")
def first(file: Path) -> dict[str, Any]:
    done = ringfort("up", file, "--no-drill", "--format", "json")
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads(done.stdout)["applications"])


def test_up_deploys_both_applications_and_visitors_reach_them_under_their_names(first: dict[str, Any]) -> None:
    assert first["troubles"] == []
    found = {one["name"]: one for one in first["applications"]}
    assert {name: one["customer"] for name, one in found.items()} == {"guestbook": "acme", "hello": "globex"}
    assert all(one["new"] and one["addresses"] == 1 for one in found.values())
    assert found["guestbook"]["places"] == ["acme-1", "acme-2"]
    assert found["hello"]["places"] == ["globex-1"]


def test_no_request_fails_while_an_application_is_updated(first: dict[str, Any]) -> None:
    (update,) = [one["update"] for one in first["applications"] if one["update"]]
    assert update["requests"] > 50
    assert update["failed"] == {}


def test_a_customer_reaches_nothing_of_the_other(first: dict[str, Any]) -> None:
    refused = first["refused"]
    assert "guestbook of acme to globex's certificate" in refused
    assert "hello of globex to acme's certificate" in refused
    assert "globex-1 port 8080 to host:acme-1" in refused
    assert "globex-1 port 8080 to visitor" in refused


def test_the_claims_hold_with_instances_in_their_places(first: dict[str, Any], file: Path) -> None:
    assert first
    with Lab(load(file)) as lab:
        documents, checks = lab.read_back()
        assert verify(lab.environment, documents, checks).exit_code == 0


def test_a_second_up_finds_them_and_changes_nothing(first: dict[str, Any], file: Path) -> None:
    assert first
    done = ringfort("up", file, "--no-drill", "--format", "json")
    document = json.loads(done.stdout or "{}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (done.returncode, document["changes"]["devices-changed"]) == (0, 0), document["applications"]
    assert not any(one["new"] or one["update"] for one in document["applications"]["applications"])


def test_down_leaves_nothing(first: dict[str, Any], file: Path) -> None:
    assert first
    name = load(file).name
    assert ringfort("down", file).returncode == 0
    assert netns.names(f"rf-{name}.") == []
    assert not state.directory(name).exists()
    here = subprocess.run(["pgrep", "-f", f"/run/ringfort/{name}/"], capture_output=True, text=True)
    assert here.stdout == ""
