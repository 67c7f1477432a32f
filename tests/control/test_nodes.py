"""Machines come in once, with a token; nodes speak for themselves."""

from __future__ import annotations

import pytest

from ringfort.control.client import CallRefusedError
from ringfort.identity import token
from ringfort.identity.certificates import new_key
from tests.control.running import REPORT, Running, csr


def test_a_machine_with_a_token_becomes_a_node(controller: Running) -> None:
    node, credential = controller.enrol("web-1")
    assert credential.identity.uri == "spiffe://test.example/node/web-1"
    assert node.get("/v1/nodes/web-1")["state"] == "active"
    assert node.get("/v1/nodes/web-1/desired")["version"] == 0
    assert node.call("POST", "/v1/nodes/web-1/reports", REPORT) == {"version": 0, "events": 0}
    assert node.get("/v1/nodes/web-1")["report"]["digest"] == "ab" * 32


def test_a_token_is_good_once_and_its_reuse_is_an_alert(controller: Running) -> None:
    form = {"node": "web-2", "site": "north", "addresses": ["127.0.0.1"]}
    made = controller.operator("nora").call("POST", "/v1/enrolment-tokens", form, reason="T-1")
    machine = controller.with_credential(token.read(made["token"]).credential)
    machine.call("POST", "/v1/enrolments", {"csr": csr(new_key())})
    with pytest.raises(CallRefusedError) as refused:
        machine.call("POST", "/v1/enrolments", {"csr": csr(new_key())})
    assert (refused.value.status, refused.value.code) == (403, "token-used")
    events = controller.operator("aude").get("/v1/events")["events"]
    alert = next(event for event in events if event["kind"] == "enrolment-token-reused")
    assert (alert["severity"], alert["subject"]) == ("alert", "node:web-2")
