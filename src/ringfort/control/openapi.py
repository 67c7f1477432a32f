"""The API's description (OpenAPI 3.1), made from the table of operations and the models of what they take and give."""

from __future__ import annotations

import json
from functools import cache
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from ringfort.control.models import Problem
from ringfort.control.operation import BYTES, PARAMETERS, Operation
from ringfort.control.problems import MEDIA_TYPE
from ringfort.control.routes import OPERATIONS

_ABOUT = """Everything is over mutual TLS 1.3. Calls about a customer's software, configuration and certificates are
made on the customers' listener with a certificate that the customer registered, all others with a certificate of the
platform. Every change takes an `Idempotency-Key`: the same call with the same key is done once and answered alike."""

_REFUSALS = (400, 401, 403, 404, 408, 413, 415, 422, 429, 500, 503)
_CHANGES = {"POST", "PUT", "DELETE"}


@cache
def description() -> dict[str, Any]:
    """The whole document."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {"title": "Ringfort controller", "version": version("ringfort"), "description": _ABOUT},
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "platform": {"type": "mutualTLS", "description": "A certificate of the platform's authority."},
                "customer": {"type": "mutualTLS", "description": "A certificate that the customer registered."},
            },
        },
    }


@cache
def description_bytes() -> bytes:
    """The document as it is sent."""
    return json.dumps(description()).encode()


def _schemas() -> dict[str, Any]:
    forms = {op.form for op in OPERATIONS if op.form is not None}
    answers = {op.answer for op in OPERATIONS if not isinstance(op.answer, str)} | {Problem}
    wanted: list[tuple[type[BaseModel], Any]] = [(model, "validation") for model in sorted(forms, key=_name)]
    wanted += [(model, "serialization") for model in sorted(answers, key=_name)]
    _, document = models_json_schema(wanted, ref_template="#/components/schemas/{model}")
    schemas: dict[str, Any] = document["$defs"]
    return schemas


def _name(model: type[BaseModel]) -> str:
    return model.__name__


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "security": [{"customer" if operation.customers else "platform": []}],
        "parameters": [*_path(operation), *_query(operation), *_headers(operation)],
        "responses": {str(status): _answer(operation) for status in sorted({operation.status, 200})}
        if operation.method in _CHANGES
        else {str(operation.status): _answer(operation)},
        "x-ringfort-action": operation.action,
    }
    for status in sorted({*_REFUSALS, *operation.refusals}):
        described["responses"][str(status)] = {
            "description": "Refused.",
            "content": {MEDIA_TYPE: {"schema": _reference(Problem)}},
        }
    if operation.raw:
        described["requestBody"] = {"required": True, "content": {BYTES: {}}}
    if operation.form is not None:
        described["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _reference(operation.form)}},
        }
    return described


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def _answer(operation: Operation) -> dict[str, Any]:
    if isinstance(operation.answer, str):
        content: dict[str, Any] = {operation.answer: {}}
    else:
        content = {"application/json": {"schema": _reference(operation.answer)}}
    return {"description": operation.summary, "content": content}


def _path(operation: Operation) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "pattern": f"^{PARAMETERS[name]}$"},
        }
        for name in operation.parameters
    ]


def _query(operation: Operation) -> list[dict[str, Any]]:
    if operation.query is None:
        return []
    schema = operation.query.model_json_schema(by_alias=True)
    return [
        {"name": name, "in": "query", "required": name in schema.get("required", []), "schema": field}
        for name, field in schema["properties"].items()
    ]


def _headers(operation: Operation) -> list[dict[str, Any]]:
    if operation.method not in _CHANGES:
        return []
    key = {"type": "string", "pattern": "^[!-~]{8,128}$"}
    return [
        {"name": "Idempotency-Key", "in": "header", "required": True, "schema": key},
        {"name": "Ringfort-Ticket", "in": "header", "required": False, "schema": {"type": "string", "maxLength": 500}},
    ]
