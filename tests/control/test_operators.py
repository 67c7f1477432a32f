"""What operators may act as is what approvers signed, as soon as the environment in force says it."""

from __future__ import annotations

import time

import pytest

from ringfort.control.client import CallRefusedError, Client
from ringfort.environment.model import Operator, OperatorRole
from tests.control.publications import Approvers
from tests.control.running import Ground, Running, running

PUBLISH, AUDIT, NODES = "/v1/environment/publications", "/v1/audit/records", "/v1/nodes"
WITHIN = 5.0


def may(client: Client, path: str) -> bool:
    try:
        client.get(path)
    except CallRefusedError as refused:
        if refused.code != "forbidden":
            raise
        return False
    return True


def becomes(client: Client, path: str, wanted: bool) -> None:
    until = time.monotonic() + WITHIN
    while may(client, path) is not wanted:
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.fixture
def approvers(controller: Running) -> Approvers:
    return Approvers(controller.ground)


def test_the_environment_in_force_says_what_operators_may_act_as(
    ground: Ground, controller: Running, approvers: Approvers
) -> None:
    """On connections that stand, at every controller; what the controllers' own files say counts no longer."""
    with running(ground, "controller-2") as other:
        nora, sophie, eve = (controller.operator(name) for name in ("nora", "sophie", "eve"))
        there = {name: other.operator(name) for name in ("sophie", "eve")}
        nora.call("POST", PUBLISH, approvers.first(), reason="CHG-1")
        assert may(sophie, AUDIT)
        assert may(there["sophie"], AUDIT)
        assert not may(eve, AUDIT), "she is in no file, and nothing signed names her"
        approvers.operators = (
            Operator("nora", (OperatorRole.NETWORK_OPERATOR,)),
            Operator("eve", (OperatorRole.AUDITOR,)),
        )
        nora.call("POST", PUBLISH, approvers.next(), reason="CHG-2")
        assert may(nora, NODES)
        for client in (sophie, there["sophie"]):
            becomes(client, AUDIT, False)
        for client in (eve, there["eve"]):
            becomes(client, AUDIT, True)
        approvers.operators = (Operator("eve", (OperatorRole.NETWORK_OPERATOR,)),)
        nora.call("POST", PUBLISH, approvers.next(), reason="CHG-3")
        becomes(nora, NODES, False)
        becomes(eve, NODES, True)
        with pytest.raises(CallRefusedError) as refused:
            nora.call("POST", PUBLISH, approvers.next(), reason="CHG-4")
        assert refused.value.code == "forbidden"
    with running(ground, "controller-3") as again:  # it begins with what is in force
        assert may(again.operator("eve"), NODES)
        assert not may(again.operator("sophie"), AUDIT)
