"""A controller that has been taken over serves forged, half-signed, old and frozen metadata: no node opens anything."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ringfort.drill.attacks import Attack
from ringfort.drill.failures import Failure
from ringfort.drill.findings import Findings
from ringfort.drill.handshakes import Handshakes
from ringfort.drill.taken_controller import controller_believed, controller_taken_over
from ringfort.drill.tools import tools
from ringfort.lab import approvers, controller, publishing
from ringfort.lab.lab import Lab
from ringfort.lab.plane import Plane
from tests.environment.controlled import CONTROLLED
from tests.lab.running import running

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running(tmp_path_factory.mktemp("taken"), CONTROLLED, "taken") as made:
        yield made


def test_whatever_a_controller_serves_no_node_opens_anything(lab: Lab) -> None:
    with tools(lab) as opened:
        seen = [*controller_taken_over(lab, opened.netfilter), *controller_believed(lab)]
    assert [one.words for one in seen if not one.held] == []
    served = [one.words for one in seen if one.words.startswith("it serves")]
    assert len(served) == 4
    assert all(
        "7 of 7 nodes refused it and raised an alert; 7 keep their version, 0 devices changed" in one for one in served
    )
    assert seen[-1].words.endswith("7 of 7 nodes believe the controller again")
    assert seen[0].words == "nobody answers: 7 keep their version, 0 devices changed"


def test_a_key_that_a_killed_drill_left_stolen_is_replaced_by_the_next_up(lab: Lab) -> None:
    plane = Plane.of(lab.environment)
    assert plane is not None
    before = approvers.replace_online(plane.directory / "approvers")
    controller.stop(plane)
    lab.up()
    with plane.calling() as client:
        found = publishing.published(client)
    assert found is not None
    assert found.version == 1
    assert before.public_key.keyid not in found.root.signed.keys


def test_each_handshake_from_a_router_is_accounted_for_at_the_control_plane_too(lab: Lab) -> None:
    """Its services end a connection without an alert, and count nothing."""
    findings = Findings()
    with tools(lab) as opened, lab.without("router-filter:r1"):
        Handshakes(lab, opened.caller, findings).borrow(Failure("router-taken-over", "r1"))
    result = findings.result("taken", 0.0, is_sample=False)
    assert [(cell.attack, cell.unexplained) for cell in result.cells] == [(Attack.ROUTER_HANDSHAKE, 0)]
    assert set(result.cells[0].refused_by) == {"identity:app", "identity:controller", "identity:witness"}
    assert result.delivered == ()
