"""A new version comes group by group, and one that doesn't become healthy is taken back by the platform itself."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from ringfort.control.client import Client
from ringfort.control.operations import arranging
from tests.compute.bundles import bundle, file
from tests.control.places import Places, placed
from tests.control.running import Running
from tests.control.shops import Customer, customer

PLAN = "domains: {update: 2}\n"


@pytest.fixture(autouse=True)
def _no_settling(monkeypatch: pytest.MonkeyPatch) -> None:
    """An instance that is well counts at once: what a test says is to be seen in the next step."""
    monkeypatch.setattr(arranging, "SETTLE_SECONDS", 0.0)


class Fleet:
    """An application whose instances are all on one node, which says of each what a test wants."""

    def __init__(self, controller: Running, places: Places, directory: Path, name: str, more: str) -> None:
        self.controller, self.node_name = controller, f"{name}-node"
        self.shop: Customer = customer(controller, directory, name)
        self.more = more
        self.shop.deploy(self.software(b"1"))
        self.node: Client = places.hypervisor(controller, self.node_name, f"{name} {name} {name} {name}")
        self.placed(2)

    def software(self, text: bytes) -> bytes:
        return self.shop.software(text, more=self.more)

    def placed(self, count: int) -> None:
        placed(self.shop, count)

    def told(self) -> list[dict[str, Any]]:
        wanted = self.node.get(f"/v1/nodes/{self.node_name}/instances")["instances"]
        return sorted(wanted, key=lambda one: int(one["ordinal"]))

    def report(self, *states: str, only: int | None = None) -> None:
        """Say that instances are in these states, in what they are told to run; all alike if one is given."""
        known = self.told()
        states = states * len(known) if len(states) == 1 else states
        said = [
            {key: one[key] for key in ("instance", "deployment", "settings")} | {"state": state}
            for one, state in zip(known, states, strict=True)
            if only is None or one["ordinal"] == only
        ]
        self.node.call("POST", f"/v1/nodes/{self.node_name}/instances", {"instances": said})

    def pace(self) -> list[int]:
        """Let a step be taken; which deployment each instance is told."""
        self.controller.run(self.controller.controller.pacer.pace())
        return [one["deployment"] for one in self.told()]

    def records(self) -> list[dict[str, Any]]:
        path = f"/v1/audit/records?limit=1000&object=application/{self.shop.name}/web"
        return list(self.controller.operator("aude").get(path)["records"])


def test_an_update_goes_group_by_group_and_waits_for_health(
    controller: Running, places: Places, tmp_path: Path
) -> None:
    fleet = Fleet(controller, places, tmp_path, "rolls", "domains: {update: 2}\n")
    fleet.shop.call("POST", "/applications/web/scale", {"count": 4})
    fleet.placed(4)
    fleet.report("running")
    fleet.pace()
    fleet.shop.deploy(fleet.software(b"2"))
    assert [one["deployment"] for one in fleet.told()] == [2, 1, 1, 1]  # by default all but one stay healthy
    fleet.report("starting", only=0)
    assert fleet.pace() == [2, 1, 1, 1]
    for expected in ([2, 1, 2, 1], [2, 2, 2, 1], [2, 2, 2, 2]):
        fleet.report("running")
        assert fleet.pace() == expected
    fleet.report("running")
    fleet.pace()
    steps = [one for one in fleet.records() if one["action"] == "control:application:update-instances"]
    assert len(steps) == 3  # the first one came with the deployment itself
    assert steps[0]["who"] == "spiffe://test.example/controller/controller-1"
    assert steps[0]["record"]["authenticated"].startswith("the controller itself")


def test_never_fewer_than_declared_are_healthy(controller: Running, places: Places, tmp_path: Path) -> None:
    fleet = Fleet(controller, places, tmp_path, "floor", "domains: {update: 1}\n")

    def software(text: bytes) -> bytes:
        said = f"application: web\nruntime: python\nmodule: shop\ninstances: {{count: 2, minimum-healthy: 2}}\n{PLAN}"
        return bundle(file("app.yaml", said.encode()), file("shop.py", text))

    fleet.report("running")
    fleet.pace()
    fleet.shop.deploy(software(b"2"))
    assert [one["deployment"] for one in fleet.told()][:2] == [1, 1]  # a third one is made
    assert len(fleet.shop.get("/applications/web")["instances"]) == 3
    fleet.placed(3)
    assert fleet.pace() == [1, 1, 2]
    fleet.report("running", only=2)
    for _ in range(6):
        before = [one["deployment"] for one in fleet.told()]
        after = fleet.pace()
        assert sum(old != new for old, new in zip(before, after, strict=False)) <= 1
        fleet.report("running")
        if after == [2, 2]:
            break
    assert [one["deployment"] for one in fleet.told()] == [2, 2]


def test_a_version_that_does_not_become_healthy_is_taken_back(
    controller: Running, places: Places, tmp_path: Path
) -> None:
    fleet = Fleet(controller, places, tmp_path, "fails", "health: {start: 1}\ndomains: {update: 2}\n")
    fleet.report("running")
    fleet.pace()
    fleet.shop.deploy(fleet.software(b"broken"))
    assert [one["deployment"] for one in fleet.told()] == [2, 1]
    fleet.report("failed", only=0)
    until = time.monotonic() + 20
    while fleet.shop.get("/applications/web")["deployment"] == 2 and time.monotonic() < until:
        time.sleep(0.3)
        fleet.pace()
    shown = fleet.shop.get("/applications/web")
    assert shown["deployment"] == 1
    assert [one["deployment"] for one in fleet.told()] == [1, 1]
    last = [one for one in fleet.records() if one["action"] == "control:application:take-back"]
    assert [one["record"]["why"] for one in last] == ["deployment 2 did not become healthy in time"]
    fleet.report("running")
    fleet.pace()
    assert fleet.shop.deploy(fleet.software(b"3"))["deployment"] == 3  # a number is never used twice


def test_one_that_falls_ill_later_takes_nothing_back(controller: Running, places: Places, tmp_path: Path) -> None:
    fleet = Fleet(controller, places, tmp_path, "ill", "health: {start: 1}\n")
    fleet.report("running")
    fleet.pace()
    fleet.shop.deploy(fleet.software(b"2"))
    for _ in range(3):
        fleet.report("running")
        fleet.pace()
    fleet.report("failed", "running")
    time.sleep(1.5)
    fleet.pace()
    assert fleet.shop.get("/applications/web")["deployment"] == 2


def test_settings_are_told_group_by_group_too(controller: Running, places: Places, tmp_path: Path) -> None:
    fleet = Fleet(controller, places, tmp_path, "tuned", "domains: {update: 2}\n")
    fleet.report("running")
    fleet.pace()
    fleet.shop.call("POST", "/applications/web/configuration", {"set": {"A": "1"}})
    assert [one["settings"] for one in fleet.told()] == [1, 0]
    fleet.report("running")
    fleet.pace()
    assert [one["settings"] for one in fleet.told()] == [1, 1]


def test_a_version_that_instances_still_run_is_kept_however_many_come_after_it(
    controller: Running, places: Places, tmp_path: Path
) -> None:
    fleet = Fleet(controller, places, tmp_path, "hasty", "domains: {update: 2}\n")
    fleet.report("running")
    fleet.pace()
    for number in range(2, 14):
        fleet.shop.deploy(fleet.software(b"%d" % number))
    assert [one["deployment"] for one in fleet.told()] == [13, 1]
    kept = [one["number"] for one in fleet.shop.get("/applications/web/deployments")["deployments"]]
    assert kept == [*range(13, 3, -1), 1]
    assert fleet.node.fetch(f"/v1/nodes/hasty-node/instances/{fleet.told()[1]['instance']}/software/0")
