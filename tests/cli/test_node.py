"""``ringfort node`` says what is enforced, also of a node that does not run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from ringfort.cli.main import ringfort
from tests.node.worlds import World, world


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


@pytest.mark.lab
def test_status_tells_the_version_and_whether_it_is_confirmed(machine: World) -> None:
    words = ["node", "status", "--config", str(machine.configuration)]
    before = CliRunner().invoke(ringfort, words, standalone_mode=False)
    assert (before.return_value, before.output) == (1, "blade: has never run here\n")
    machine.publish(1)
    machine.start()

    def confirmed() -> bool:
        return bool(CliRunner().invoke(ringfort, words, standalone_mode=False).return_value == 0)

    machine.until(confirmed)
    after = CliRunner().invoke(ringfort, words, standalone_mode=False)
    assert "blade: runs, confirmed: version 1, signed by alice, bob" in after.output
    said = json.loads(CliRunner().invoke(ringfort, [*words, "--format", "json"], standalone_mode=False).output)
    assert (said["runs"], said["enforced"], said["devices"]) == (True, 1, machine.wanted(1))
    machine.stop()
    ended = CliRunner().invoke(ringfort, words, standalone_mode=False)
    assert ended.return_value == 1
    assert "does not run; the rules stay, confirmed: version 1" in ended.output


@pytest.mark.lab
def test_status_is_not_well_while_callers_are_not_checked(machine: World) -> None:
    """No HAProxy is where the configuration says, so the service is closed."""
    machine.configure(**{"enforcement-point": '"/nowhere/haproxy"'})
    machine.publish(1)
    machine.start()
    words = ["node", "status", "--config", str(machine.configuration)]

    def told() -> bool:
        answer = CliRunner().invoke(ringfort, words, standalone_mode=False)
        return "callers of app: /nowhere/haproxy can't be started" in answer.output and answer.return_value == 1

    machine.until(told)
    machine.controller.wait_for_event("not-guarded")
