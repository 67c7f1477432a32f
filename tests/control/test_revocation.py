"""Trust that is taken away is gone within seconds, everywhere."""

from __future__ import annotations

import ssl
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ringfort.control.client import CallRefusedError, Client
from ringfort.control.errors import ControlError
from ringfort.identity.certificates import authority_key_id, new_key
from ringfort.identity.errors import IdentityError
from ringfort.identity.names import Role
from ringfort.identity.revocation import revoked
from ringfort.identity.store import write_credential
from tests.control.running import Ground, Running, csr, running

WITHIN = 5.0
"""Seconds."""


def until_refused(client: Client, path: str) -> float:
    """Seconds until a call on this client's connection is refused or the connection is gone."""
    begun = time.monotonic()
    while time.monotonic() - begun < 2 * WITHIN:
        try:
            client.get(path)
        except (CallRefusedError, ControlError):
            return time.monotonic() - begun
        time.sleep(0.05)
    return time.monotonic() - begun


def test_a_revoked_node_is_refused_on_its_open_connection_and_on_the_other_controller(
    ground: Ground, controller: Running
) -> None:
    with running(ground, "controller-2") as other:
        node, credential = controller.enrol("web-9")
        there = other.with_credential(credential)
        assert node.get("/v1/environment") == there.get("/v1/environment")
        name = {"identity": credential.identity.uri, "reason": "stolen"}
        controller.operator("sophie").call("POST", "/v1/revocations", name, reason="INC-7")
        assert until_refused(node, "/v1/environment") < WITHIN
        assert until_refused(there, "/v1/environment") < WITHIN
        with pytest.raises((CallRefusedError, ControlError)):
            other.with_credential(credential).get("/v1/environment")
        with pytest.raises((CallRefusedError, ControlError)):  # and it can't renew
            controller.with_credential(credential).call("POST", "/v1/nodes/web-9/renewals", {"csr": csr(new_key())})


def test_a_waiting_long_poll_of_a_revoked_node_is_ended(controller: Running) -> None:
    node, credential = controller.enrol("web-10")
    before = time.monotonic()
    name = {"identity": credential.identity.uri, "reason": "stolen"}

    def revoke() -> None:
        controller.operator("sophie").call("POST", "/v1/revocations", name, reason="INC-8")

    timer = threading.Timer(0.3, revoke)
    timer.start()
    with pytest.raises((CallRefusedError, ControlError)):
        node.get("/v1/nodes/web-10/desired?known=0")
    timer.join()
    assert time.monotonic() - before < WITHIN


def test_what_a_machine_held_before_it_was_enrolled_anew_is_revoked_and_that_is_recorded(controller: Running) -> None:
    lost, stolen = controller.enrol("web-11")
    node, fresh = controller.enrol("web-11")
    assert until_refused(lost, "/v1/environment") < WITHIN
    assert node.get("/v1/nodes/web-11")["state"] == "active"
    with pytest.raises((CallRefusedError, ControlError)):
        controller.with_credential(stolen).call("POST", "/v1/nodes/web-11/renewals", {"csr": csr(new_key())})
    listed = controller.operator("sophie").get("/v1/revocations")["revocations"]
    serials = {one["serial"] for one in listed if one["reason"] == "the machine was enrolled anew"}
    assert f"{stolen.leaf.serial_number:x}" in serials
    assert f"{fresh.leaf.serial_number:x}" not in serials
    records = controller.operator("aude").get("/v1/audit/records?object=node/web-11")["records"]
    last = next(one for one in reversed(records) if one["action"] == "control:node:enrol")
    assert f"{stolen.leaf.serial_number:x}" in str(last)


def test_an_operators_certificate_is_revoked_by_its_serial(controller: Running) -> None:
    credential = controller.ground.credential(Role.OPERATOR, "aude")
    aude = controller.with_credential(credential)
    aude.get("/v1/nodes")
    form = {
        "authority": authority_key_id(credential.leaf),
        "serial": f"{credential.leaf.serial_number:x}",
        "reason": "lost",
    }
    sophie = controller.operator("sophie")
    listed = sophie.call("POST", "/v1/revocations", form, reason="INC-9")["revocations"]
    assert form["serial"] in [one["serial"] for one in listed]
    assert until_refused(aude, "/v1/nodes") < WITHIN
    controller.operator("aude").get("/v1/nodes")  # another certificate of hers is still good


def test_what_stands_on_an_authoritys_list_is_refused_too(controller: Running) -> None:
    """`ringfort identity revoke` writes such a list, on the machine of the controller."""
    store = controller.ground.store
    credential = controller.ground.credential(Role.OPERATOR, "nora")
    nora = controller.with_credential(credential)
    nora.get("/v1/nodes")
    now = datetime.now(UTC)
    store.revoke(store.issuer("north"), [revoked(credential.leaf, now)], now)
    assert until_refused(nora, "/v1/nodes") < WITHIN
    controller.operator("nora").get("/v1/nodes")


@pytest.mark.parametrize("what", ["TLS 1.2", "no certificate", "another authority"])
def test_a_handshake_that_is_none_of_ours_fails(controller: Running, tmp_path: Path, what: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if what != "no certificate":
        ground = controller.ground if what == "TLS 1.2" else Ground(tmp_path)
        write_credential(tmp_path / "operator.pem", ground.credential(Role.OPERATOR, "nora"))
        context.load_cert_chain(tmp_path / "operator.pem")
    if what == "TLS 1.2":
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    client = Client(controller.platform, context, controller.ground.store.bundle())
    with client, pytest.raises((ControlError, IdentityError)):
        client.get("/v1/nodes")


def test_a_revoked_node_comes_back_with_a_new_token_only(controller: Running) -> None:
    _, credential = controller.enrol("web-11")
    name = {"identity": credential.identity.uri, "reason": "disk replaced"}
    controller.operator("sophie").call("POST", "/v1/revocations", name, reason="CHG-3")
    again, _ = controller.enrol("web-11")
    assert again.get("/v1/nodes/web-11")["state"] == "active"


def test_expired_not_yet_valid_or_from_another_address(controller: Running) -> None:
    now, short = datetime.now(UTC), timedelta(minutes=5, seconds=1)
    ground = controller.ground
    for credential in (
        ground.credential(Role.OPERATOR, "nora", now=now - timedelta(minutes=4), lifetime=short),
        ground.credential(Role.OPERATOR, "nora", now=now + timedelta(days=2)),
    ):
        with pytest.raises(ControlError):  # the handshake fails
            controller.with_credential(credential).get("/v1/environment")
    with pytest.raises(CallRefusedError) as refused:
        controller.client(Role.NODE, "web-1", "127.0.0.2").get("/v1/environment")
    assert (refused.value.status, refused.value.code) == (401, "identity-wrong-address")


@pytest.mark.parametrize(
    ("role", "path"),
    [
        (Role.SERVICE, "/v1/nodes"),
        (Role.WITNESS, "/v1/nodes"),
        (Role.NODE, "/v1/nodes"),
        (Role.CONTROLLER, "/v1/events"),
    ],
)
def test_a_wrong_role_may_not(controller: Running, role: Role, path: str) -> None:
    with pytest.raises(CallRefusedError) as refused:
        controller.client(role, "somebody").get(path)
    assert (refused.value.status, refused.value.code) == (403, "forbidden")


def test_one_node_may_not_speak_for_another(controller: Running) -> None:
    node, _ = controller.enrol("web-12")
    controller.enrol("web-13")
    for path in ("/v1/nodes/web-13", "/v1/nodes/web-13/desired"):
        with pytest.raises(CallRefusedError) as refused:
            node.get(path)
        assert refused.value.code == "forbidden"
