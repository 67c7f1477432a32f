"""The API's description is the API."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ringfort.cli.main import ringfort
from ringfort.control.client import CallRefusedError
from ringfort.control.openapi import description
from ringfort.control.routes import OPERATIONS
from tests.control import described
from tests.control.places import Places, placed
from tests.control.running import REPORT, Running, customer_key
from tests.control.shops import Customer

ELSEWHERE = {"fetchLog": "not-found", "awaitEdge": "not-the-gateway", "readEdgeCertificate": "not-the-gateway"}
ELSEWHERE |= {"readPublicName": "forbidden"}
"""What is read in tests of its own: here there is no audit log, and no gateway."""


def test_every_operation_is_described_with_its_refusals() -> None:
    document = description()
    assert document["openapi"] == "3.1.0"
    found = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert found == {(operation.method, operation.path) for operation in OPERATIONS}
    names = [one["operationId"] for methods in document["paths"].values() for one in methods.values()]
    assert len(names) == len(set(names))
    for methods in document["paths"].values():
        for one in methods.values():
            assert {"400", "401", "403", "422", "500", "503"} <= one["responses"].keys()


def references(value: Any) -> set[str]:  # noqa: ANN401  # JSON
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*(references(item) for item in value.values()))
    return set().union(*(references(item) for item in value)) if isinstance(value, list) else set()


def test_every_reference_leads_somewhere() -> None:
    document = description()
    schemas = document["components"]["schemas"]
    assert {reference.rpartition("/")[2] for reference in references(document)} == set(schemas)


def test_forms_refuse_what_they_do_not_know() -> None:
    for name in {operation.form.__name__ for operation in OPERATIONS if operation.form is not None}:
        assert description()["components"]["schemas"][name]["additionalProperties"] is False


def test_every_read_answers_as_described(controller: Running, places: Places, tmp_path: Path) -> None:
    """`running.Checked` holds every answer of every test against the description; here each read is asked once."""
    nora, sophie = controller.operator("nora"), controller.operator("sophie")
    node = places.hypervisor(controller, "described", "described")
    node.call("POST", "/v1/nodes/described/reports", REPORT)
    first = customer_key(tmp_path, "described")
    sophie.call("POST", "/v1/customers", {"name": "described", "certificate": first.text}, reason="T-1")
    customer = controller.customer(first)
    shop = Customer("described", customer, first)
    shop.deploy(shop.software())
    instance, _ = placed(shop, 1)
    asked: set[str] = set()
    values = {
        "application": "web",
        "sequence": "0",
        "path": "checkpoint",
        "name": "described",
        "offset": "0",
        "public": "a.example",
    }
    values |= {"instance": instance, "upload": shop.send(shop.software()), "thumbprint": first.thumbprint}
    for operation in OPERATIONS:
        if operation.change is not None:
            continue
        values["file"] = "timestamp.json" if "metadata" in operation.path else environment_file(nora)
        path = re.sub(r"\{(\w+)\}", lambda part: values[part[1]], operation.path)
        client = customer if operation.customers else node if operation.action in ("node:await", "node:run") else sophie
        if operation.name in ELSEWHERE:
            with pytest.raises(CallRefusedError) as refused:
                client.fetch(path)
            assert refused.value.code == ELSEWHERE[operation.name]
        else:
            assert client.fetch(path)
        asked.add(operation.name)
    assert asked == {operation.name for operation in OPERATIONS if operation.change is None}


def environment_file(client: Any) -> str:  # noqa: ANN401  # a client
    return f"{client.get('/v1/environment')['digest']}.environment.json"


def test_an_answer_that_differs_from_the_description_is_noticed() -> None:
    assert described.faults_of("GET", "/v1/environment", 200, "application/json", b'{"version": 1}') != []
    assert described.faults_of("GET", "/v1/environment", 418, "application/json", b"{}") != []
    assert described.faults_of("GET", "/v1/environment", 200, "text/html", b"") != []
    extra = b'{"version": 1, "root": 1, "digest": "", "expires": null, "colour": "red"}'
    assert described.faults_of("GET", "/v1/environment", 200, "application/json", extra) == ["$: colour unknown"]


def test_the_command_prints_it() -> None:
    result = CliRunner().invoke(ringfort, ["controller", "openapi"])
    assert json.loads(result.output) == json.loads(json.dumps(description()))
