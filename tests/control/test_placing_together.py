"""Several controllers on one database decide together where instances go."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ringfort.control import placing, silence
from tests.control.places import Nodes, Places, events, placed, records, shown, until
from tests.control.running import Ground, Running, running
from tests.control.shops import customer


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silence, "LOST_SECONDS", 3.0)
    monkeypatch.setattr(placing, "SECONDS", 0.2)


def test_of_several_controllers_one_misses_a_node_and_each_instance_moves_once(
    ground: Ground, controller: Running, places: Places, tmp_path: Path
) -> None:
    with running(ground, "controller-2"), running(ground, "controller-3"):
        nodes = Nodes(controller, places, **{"many-1": "many many many", "many-2": "many many many"})
        try:
            shop = customer(controller, tmp_path, "many")
            shop.deploy(shop.software())
            shop.call("POST", "/applications/web/scale", {"count": 3})
            names = placed(shop, 3)
            until(lambda: [state for _, state in shown(shop)] == ["running"] * 3)
            before = dict(zip(names, shown(shop), strict=True))
            nodes.silence("many-1")
            until(lambda: all(place.startswith("many-2") for place, _ in shown(shop)))
            time.sleep(0.5)
        finally:
            nodes.close()
    assert len(events(controller, "node-lost", "many-1")) == 1
    for name, (place, _) in before.items():
        made = [one for one in records(controller, f"instance/{name}") if one["action"] == "control:instance:place"]
        assert len(made) == (2 if place.startswith("many-1") else 1), made
