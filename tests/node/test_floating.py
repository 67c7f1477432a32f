"""What a node knows of floating addresses, and what it does when they can't be held."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import pytest

from ringfort.environment.load import load_text
from ringfort.gateway.edge import holding, signs
from ringfort.node import floating, guarding, policy
from ringfort.node.floats import floats_of
from tests.environment.floated import FLOATED

ENVIRONMENT = load_text(f"environment: float{FLOATED}")


def test_both_hosts_are_told_of_each_other_and_the_policy_keeps_it() -> None:
    (one,), (two,) = floats_of(ENVIRONMENT, "gate-1"), floats_of(ENVIRONMENT, "gate-2")
    assert (one.inner, one.own) in two.others
    assert (two.inner, two.own) in one.others
    assert one.priority > two.priority
    assert one.is_gate
    compiled = policy.compile_policy(ENVIRONMENT, 1, "gate-1")
    assert policy.from_bytes(policy.to_bytes(compiled)) == compiled
    assert compiled.floats == {"gate-1": (one,)}
    assert floats_of(ENVIRONMENT, "control") == ()


def packet(source: bytes, destination: bytes, protocol: int = 112) -> bytes:
    return bytes([0x45, 0, 0, 20, 0, 0, 0, 0, 255, protocol, 0, 0]) + source + destination


def test_nothing_comes_out_of_the_carrier_but_signs_of_the_others() -> None:
    here, there, stranger = bytes([169, 254, 112, 1]), bytes([169, 254, 112, 2]), bytes([10, 0, 0, 9])
    sources = frozenset(["169.254.112.2"])
    assert signs.is_sign(packet(there, here), sources, "169.254.112.1")
    for other in (
        packet(stranger, here), packet(there, stranger), packet(there, here, 6), packet(there, here)[:19],
        b"\x60" + packet(there, here)[1:], packet(there, here) + bytes(1500), b"",
    ):  # fmt: skip
        assert not signs.is_sign(other, sources, "169.254.112.1")


def test_what_does_not_stay_is_told_once_and_not_started_in_haste(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """keepalived isn't there: no storm of processes, nor of alerts."""
    started, told = [], []

    def start(words: tuple[str, ...], log: Path) -> subprocess.Popen[bytes]:
        started.append(words[0])
        return subprocess.Popen(["true"] if words[0] == holding.PROGRAM else ["sleep", "60"])

    monkeypatch.setattr(holding, "start", start)
    monkeypatch.setattr(holding, "_await_interface", lambda _: None)
    monkeypatch.setattr(floating, "LOOK_SECONDS", 0.05)
    (one,) = floats_of(ENVIRONMENT, "gate-1")
    certificate = guarding.certificate(tmp_path, "gate-1", one.service)
    certificate.parent.mkdir()
    certificate.touch()
    stop = threading.Event()
    held = floating.Floating(tmp_path, tmp_path / "run", lambda _: "", lambda *words: told.append(words), stop)
    held.want({"gate-1": (one,)})
    thread = threading.Thread(target=held.run)
    thread.start()
    stop.wait(1.5)
    stop.set()
    thread.join(10)
    assert started.count(holding.PROGRAM) == 1
    assert told == [("gate-1", "gate-n: keepalived doesn't stay, and is started again")]
