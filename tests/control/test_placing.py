"""Instances go where the environment has places for them, and elsewhere when a node is lost; who waits learns why."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringfort.control import placing, silence
from ringfort.control.silence import LONGEST_LOOK, LOST_SECONDS, Silence
from tests.control.places import Nodes, Places, events, placed, records, shown, until
from tests.control.running import Ground, Running
from tests.control.shops import customer

PATIENCE = 3.0
"""Instead of 8 s."""


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    """On one kind of database: `test_placing_together` is on both."""
    return Ground(tmp_path_factory.mktemp("control"))


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silence, "LOST_SECONDS", PATIENCE)
    monkeypatch.setattr(placing, "SECONDS", 0.2)


@pytest.fixture
def nodes(controller: Running, places: Places, request: pytest.FixtureRequest) -> Iterator[Nodes]:
    made = Nodes(controller, places, **request.param)
    yield made
    made.close()


@pytest.mark.parametrize("nodes", [{"lost-1": "loses", "lost-2": "loses", "lost-3": "loses"}], indirect=True)
def test_a_lost_nodes_instances_are_restarted_elsewhere_at_once_and_it_is_recorded_why(
    controller: Running, nodes: Nodes, tmp_path: Path
) -> None:
    shop = customer(controller, tmp_path, "loses")
    shop.deploy(shop.software())
    first, _ = placed(shop, 2)
    until(lambda: [state for _, state in shown(shop)] == ["running", "running"])
    assert [place for place, _ in shown(shop)] == ["lost-1-p0", "lost-2-p0"]
    nodes.silence("lost-1")
    silent = time.monotonic()
    until(lambda: shown(shop) == [("lost-3-p0", "running"), ("lost-2-p0", "running")])
    assert PATIENCE - 0.5 < time.monotonic() - silent < PATIENCE + 6
    (event,) = events(controller, "node-lost", "lost-1")
    assert (event["severity"], event["detail"]) == ("alert", {"instances": 1})
    moves = [one for one in records(controller, f"instance/{first}") if one["action"] == "control:instance:place"]
    assert [one["why"] for one in moves] == ["a place for a new instance", "node lost-1 is lost"]
    assert moves[-1]["who"] == "spiffe://test.example/controller/controller-1"
    assert [one["action"] for one in records(controller, "node/lost-1")][-1] == "control:node:miss"
    # what it still runs is its own no longer: it is told so in the first answer
    assert nodes.clients["lost-1"].get("/v1/nodes/lost-1/instances")["instances"] == []
    nodes.wake("lost-1")
    until(
        lambda: [
            one for one in records(controller, "node/lost-1") if one["after"].get("value", {}).get("lost") is False
        ]
    )
    time.sleep(0.5)
    assert shown(shop) == [("lost-3-p0", "running"), ("lost-2-p0", "running")]


@pytest.mark.parametrize("nodes", [{"only-1": "waits", "only-2": "waits"}], indirect=True)
def test_without_a_free_place_an_instance_waits_and_its_customer_is_told_why(
    controller: Running, places: Places, nodes: Nodes, tmp_path: Path
) -> None:
    shop = customer(controller, tmp_path, "waits")
    shop.deploy(shop.software())
    placed(shop, 2)
    until(lambda: [state for _, state in shown(shop)] == ["running", "running"])
    nodes.silence("only-1")
    until(lambda: shown(shop)[0] == ("only-1-p0", "lost"))
    one = shop.get("/applications/web")["instances"][0]
    assert one["reason"] == "its node gives no sign of life; all fitting places of this customer are taken"
    (event,) = events(controller, "instance-waits", one["instance"])
    assert event["detail"]["application"] == "waits/web"
    nodes.wake("only-1")  # it was only cut off: it goes on where it is
    until(lambda: shown(shop) == [("only-1-p0", "running"), ("only-2-p0", "running")])
    until(lambda: not shop.get("/applications/web")["instances"][0]["reason"])
    nodes.silence("only-1")
    until(lambda: shown(shop)[0][1] == "lost")
    places.add("only-2", "waits")  # a place more is used as soon as it is in force
    places.publish(controller)
    until(lambda: shown(shop) == [("only-2-p1", "running"), ("only-2-p0", "running")])


@pytest.mark.parametrize("nodes", [{"narrow": "narrow globex"}], indirect=True)
def test_nobody_gets_anothers_place_or_one_that_serves_other_ports(
    controller: Running, places: Places, nodes: Nodes, tmp_path: Path
) -> None:
    shop = customer(controller, tmp_path, "narrow")
    shop.deploy(shop.software())
    placed(shop, 1)
    second = shop.get("/applications/web")["instances"][1]
    assert (second["place"], second["node"], second["state"]) == ("", "", "waiting")
    assert second["reason"] == "all fitting places of this customer are taken"
    elsewhere = shop.software(name="elsewhere").replace(
        b"port: 8080, public-name: narrow", b"port: 9080, public-name: n-rrow"
    )
    shop.deploy(elsewhere, name="elsewhere")
    waiting = until(
        lambda: [one["reason"] for one in shop.get("/applications/elsewhere")["instances"] if one["reason"]]
    )
    assert set(waiting) == {"no place of this customer serves all ports of its endpoints"}
    stranger = customer(controller, tmp_path, "stranger")
    stranger.deploy(stranger.software())
    assert until(lambda: stranger.get("/applications/web")["instances"][0]["reason"]) == (
        "the platform has declared no place for this customer"
    )


@pytest.mark.parametrize("nodes", [{"moved-1": "moved", "moved-2": "moved"}], indirect=True)
def test_what_is_declared_no_longer_and_who_is_revoked_run_nothing(
    controller: Running, places: Places, nodes: Nodes, tmp_path: Path
) -> None:
    shop = customer(controller, tmp_path, "moved")
    shop.deploy(shop.software())
    first, _ = placed(shop, 2)
    shop.call("POST", "/applications/web/scale", {"count": 1})
    until(lambda: shown(shop) == [("moved-1-p0", "running")])
    places.withdraw(controller, "moved-1-p0")
    until(lambda: shown(shop) == [("moved-2-p0", "running")])
    assert records(controller, f"instance/{first}")[-1]["why"] == (
        "the environment in force declares moved-1-p0 for it no more"
    )
    places.withdraw(controller, "moved-2-p0")
    until(lambda: shown(shop) == [("", "waiting")])
    places.add("moved-1", "moved")
    places.publish(controller)
    until(lambda: shown(shop) == [("moved-1-p0", "running")])
    places.add("moved-2", "moved")
    places.publish(controller)
    time.sleep(0.5)
    identity = {"identity": "spiffe://test.example/node/moved-1", "reason": "stolen"}
    controller.operator("sophie").call("POST", "/v1/revocations", identity, reason="INC-1")
    revoked = time.monotonic()
    until(lambda: shown(shop)[0][0] == "moved-2-p0")
    assert time.monotonic() - revoked < PATIENCE
    places.withdraw(controller, "moved-2-p0", "moved-2")
    until(lambda: shown(shop) == [("", "waiting")])
    time.sleep(PATIENCE + 0.5)
    assert not events(controller, "node-lost", "moved-2")  # it is no hypervisor any more, and need not say anything


@pytest.mark.parametrize("nodes", [{"room-1": "roomy roomy", "room-2": "roomy"}], indirect=True)
def test_a_node_takes_what_it_has_room_for_and_stopped_instances_keep_their_places(
    controller: Running, nodes: Nodes, tmp_path: Path
) -> None:
    shop = customer(controller, tmp_path, "roomy")
    for name in ("room-1", "room-2"):
        nodes.room[name] = {"cpu": 150, "memory": 150, "disk": 1000}
    time.sleep(0.7)
    shop.deploy(shop.software())
    shop.call("POST", "/applications/web/scale", {"count": 3})
    placed(shop, 2)
    assert until(lambda: shop.get("/applications/web")["instances"][2]["reason"]) == (
        "the nodes with a free place have too little room for what it needs"
    )
    before = [place for place, _ in shown(shop)]
    shop.call("POST", "/applications/web/stop")
    for name in ("room-1", "room-2"):
        nodes.silence(name)
    time.sleep(PATIENCE + 1)  # both are lost meanwhile, and nothing of it has to run
    assert [place for place, _ in shown(shop)] == before
    assert len(events(controller, "instance-waits", "roomy/web")) == 1  # of the third, before


# -- silence ---------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.floats(0.01, 30), max_size=30))
def test_who_was_not_looked_at_is_not_missed(pauses: list[float]) -> None:
    watched, now, seen = Silence(), 0.0, 0.0
    assert watched.look({"n": 1}, now) == {}
    for pause in pauses:
        now += pause
        seen += min(pause, LONGEST_LOOK)
        assert watched.look({"n": 1}, now) == ({"n": 1} if seen >= PATIENCE else {})


def test_a_sign_of_life_begins_it_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silence, "LOST_SECONDS", LOST_SECONDS)
    watched = Silence()
    for second in range(100):
        assert watched.look({"alive": second // 7, "dead": 0}, float(second)).keys() == (
            {"dead"} if second >= LOST_SECONDS else set()
        )
