"""Whatever is changed by hand at an enforcement point, a cheap look notices and a close one names."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ringfort.environment.identity import IdentityCheck
from ringfort.environment.model import PortRange, Protocol, Tls
from ringfort.errors import RingfortError
from ringfort.gateway import process, runtime
from ringfort.gateway.glance import glance
from ringfort.gateway.haproxy import Files
from ringfort.lab.authority import Authority
from ringfort.lab.state import write_private
from tests.gateway.test_enforcement import DESK, HERE, SITES, WEB, Gate, Service, free_port

APP = "spiffe://gate.example/service/app"


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    directory = tmp_path_factory.mktemp("looked-at")
    authority = Authority.open_or_make(directory, "gate.example", SITES, datetime.now(UTC))
    port = free_port()
    check = IdentityCheck("app", Protocol.TCP, (PortRange(port, port),), Tls.MUTUAL, frozenset({WEB, DESK}))
    files = Files(str(directory / "gate"), str(directory / "authority.pem"), str(directory / "revoked.pem"))
    made = Gate(authority, directory, files, port, check)
    made.issue("app", APP, HERE)
    made.apply()
    service = Service(port)
    yield made
    service.close()
    process.end(files)


@pytest.fixture
def gate(started: Gate) -> Iterator[Gate]:
    started.write_lists()
    started.apply()
    yield started
    started.apply()


def seen(gate: Gate) -> str:
    return glance(gate.wanted(), gate.files)


def test_as_long_as_nothing_changes_every_look_is_the_same(gate: Gate) -> None:
    assert seen(gate)
    assert seen(gate) == seen(gate)
    assert process.differences(gate.wanted(), gate.files) == ()


def _file(gate: Gate) -> None:
    path = Path(gate.files.configuration)
    path.write_text(path.read_text().replace("verify required", "verify optional"))


def _one_more(gate: Gate) -> None:
    runtime.order(gate.files.socket, f"add acl {gate.files.callers('app')} spiffe://gate.example/service/evil")


def _nobody(gate: Gate) -> None:
    runtime.order(gate.files.socket, f"clear acl {gate.files.callers('app')}")


def _list(gate: Gate) -> None:
    with Path(gate.files.callers("app")).open("a") as file:
        file.write("spiffe://gate.example/service/evil\n")


def _certificate(gate: Gate) -> None:
    gate.issue("app", APP, HERE)


def _no_lists(gate: Gate) -> None:
    gate.write_lists(root=False)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(_file, "haproxy.cfg: another content", id="the configuration"),
        pytest.param(_one_more, "app.callers: + spiffe://gate.example/service/evil", id="a caller in the process"),
        pytest.param(_nobody, f"app.callers: - {WEB}", id="no callers in the process"),
        pytest.param(_list, "app.callers: another content", id="a caller in the file"),
        pytest.param(_certificate, "app.pem: the process holds another content", id="a certificate"),
        pytest.param(_no_lists, "revoked.pem: the process holds another content", id="revocation lists"),
    ],
)
def test_a_change_is_noticed_named_and_undone(gate: Gate, change: object, words: str) -> None:
    before = seen(gate)
    assert callable(change)
    change(gate)
    assert seen(gate) != before
    assert any(words in line for line in process.differences(gate.wanted(), gate.files))
    gate.apply()
    assert process.differences(gate.wanted(), gate.files) == ()


def test_another_configuration_and_no_process_are_noticed(gate: Gate) -> None:
    other = replace(gate.check, tls=Tls.SERVER, callers=frozenset())
    before = seen(gate)
    gate.apply(other)
    assert seen(gate) != before
    assert "the process: it runs another configuration" in process.differences(gate.wanted(), gate.files)
    process.end(gate.files)
    assert seen(gate) == ""
    assert process.differences(gate.wanted(), gate.files) == ("- the process: none runs, or it doesn't answer",)


def test_a_process_that_only_says_it_is_ours_is_found_and_replaced(gate: Gate) -> None:
    """Reloaded by hand with a check less, and the file put back at once: its digest is the right one."""
    path = Path(gate.files.configuration)
    text = path.read_text()
    path.write_text(text.replace("use_backend app.caller-not-allowed unless known", ""))
    ours = process.running(gate.files)
    assert ours is not None
    words = [process.PROGRAM, "-D", "-f", str(path), "-x", gate.files.socket, "-sf", str(ours.pid)]
    subprocess.run(words, check=True, capture_output=True)
    path.write_text(text)
    evil = gate.issue("evil", "spiffe://gate.example/service/evil", HERE)
    deadline = time.monotonic() + 5
    while gate.call(evil) != b"hello\n":  # until the one before has let go of the port
        assert time.monotonic() < deadline
    assert "the process: another one, that was not started here" in process.differences(gate.wanted(), gate.files)
    gate.apply()
    assert gate.call(evil) == b""
    assert process.differences(gate.wanted(), gate.files) == ()


def test_nobody_who_has_ended_is_left_unburied(gate: Gate) -> None:
    running = process.running(gate.files)
    assert running is not None
    os.kill(running.pid, 9)
    while running.is_running:
        pass
    process.reap()
    assert not Path(f"/proc/{running.pid}").exists()


def test_a_program_that_is_not_there_is_named(gate: Gate) -> None:
    process.end(gate.files)
    with pytest.raises(RingfortError, match="/nowhere/haproxy can't be started: No such file"):
        process.apply(gate.wanted(), gate.files, write_private, "/nowhere/haproxy")
