"""What a keeper does with enforcement points, whatever becomes of them."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from ipaddress import ip_address

import pytest

from ringfort.environment.identity import IdentityCheck
from ringfort.environment.model import PortRange, Protocol, Tls
from ringfort.errors import RingfortError
from ringfort.node.keeper import AGAIN_SECONDS, Keeper
from ringfort.node.material import Material
from ringfort.node.policy import Guard


def guard(*callers: str) -> Guard:
    check = IdentityCheck("app", Protocol.TCP, (PortRange(8443, 8443),), Tls.MUTUAL, frozenset(callers))
    return Guard((check,), {"app": "spiffe://node.example/service/app"}, (ip_address("10.0.0.1"),))


class Pretended:
    """An enforcement point; ``refuses`` is why it takes nothing, ``changes`` what it finds at the next look."""

    def __init__(self) -> None:
        self.put_: list[Guard] = []
        self.ended = False
        self.refuses = ""
        self.changes: tuple[str, ...] = ()

    def put(self, guard: Guard) -> None:
        self.put_.append(guard)
        self.changes = ()
        if self.refuses:
            raise RingfortError("enforcement-point", self.refuses)

    def end(self) -> None:
        self.ended = True

    def look(self) -> tuple[str, ...]:
        return self.changes

    def counts(self) -> Mapping[str, Mapping[str, int]]:
        return {"app": {"accepted": 3}}

    def fileno(self) -> int:
        return -1

    def close(self) -> None:
        """Nothing is open."""


class Kept:
    def __init__(self) -> None:
        self.points: dict[str, Pretended] = {}
        self.lacking: tuple[str, ...] = ()
        self.drifts: list[tuple[str, tuple[str, ...]]] = []
        self.alerts: list[tuple[str, str]] = []
        self.now = 100.0
        self.material = Material()
        self.keeper = Keeper(
            lambda host: self.points.setdefault(host, Pretended()),
            lambda _host, _guard: self.lacking,
            self.material,
            lambda host, changes: self.drifts.append((host, changes)),
            lambda host, words: self.alerts.append((host, words)),
            lambda: None,
            threading.Event(),
            lambda: self.now,
        )

    def turn(self, seconds: float = 3.0) -> Kept:
        self.now += seconds
        self.keeper._turn()
        return self

    @property
    def troubles(self) -> dict[str, str]:
        return dict(self.keeper.standing.troubles)


@pytest.fixture
def kept() -> Kept:
    found = Kept()
    found.keeper.want({"web": guard("a")})
    assert found.troubles["web"], "not before it was tried"
    return found


def test_what_is_wanted_is_put_once_and_looked_at_from_then_on(kept: Kept) -> None:
    kept.turn().turn().turn()
    assert kept.points["web"].put_ == [guard("a")]
    assert kept.troubles == {"web": ""}
    assert len(kept.keeper.standing.readback["identity:web"]) == 64
    assert kept.keeper.standing.counters["identity:web/app/accepted"] == 3


def test_another_guard_stands_for_trouble_until_it_is_put(kept: Kept) -> None:
    kept.turn()
    kept.keeper.want({"web": guard("a", "b"), "db": guard("a")})
    assert all(kept.troubles.values())
    kept.turn()
    assert kept.points["web"].put_ == [guard("a"), guard("a", "b")]
    assert kept.troubles == {"web": "", "db": ""}


def test_a_host_that_serves_nothing_any_more_has_none(kept: Kept) -> None:
    kept.turn()
    kept.keeper.want({})
    kept.turn()
    assert kept.points["web"].ended
    assert (kept.troubles, dict(kept.keeper.standing.readback)) == ({}, {})


def test_what_was_changed_by_hand_is_told_and_put_again(kept: Kept) -> None:
    kept.turn()
    kept.points["web"].changes = ("app.callers: + evil",)
    kept.turn()
    assert kept.drifts == [("web", ("app.callers: + evil",))]
    assert kept.points["web"].put_ == [guard("a")] * 2


def test_replaced_files_are_put_and_nobodys_change(kept: Kept) -> None:
    kept.turn()
    with kept.material.replaced():
        kept.points["web"].changes = ("app.pem: the process holds another content",)
    kept.turn()
    assert kept.drifts == []
    assert kept.points["web"].put_ == [guard("a")] * 2


def test_before_there_is_a_certificate_nothing_is_put_and_nobody_alarmed(kept: Kept) -> None:
    kept.lacking = ("certificate of app",)
    kept.turn().turn()
    assert (kept.points["web"].put_, kept.alerts) == ([], [])
    assert kept.troubles == {"web": "there is no certificate of app yet"}
    kept.lacking = ()
    with kept.material.replaced():
        pass
    assert kept.turn(0.1).troubles == {"web": ""}


def test_what_hinders_a_version_is_a_point_that_stood_before_and_does_not_come_up(kept: Kept) -> None:
    assert kept.keeper.standing.hindrances == {}, "nothing stood before the first version"
    kept.turn()
    kept.keeper.want({"web": guard("a", "b"), "db": guard("a")})
    assert set(kept.keeper.standing.hindrances) == {"web"}, "until it was tried"
    kept.points["web"].refuses = "no such program"
    assert kept.turn().keeper.standing.hindrances == {"web": "no such program"}
    kept.points["web"].refuses = ""
    assert kept.turn().keeper.standing.hindrances == {}
    kept.lacking = ("certificate of app",)
    kept.keeper.want({"web": guard("c")})
    assert kept.turn().keeper.standing.hindrances == {}, "a controller that gives none takes no version back"


def test_a_failure_is_told_once_and_tried_again_less_and_less_often(kept: Kept) -> None:
    kept.points["web"] = Pretended()
    kept.points["web"].refuses = "no such program"
    for _ in range(200):
        kept.turn(1.0)
    assert kept.alerts == [("web", "no such program")]
    assert 200 / AGAIN_SECONDS[1] < len(kept.points["web"].put_) < 20
    kept.points["web"].refuses = ""
    kept.turn(AGAIN_SECONDS[1])
    assert kept.troubles == {"web": ""}


def test_one_that_fails_keeps_no_other_from_being_put(kept: Kept) -> None:
    kept.points["web"] = Pretended()
    kept.points["web"].refuses = "no such program"
    kept.keeper.want({"web": guard("a"), "db": guard("a")})
    assert kept.turn().troubles == {"web": "no such program", "db": ""}
