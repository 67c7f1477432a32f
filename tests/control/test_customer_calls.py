"""No call of the customer API escapes: whatever is described is refused to everybody but the customer itself."""

from __future__ import annotations

import hashlib
import json
import re
import ssl
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from ringfort.control.application_tables import applications
from ringfort.control.client import Answer, Client
from ringfort.control.errors import ControlError
from ringfort.control.openapi import description
from ringfort.identity.credential import Credential
from ringfort.identity.names import Role
from ringfort.identity.store import write_credential
from tests.control.running import CustomerKey, Running, customer_key
from tests.control.shops import Customer, customer, own_certificate

BODIES: dict[str, object] = {
    "addCertificate": {"certificate": "(another)"},
    "beginUpload": {"digest": "cd" * 32, "size": 5},
    "deployApplication": {"upload": "(there)"},
    "rollBackApplication": {},
    "scaleApplication": {"count": 3},
    "changeConfiguration": {"set": {"STOLEN": "1"}},
    "changeSecrets": {"set": {"STOLEN_SECRET": "1"}},
    "sendPart": b"part",
    "putPublicCertificate": "(one of its own)",
}
"""What each call takes; a call that takes something and isn't here fails the test, so that nobody forgets it."""

LAST = ("removeCertificate", "dropUpload", "removePublicCertificate", "removeApplication")
"""These take away what others need."""


@dataclass(frozen=True)
class Asked:
    """One call, as it would do what it does."""

    name: str
    method: str
    path: str
    body: object

    def send(self, client: Client) -> Answer:
        headers = {"Ringfort-Ticket": "CHG-1"}
        data = None
        if self.method != "GET":
            headers["Idempotency-Key"] = f"key-of-{self.name}-{id(client)}"
        if self.body is not None:
            raw = isinstance(self.body, bytes)
            headers["Content-Type"] = "application/octet-stream" if raw else "application/json"
            data = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        return client.send(self.method, self.path, data, headers)


def described() -> list[tuple[str, str, dict[str, Any]]]:
    """Method, path and description of each call of the customer API."""
    return [
        (method.upper(), path, one)
        for path, methods in description()["paths"].items()
        for method, one in methods.items()
        if one["security"] == [{"customer": []}]
    ]


def calls(victim: Customer, directory: Path) -> list[Asked]:
    """Every one of them, about something that the victim has."""
    content = victim.software()
    there = victim.send(content)
    spare = victim.call("POST", "/uploads", {"digest": hashlib.sha256(b"part").hexdigest(), "size": 4})["upload"]
    second = customer_key(directory, f"{victim.name}-second")
    victim.call("POST", "/certificates", {"certificate": second.text})
    another = {"certificate": customer_key(directory, f"{victim.name}-third").text}
    own = own_certificate(f"{victim.name}.example")
    victim.call("POST", "/public-certificates", own)
    found = []
    for method, path, one in described():
        name = one["operationId"]
        values = {"name": victim.name, "application": "web", "upload": spare, "offset": "0"}
        values["public"] = f"{victim.name}.example"
        values["thumbprint"] = second.thumbprint if name == "removeCertificate" else victim.first.thumbprint
        body = BODIES[name] if "requestBody" in one else None
        if name == "addCertificate":
            body = another
        if name == "putPublicCertificate":
            body = own
        if name == "deployApplication":
            body = {"upload": there}
        full = re.sub(r"\{(\w+)\}", partial(_value, values), path)
        found.append(Asked(name, method, full, body))
    return sorted(
        found, key=lambda asked: (asked.name in LAST, asked.name == "removeApplication", asked.method != "POST")
    )


def _value(values: dict[str, str], part: re.Match[str]) -> str:
    return values[part[1]]


def equipped(controller: Running, directory: Path, name: str) -> Customer:
    victim = customer(controller, directory, name)
    victim.deploy(victim.software(b"1"))
    victim.deploy(victim.software(b"2"))
    victim.call("POST", "/applications/web/stop")
    return victim


def state_of(controller: Running) -> str:
    with controller.controller.database.reading() as connection:
        tables = [table for table in applications.metadata.sorted_tables if "customer" in table.c]
        return repr([[tuple(row) for row in connection.execute(select(table))] for table in tables])


def test_the_api_is_what_customers_have_to_have() -> None:
    found = {one["operationId"] for _, _, one in described()}
    assert {"deployApplication", "changeSecrets", "readLog", "sendPart", "removeCertificate"} <= found
    assert all(path.startswith(("/v1/customers/{name}/", "/v1/certificates/")) for _, path, _ in described())
    taking = {one["operationId"] for _, _, one in described() if "requestBody" in one}
    assert taking == set(BODIES)


def test_another_customers_certificate_is_refused_on_every_call(controller: Running, tmp_path: Path) -> None:
    victim, rival = equipped(controller, tmp_path, "victim"), equipped(controller, tmp_path, "rival")
    asked = calls(victim, tmp_path)
    before = state_of(controller)
    for one in asked:
        answer = one.send(rival.client)
        assert (answer.status, json.loads(answer.body)["type"].rpartition("/")[2]) == (403, "forbidden"), one
    assert state_of(controller) == before


def platform_credentials(controller: Running) -> dict[str, Credential]:
    """Certificates of every kind that the platform's authority signs, some by the victim's own name."""
    found = {
        f"operator {name}": controller.ground.credential(Role.OPERATOR, name)
        for name in ("nora", "sophie", "aude", "sam")
    }
    found |= {f"{role} called like the customer": controller.ground.credential(role, "prey") for role in Role}
    _, found["an enrolled node"] = controller.enrol("enrolled")
    return found


def test_operators_nodes_and_all_others_of_the_platform_are_refused_on_every_call_at_either_door(
    controller: Running, tmp_path: Path
) -> None:
    victim = equipped(controller, tmp_path, "prey")
    asked = calls(victim, tmp_path)
    credentials = platform_credentials(controller)
    before = state_of(controller)
    for number, (who, credential) in enumerate(credentials.items()):
        client = controller.with_credential(credential)
        files = tmp_path / f"{number}.pem"
        write_credential(files, credential)
        impostor = Client.customer(controller.customers, files, files, controller.ground.store.bundle(), 5.0)
        for one in asked:
            answer = one.send(client)
            assert answer.status in (401, 404, 405), (who, one, answer)  # there is no such call at their door
        with pytest.raises(ControlError):  # and at the customers' not even a handshake, whatever the call
            asked[0].send(impostor)
    assert state_of(controller) == before


def test_strangers_and_those_without_a_certificate_are_refused_on_every_call(
    controller: Running, tmp_path: Path
) -> None:
    victim = equipped(controller, tmp_path, "lonely")
    asked = calls(victim, tmp_path)
    bundle = controller.ground.store.bundle()
    stranger = customer_key(tmp_path, "stranger", subject="management")
    nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    nobody.check_hostname, nobody.verify_mode = False, ssl.CERT_NONE
    for client in (
        Client.customer(controller.customers, stranger.pem, stranger.key, bundle, 5.0),
        Client(controller.customers, nobody, bundle, 5.0),
    ):
        for one in asked:
            with pytest.raises(ControlError):
                one.send(client)


def test_the_customer_itself_may_make_every_call(controller: Running, tmp_path: Path) -> None:
    """So that the refusals above are refusals of who asks, and of nothing else."""
    victim = equipped(controller, tmp_path, "itself")
    for one in calls(victim, tmp_path):
        answer = one.send(victim.client)
        assert answer.status in (200, 201), (one, answer)


def test_a_certificate_that_was_removed_is_refused_on_every_call(controller: Running, tmp_path: Path) -> None:
    victim = equipped(controller, tmp_path, "former")
    asked = calls(victim, tmp_path)
    removed = customer_key(tmp_path, "removed")
    victim.call("POST", "/certificates", {"certificate": removed.text})
    victim.call("DELETE", f"/certificates/{removed.thumbprint}")
    client = Client.customer(
        controller.customers,
        removed.pem,
        CustomerKey(removed.pem, removed.key).key,
        controller.ground.store.bundle(),
        5.0,
    )
    for one in asked:
        with pytest.raises(ControlError):
            one.send(client)
