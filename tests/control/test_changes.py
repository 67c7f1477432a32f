"""Every change is done once, whoever asks again, and has exactly one audit record; or neither happens."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ringfort.compute.sealing import PlatformKey
from ringfort.control import performing
from ringfort.control.client import CallRefusedError, Client, Endpoint
from ringfort.control.errors import ControlError
from ringfort.control.routes import OPERATIONS
from ringfort.errors import RingfortError
from ringfort.identity.certificates import new_key
from ringfort.identity.names import Role
from tests.control.places import Places, placed
from tests.control.running import REPORT, Ground, Running, csr, customer_key, process
from tests.control.shops import Customer, own_certificate

TOKEN = "/v1/enrolment-tokens"


def form(node: str) -> dict[str, Any]:
    return {"node": node, "site": "north", "addresses": ["127.0.0.1"]}


def records(client: Client, start: int = 0) -> list[dict[str, Any]]:
    """All of them from a number on."""
    found: list[dict[str, Any]] = []
    following: int | None = start
    while following is not None:
        page = client.get(f"/v1/audit/records?from={following}&limit=1000")
        found += page["records"]
        following = page["next"]
    return found


def test_the_same_call_with_the_same_key_is_done_once_and_answered_alike(controller: Running) -> None:
    nora, aude = controller.operator("nora"), controller.operator("aude")
    before = len(records(aude))
    answers = [nora.call("POST", TOKEN, form("once"), reason="T-1", key="the-same-key") for _ in range(3)]
    assert answers[0] == answers[1] == answers[2]
    assert len(records(aude)) == before + 1


def test_a_key_is_good_for_one_call_and_one_caller(controller: Running) -> None:
    nora = controller.operator("nora")
    nora.call("POST", TOKEN, form("key-1"), reason="T-1", key="key-for-one-call")
    with pytest.raises(CallRefusedError) as refused:
        nora.call("POST", TOKEN, form("key-2"), reason="T-1", key="key-for-one-call")
    assert (refused.value.status, refused.value.code) == (422, "idempotency-key-reused")
    sam = controller.operator("sam")
    assert sam.call("POST", TOKEN, form("key-2"), reason="T-1", key="key-for-one-call")["node"] == "key-2"


def test_a_refusal_keeps_nothing_and_may_be_asked_again(controller: Running, tmp_path: Path) -> None:
    sophie, aude = controller.operator("sophie"), controller.operator("aude")
    before = len(records(aude))
    for _ in range(2):
        with pytest.raises(CallRefusedError) as refused:
            sophie.call("DELETE", "/v1/customers/late", reason="T-1", key="asked-too-early")
        assert refused.value.code == "not-found"
    assert len(records(aude)) == before
    first = customer_key(tmp_path, "late")
    sophie.call("POST", "/v1/customers", {"name": "late", "certificate": first.text}, reason="T-1")
    assert sophie.call("DELETE", "/v1/customers/late", reason="T-1", key="asked-too-early")["state"] == "closed"


def test_concurrent_calls_share_transactions_and_none_is_lost_or_doubled(controller: Running) -> None:
    aude = controller.operator("aude")
    before = len(records(aude))
    clients = [controller.operator("nora") for _ in range(8)]
    failed: list[RingfortError] = []

    def work(number: int, client: Client) -> None:
        try:
            for turn in range(10):
                client.call("POST", TOKEN, form(f"many-{turn}"), reason="T-1", key=f"shared-key-{turn}-{number % 4}")
        except RingfortError as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=pair) for pair in enumerate(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    after = records(aude)
    assert len(after) == before + 40  # 8 callers, 2 of each key
    assert [record["sequence"] for record in after] == list(range(len(after)))


# -- audit -----------------------------------------------------------------------------------------------------------


def test_a_record_tells_who_what_on_what_before_after_why_from_where_and_when(
    controller: Running, tmp_path: Path
) -> None:
    sophie, aude = controller.operator("sophie"), controller.operator("aude")
    first = customer_key(tmp_path, "told")
    sophie.call(
        "POST", "/v1/customers", {"name": "told", "certificate": first.text}, reason="CHG-99", key="key-of-told"
    )
    record = records(aude)[-1]
    body = record["record"]
    assert record["who"] == "spiffe://test.example/operator/sophie"
    assert record["origin"] == "127.0.0.1"
    assert body["authenticated"].startswith("mutual TLS 1.3, certificate sha256:")
    assert (body["action"], body["on"], body["why"]) == ("control:customer:create", "customer/told", "CHG-99")
    assert (body["before"], body["request"]) == (None, "key-of-told")
    assert body["after"]["value"] == {"state": "active", "certificates": [first.thumbprint]}
    assert "sophie" not in json.dumps(body)  # who it was is personal: only a commitment is in the log


def test_secrets_are_in_no_record(controller: Running) -> None:
    made = controller.operator("nora").call("POST", TOKEN, form("secretive"), reason="T-1")
    record = records(controller.operator("aude"))[-1]
    assert record["object"] == "node/secretive"
    assert made["token"][20:60] not in json.dumps(record)


def test_without_a_record_there_is_no_change(controller: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> int:
        raise OSError("no room for a record")

    sophie, aude = controller.operator("sophie"), controller.operator("aude")
    before = len(records(aude))
    first = customer_key(controller.ground.directory, "unrecorded")
    wanted = {"name": "unrecorded", "certificate": first.text}
    with monkeypatch.context() as patched:
        patched.setattr(performing, "record", fails)
        with pytest.raises(CallRefusedError) as refused:
            sophie.call("POST", "/v1/customers", wanted, reason="T-1")
        assert (refused.value.status, refused.value.code) == (500, "own-error")
    assert "unrecorded" not in [customer["name"] for customer in sophie.get("/v1/customers")["customers"]]
    assert len(records(aude)) == before


def test_every_operation_that_changes_something_writes_exactly_one_record(
    controller: Running, places: Places, tmp_path: Path
) -> None:
    """One call of each, in an order in which each changes something."""
    aude, sophie = controller.operator("aude"), controller.operator("sophie")
    made: dict[str, int] = {}

    def count(name: str, client: Client, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401
        before = records(aude)
        answer = client.call(method, path, body, reason="T-1")
        new = records(aude, before[-1]["sequence"] + 1 if before else 0)
        made[name] = len([one for one in new if "/controller/" not in one["who"]])  # it places by itself meanwhile
        return answer

    count(
        "publishEnvironment",
        controller.operator("nora"),
        "POST",
        "/v1/environment/publications",
        places.form(),
    )
    count("createEnrolmentToken", controller.operator("nora"), "POST", TOKEN, form("each"))
    node, _ = controller.enrol("each")
    made["enrol"] = int(records(aude)[-1]["action"] == "control:node:enrol")
    count("renewCertificate", node, "POST", "/v1/nodes/each/renewals", {"csr": csr(new_key())})
    count("reportNode", node, "POST", "/v1/nodes/each/reports", REPORT)
    identity = {"identity": "spiffe://test.example/node/each", "reason": "test"}
    count("revoke", sophie, "POST", "/v1/revocations", identity)
    first, second = customer_key(tmp_path, "first"), customer_key(tmp_path, "second")
    count("createCustomer", sophie, "POST", "/v1/customers", {"name": "each", "certificate": first.text})
    each = controller.customer(first)
    count("addCertificate", each, "POST", "/v1/customers/each/certificates", {"certificate": second.text})
    count("removeCertificate", each, "DELETE", f"/v1/customers/each/certificates/{second.thumbprint}")
    made |= orders(Customer("each", each, first), controller, places, count)
    served = controller.controller.served
    served.former_data_key, served.data_key = served.data_key, PlatformKey(os.urandom(32))
    count("rotateDataKey", sophie, "POST", "/v1/data-key/rotation")
    count("erasePersonalValues", sophie, "POST", "/v1/audit/erasures", {"records": [0]})
    count("closeCustomer", sophie, "DELETE", "/v1/customers/each")
    changing = {operation.name for operation in OPERATIONS if operation.change is not None}
    expected = {**dict.fromkeys(changing, 1), "writeLog": 0}  # what is observed, and changes nothing
    del expected["issueEdgeCertificate"]  # it takes a gateway: `test_edge`
    assert made == expected


def orders(shop: Customer, controller: Running, places: Places, count: Any) -> dict[str, int]:  # noqa: ANN401
    """One call of each kind about a customer's applications."""
    each, path = shop.client, shop.path
    content = shop.software()
    announced = {"digest": hashlib.sha256(content).hexdigest(), "size": len(content)}
    spare = count("beginUpload", each, "POST", f"{path}/uploads", {"digest": "ab" * 32, "size": 7})["upload"]
    count("dropUpload", each, "DELETE", f"{path}/uploads/{spare}")
    upload = each.call("POST", f"{path}/uploads", announced)["upload"]
    aude = controller.operator("aude")
    before = len(records(aude))
    each.put(f"{path}/uploads/{upload}/parts/0", content)
    made = {"sendPart": len(records(aude)) - before}
    web = f"{path}/applications/web"
    count("changeSecrets", each, "POST", f"{web}/secrets", {"set": {"TOKEN": "x"}})
    own = f"{path}/public-certificates"
    count("putPublicCertificate", each, "POST", own, own_certificate("each.example"))
    count("removePublicCertificate", each, "DELETE", f"{own}/each.example")
    count("deployApplication", each, "POST", f"{web}/deployments", {"upload": upload})
    count("changeConfiguration", each, "POST", f"{web}/configuration", {"set": {"A": "1"}})
    shop.deploy(shop.software(b"2"))
    count("rollBackApplication", each, "POST", f"{web}/rollback", {})
    count("scaleApplication", each, "POST", f"{web}/scale", {"count": 1})
    count("stopApplication", each, "POST", f"{web}/stop")
    count("startApplication", each, "POST", f"{web}/start")
    nora = controller.operator("nora")
    places.hypervisor(controller, "ran-each", "each")
    (instance,) = placed(shop, 1)
    node = places.hypervisor(controller, "runs-each", "each")
    count("moveInstance", nora, "POST", f"/v1/instances/{instance}/move", {"node": "runs-each"})
    count("holdInstance", nora, "POST", f"/v1/instances/{instance}/stop")
    count("releaseInstance", nora, "POST", f"/v1/instances/{instance}/start")
    said = [{"instance": instance, "deployment": 1, "settings": 0, "state": "running"}]
    count("reportInstances", node, "POST", "/v1/nodes/runs-each/instances", {"instances": said})
    lines = {"lines": [{"at": "2026-11-24T12:00:00Z", "text": "x"}]}
    count("writeLog", node, "POST", f"/v1/nodes/runs-each/instances/{instance}/log", lines)
    count("removeApplication", each, "DELETE", web)
    return made


def test_a_report_that_tells_nothing_new_is_no_change(controller: Running) -> None:
    node, _ = controller.enrol("quiet")
    aude = controller.operator("aude")
    node.call("POST", "/v1/nodes/quiet/reports", REPORT)
    before = len(records(aude))
    seen = node.get("/v1/nodes/quiet")["seen"]
    node.call("POST", "/v1/nodes/quiet/reports", {**REPORT, "counters": {"refused": 7}})
    after = node.get("/v1/nodes/quiet")
    assert len(records(aude)) == before
    assert after["seen"] > seen
    assert after["report"]["counters"] == {"refused": 7}


# -- several controllers, and their sudden ends ----------------------------------------------------------------------


def test_two_controllers_one_key_and_a_sudden_end(ground: Ground) -> None:
    """While two processes take the same calls, one is killed and started again: each change happens exactly once."""
    credential = ground.credential(Role.OPERATOR, "nora")
    bundle = ground.store.bundle()
    keys = [f"contended-key-{number}" for number in range(30)]
    answers: dict[str, set[str]] = {key: set() for key in keys}
    lock = threading.Lock()

    def insist(endpoints: list[Endpoint], turn: int) -> None:
        """Ask until there is an answer, here or there."""
        for number, key in enumerate(keys):
            for attempt in range(200):
                endpoint = endpoints[(turn + number + attempt) % len(endpoints)]
                try:
                    with Client.platform(endpoint, credential, bundle, 5.0) as client:
                        answer = client.call("POST", TOKEN, form(f"contended-{number}"), reason="T-1", key=key)
                except ControlError:
                    time.sleep(0.02)
                    continue
                except CallRefusedError as refused:
                    if refused.status == 503:
                        continue
                    raise
                with lock:
                    answers[key].add(answer["serial"])
                break
            else:
                raise AssertionError(f"no answer for {key}")

    with process(ground, "controller-7") as (_, steady), process(ground, "controller-8") as (victim, other):
        endpoints = [steady, other]
        threads = [threading.Thread(target=insist, args=(endpoints, turn)) for turn in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.4)
        os.kill(victim.pid, signal.SIGKILL)
        for thread in threads:
            thread.join()
        aude = Client.platform(steady, ground.credential(Role.OPERATOR, "aude"), bundle)
        with aude:
            found = records(aude)
    assert all(len(serials) == 1 for serials in answers.values()), answers
    contended = [record for record in found if str(record["object"]).startswith("node/contended-")]
    assert len(contended) == len(keys)
    assert [record["sequence"] for record in found] == list(range(len(found)))
