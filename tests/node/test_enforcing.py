"""A real node, real rules, a real controller: what is published is enforced, and only if it can be undone no more."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ringfort.kernel import nft
from tests.node.worlds import World, world

pytestmark = pytest.mark.lab


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


def confirmed(machine: World, version: int) -> None:
    machine.controller.wait_for(lambda report: (report["state"], report["version"]) == ("confirmed", version))


def test_before_the_first_environment_only_the_controllers_are_reached(machine: World) -> None:
    machine.start()
    machine.until(lambda: machine.holds(0))
    report = machine.controller.wait_for(lambda report: report["state"] == "starting")
    assert report["version"] == 0


def test_what_is_published_is_loaded_confirmed_and_reported(machine: World) -> None:
    machine.publish(1)
    machine.start()
    report = machine.controller.wait_for(lambda report: report["state"] == "confirmed")
    assert (report["version"], report["devices"]) == (1, machine.wanted(1))
    assert machine.holds(1)
    assert report["counters"]["host:app/undeclared"] == 0
    machine.publish(2)
    confirmed(machine, 2)
    assert machine.holds(2)


def test_without_a_controller_the_last_good_environment_is_enforced_also_after_a_restart(machine: World) -> None:
    machine.publish(1)
    machine.start()
    confirmed(machine, 1)
    machine.controller.cut()
    assert machine.stop() == 0
    assert machine.holds(1)
    for space in machine.spaces.values():
        nft.run(space, "flush ruleset")  # as after a boot
    machine.start()
    machine.until(lambda: machine.holds(1))


def test_a_version_under_which_no_controller_answers_is_taken_back(machine: World) -> None:
    machine.configure(**{"confirm-seconds": "2"})
    machine.publish(1)
    machine.start()
    confirmed(machine, 1)
    machine.controller.refuses_reports = True
    machine.publish(2)
    machine.until(lambda: machine.holds(2))
    assert machine.until(lambda: machine.holds(1)) < 4
    machine.controller.refuses_reports = False
    event = machine.controller.wait_for_event("rolled-back", 40)
    assert event["severity"] == "alert"
    assert "version 2 was taken back" in event["detail"]["what"]
    assert machine.holds(1)


def test_a_version_that_is_taken_back_is_not_confirmed_by_a_connection_from_before(machine: World) -> None:
    """A connection that stood before the rules changed says nothing about them."""
    machine.configure(**{"confirm-seconds": "3"})
    machine.publish(1)
    machine.start()
    confirmed(machine, 1)
    time.sleep(0.3)
    before = set(machine.controller.accepted)
    machine.publish(2)
    confirmed(machine, 2)
    report = machine.controller.wait_for(lambda report: (report["state"], report["version"]) == ("applying", 2))
    assert report["connection"] not in before


def test_only_one_process_is_the_node(machine: World) -> None:
    machine.start()
    machine.until(lambda: machine.holds(0))
    second = machine.start()
    assert second.wait(10) == 2
    assert "node-running" in machine.log()
