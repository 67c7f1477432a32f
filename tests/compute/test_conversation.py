"""What a hostile guest says costs the host nothing but a bounded while."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ringfort.compute.conversation import LOG_BYTES, UNASKED, Conversation
from ringfort.compute.errors import SandboxError
from ringfort.compute.guest import wire
from ringfort.compute.logs import HALF, LogFile, older, read


@dataclass
class Talk:
    """The host's side, and the guest's two ports as a test holds them."""

    host: Conversation
    control: socket.socket
    log: socket.socket
    path: Path


@pytest.fixture
def talk(tmp_path: Path) -> Iterator[Talk]:
    pairs = [socket.socketpair() for _ in range(2)]
    host = Conversation(pairs[0][0], pairs[1][0], LogFile(tmp_path / "log"))
    yield Talk(host, pairs[0][1], pairs[1][1], tmp_path / "log")
    host.close()
    for pair in pairs:
        pair[1].close()


def answering(talk: Talk, *answers: bytes) -> threading.Thread:
    """Whatever is asked, these are the answers."""

    def answer() -> None:
        talk.control.recv(65536)
        for one in answers:
            talk.control.sendall(one)

    thread = threading.Thread(target=answer)
    thread.start()
    return thread


def test_an_answer_belongs_to_its_question(talk: Talk) -> None:
    thread = answering(talk, wire.encode({"id": 1, "ok": True, "x": 7}))
    assert talk.host.ask("status", 5)["x"] == 7
    thread.join()


def test_a_refusal_is_told_within_bounds(talk: Talk) -> None:
    thread = answering(talk, wire.encode({"id": 1, "ok": False, "error": "y" * 10_000}))
    with pytest.raises(SandboxError, match=r"the guest can't status: y{500}$"):
        talk.host.ask("status", 5)
    thread.join()


def test_silence_ends_a_question(talk: Talk) -> None:
    with pytest.raises(SandboxError, match="does not answer"):
        talk.host.ask("status", 0.1)


@pytest.mark.parametrize(
    "noise",
    [b"\xff\xfe\n", b"[]\n", b"[" * 100_000, b"x" * (wire.LARGEST_ANSWER + 2)],
    ids=["not text", "not an object", "too deep", "too long"],
)
def test_who_does_not_keep_to_the_protocol_is_not_heard_any_more(talk: Talk, noise: bytes) -> None:
    thread = answering(talk, noise, wire.encode({"id": 1, "ok": True}))
    with pytest.raises(SandboxError):
        talk.host.ask("status", 1)
    thread.join()


def test_who_tells_too_much_unasked_is_not_heard_any_more(talk: Talk) -> None:
    for _ in range(UNASKED + 1):
        talk.control.sendall(wire.encode({"event": "exited", "code": 1}))
    thread = answering(talk, wire.encode({"id": 1, "ok": True}))
    time.sleep(0.2)
    with pytest.raises(SandboxError):
        talk.host.ask("status", 0.5)
    thread.join()


def test_a_log_is_taken_at_a_measured_pace_and_kept_within_bounds(talk: Talk) -> None:
    talk.log.settimeout(1.0)
    sent, began = 0, time.monotonic()
    while time.monotonic() - began < 1.0:
        sent += talk.log.send(b"x" * 65536)
    time.sleep(0.1)
    assert sent < 12 * LOG_BYTES, "a second's worth, and what the socket holds"
    assert len(read(talk.path)) <= 2 * HALF


def test_the_end_of_a_log_is_kept(tmp_path: Path) -> None:
    kept = LogFile(tmp_path / "log", half=100)
    for number in range(50):
        kept.write(f"line {number:03}\n".encode())
    kept.close()
    text = read(tmp_path / "log")
    assert text.endswith(b"line 049\n")
    assert 100 <= len(text) <= 200
    assert older(tmp_path / "log").exists()
