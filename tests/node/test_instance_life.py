"""What a node makes of what it is told about instances: states, patience, and suspicion. Nothing runs here."""

from __future__ import annotations

import os
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ringfort.compute.application import load
from ringfort.compute.logs import LogFile
from ringfort.errors import RingfortError
from ringfort.lab.occupied import translated
from ringfort.node.errors import ControllerError
from ringfort.node.hosting import TABLE
from ringfort.node.instances import tail, wiring
from ringfort.node.instances.house import House, kind_of
from ringfort.node.instances.life import AGAIN_SECONDS, STEADY_SECONDS, Backoff, Health, State, Terms
from ringfort.node.instances.runner import LARGEST_BODY, Runner, fitting
from ringfort.node.instances.tail import Tail
from ringfort.node.instances.wanted import Version, read

NOW = datetime(2026, 11, 24, tzinfo=UTC)
TERMS = Terms(8080, "/", 5, 2, 2, 3, 60)
ENTRY: dict[str, Any] = {
    "instance": "i-0123456789ab", "place": "acme-1", "customer": "acme", "application": "shop", "ordinal": 0,
    "deployment": 3, "settings": 4, "state": "running", "digest": "ab" * 32, "size": 10, "description": {},
}  # fmt: skip


def told(health: Health, answers: str, now: float = 0.0) -> State:
    """The state after answers: ``+`` good ones and ``-`` bad ones."""
    for answer in answers:
        health.hear(answer == "+", now)
    return health.state


def test_an_instance_is_healthy_after_as_many_good_answers_in_a_row_as_it_says() -> None:
    assert told(Health(TERMS, 0.0), "+-+") is State.STARTING
    assert told(Health(TERMS, 0.0), "+-++") is State.RUNNING


def test_an_instance_is_unhealthy_after_as_many_bad_answers_as_it_says_and_well_again_after_good_ones() -> None:
    health = Health(TERMS, 0.0)
    assert told(health, "++--+--") is State.RUNNING
    assert told(health, "-") is State.UNHEALTHY
    assert told(health, "++") is State.RUNNING


def test_an_instance_that_takes_too_long_to_become_healthy_is_started_again() -> None:
    health = Health(TERMS, 0.0)
    assert told(health, "-", 59.0) is State.STARTING
    assert told(health, "-", 60.0) is State.UNHEALTHY
    assert not health.is_hopeless(100.0)
    assert health.is_hopeless(120.0)


def test_without_a_health_check_an_instance_is_well_while_its_process_runs() -> None:
    assert Health(Terms(), 0.0).state is State.RUNNING


def test_an_instance_that_keeps_ending_is_started_later_each_time_and_one_that_was_steady_soon() -> None:
    backoff = Backoff()
    waits = [backoff.ended(100.0, 0.0) for _ in range(8)]
    assert waits == [1, 2, 4, 8, 16, 32, AGAIN_SECONDS[1], AGAIN_SECONDS[1]]
    assert backoff.again == 100.0 + AGAIN_SECONDS[1]
    assert backoff.ended(500.0, STEADY_SECONDS) == AGAIN_SECONDS[0]


def test_newer_settings_are_as_good_as_those_told_and_another_deployment_is_not() -> None:
    assert Version(3, 5).covers(Version(3, 4))
    assert not Version(3, 4).covers(Version(3, 5))
    assert not Version(2, 9).covers(Version(3, 4))


@pytest.mark.parametrize(
    "change",
    [
        {"instance": "../../etc"},
        {"instance": "i-0123456789ab/x"},
        {"digest": "ab"},
        {"place": 7},
        {"size": True},
        {"deployment": "3"},
    ],
)
def test_a_controller_that_was_taken_over_names_no_path(change: dict[str, Any]) -> None:
    with pytest.raises(ControllerError):
        read({"revision": "", "instances": [ENTRY | change]})
    assert list(read({"revision": "", "instances": [ENTRY]})[1]) == ["i-0123456789ab"]


def test_nothing_runs_where_the_signed_environment_gives_the_customer_no_place() -> None:
    house = House("t", {"acme-1": "space", "unknown": "other"}, lambda: None)  # type: ignore[arg-type, return-value]
    house.owners = {"acme-1": "acme", "acme-2": "acme"}
    assert house.namespace("acme-1", "acme") == "space"
    for place, customer in (("acme-1", "globex"), ("unknown", "acme"), ("acme-2", "acme")):
        with pytest.raises(RingfortError):
            house.namespace(place, customer)


def test_a_place_is_one_instance_s_until_it_leaves() -> None:
    house = House("t", {}, lambda: None)  # type: ignore[arg-type, return-value]
    assert house.take("acme-1", "i-1")
    assert house.take("acme-1", "i-1")
    assert not house.take("acme-1", "i-2")
    house.leave("acme-1", "i-2")
    assert not house.take("acme-1", "i-2")
    house.leave("acme-1", "i-1")
    assert house.take("acme-1", "i-2")


def test_accounts_of_virtual_machines_are_their_own() -> None:
    one, other = (House(tag, {}, lambda: None) for tag in "ab")  # type: ignore[arg-type, return-value]
    found = {house.account(f"i-{number:012x}") for house in (one, other) for number in range(500)}
    assert len(found) == 1000
    assert min(found) >= 1_000_000_000


def test_only_declared_egress_leaves_an_instance() -> None:
    declared = "\negress: [{to: 10.9.0.0/24, ports: [5432, 6000-6010]}, {to: 'fd00:9::/64', ports: [1]}]\n"
    text = "application: shop\nruntime: python\nmodule: shop\nendpoints: [{name: web, port: 8080}]\n"
    without = wiring.table(load(text.encode()))
    assert "accept" not in without.partition("chain forward")[2].replace("ct state established,related accept", "")
    ways = wiring.table(load((text + declared).encode())).partition("chain forward")[2]
    assert "ip daddr 10.9.0.0/24 tcp dport { 5432, 6000-6010 } accept" in ways
    assert "fd00" not in ways


def test_the_lab_knows_which_ports_of_a_place_an_instance_has() -> None:
    endpoints = "[{name: web, port: 8080}, {name: other, port: 8081}]"
    text = f"application: shop\nruntime: python\nmodule: shop\nendpoints: {endpoints}\n"
    translation = [{"match": {"left": {"payload": {"field": "dport"}}, "right": {"set": [8080, 8081]}}}, {"dnat": {}}]
    rules = [{"rule": {"table": TABLE, "expr": translation}}, {"rule": {"table": "other", "expr": translation}}]
    assert list(translated({"nftables": [{"metainfo": {}}, *rules]})) == [8080, 8081]
    assert "dport { 8080, 8081 } dnat" in wiring.table(load(text.encode()))


# --- logs ---


def test_a_log_is_followed_line_by_line_over_its_halves(tmp_path: Path) -> None:
    written, followed = LogFile(tmp_path / "log", half=100), Tail(tmp_path / "log")
    texts = []
    for number in range(30):
        written.write(f"line {number:04}\npart".encode())
        texts += [text for _, text in followed.lines(NOW)]
    written.close()
    followed.close()
    assert [text.removeprefix("part") for text in texts] == [f"line {number:04}" for number in range(30)]


def test_who_writes_faster_than_is_read_loses_lines_and_is_told(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"")
    followed = Tail(path)
    assert followed.lines(NOW) == []
    path.write_bytes(b"x" * 99 + b"\n" + b"flood\n" * 200_000)
    followed.lines(NOW)
    said = [text for _, text in followed.lines(NOW)]
    followed.close()
    assert any("bytes of the log were left out" in text for text in said)


def test_a_line_without_end_is_passed_on_in_pieces(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(os.urandom(10) + b"y" * 10_000)
    followed = Tail(path)
    texts = [text for _, text in followed.lines(NOW)]
    followed.close()
    assert max(map(len, texts)) <= tail.LONGEST
    assert "".join(texts).count("y") == 10_000


def test_lines_are_sent_in_calls_that_a_controller_takes() -> None:
    waiting = [(NOW, "\u20ac" * 4000) for _ in range(40)]
    sent = 0
    while waiting:
        piece, waiting = fitting(waiting)
        assert len(str(piece).encode("unicode-escape")) <= LARGEST_BODY + 1000
        sent += len(piece)
    assert sent == 40


# --- the node ---


def test_a_node_runs_no_instances_where_what_they_have_would_be_on_a_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = "/dev/vda / ext4 rw 0 0\ntmpfs /dev/shm tmpfs rw 0 0\n/dev/vdb /dev/shm/ringfort/x ext4 rw 0 0\n"
    assert kind_of(Path("/dev/shm/ringfort"), mounts) == "tmpfs"
    assert kind_of(Path("/var"), mounts) == kind_of(Path("/dev/shm/ringfort/x/y"), mounts) == "ext4"
    monkeypatch.setattr("ringfort.node.instances.house.kind_of", lambda *_: "ext4")
    with pytest.raises(RingfortError) as refused:
        House("t", {}, lambda: None, root=tmp_path).prepare()  # type: ignore[arg-type, return-value]
    assert refused.value.code == "not-in-memory"


@pytest.mark.parametrize(
    ("words", "ends", "kept"),
    [
        ("no answer: connection refused", "2100-01-01T00:00:00+00:00", True),
        ("503 busy: later", "", True),
        ("401 not-known: the certificate is revoked", "2100-01-01T00:00:00+00:00", False),
        ("403 no-hypervisor: the environment in force declares no place", "2100-01-01T00:00:00+00:00", False),
        ("no answer: certificate expired", "2020-01-01T00:00:00+00:00", False),
    ],
)
def test_who_is_disowned_lets_its_instances_go_and_who_reaches_nobody_keeps_them(
    words: str, ends: str, kept: bool
) -> None:
    house = House("t", {}, Silent)  # type: ignore[arg-type]
    runner = Runner(house, lambda *_: None, threading.Event(), lambda: ends)
    assert runner.is_disowned(ControllerError("refused-by-controller", words)) is not kept


class Silent:
    """A connection that nobody uses."""
