"""What the API's description says of an answer: the part of JSON Schema that it uses, and nothing else of it."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

from ringfort.control.openapi import description

KNOWN = {"$ref", "type", "properties", "additionalProperties", "required", "items", "anyOf", "enum", "const", "pattern"}
KNOWN |= {"minimum", "maximum", "minItems", "maxItems", "maxLength", "minLength", "maxProperties", "propertyNames"}
KNOWN |= {"patternProperties", "format", "title", "description", "default"}
TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "boolean": bool,
    "null": type(None),
}

seen: set[tuple[str, int]] = set()
"""Operations and statuses that were answered in this process."""


def operation_of(method: str, path: str) -> tuple[str, dict[str, Any]] | None:
    """The operation that a request is, as described."""
    plain = path.partition("?")[0]
    for template, operations in description()["paths"].items():
        pattern = re.sub(r"\{path\}", ".+", template)
        pattern = re.sub(r"\{\w+\}", "[^/]+", pattern)
        if re.fullmatch(pattern, plain) and method.lower() in operations:
            found: dict[str, Any] = operations[method.lower()]
            return found["operationId"], found
    return None


def faults_of(method: str, path: str, status: int, media: str, body: bytes) -> list[str]:
    """How an answer differs from what is described."""
    known = operation_of(method, path)
    if known is None:
        return [] if status in (404, 405) and media == "application/problem+json" else [f"{method} {path}: {status}"]
    name, operation = known
    seen.add((name, status))
    described = operation["responses"].get(str(status))
    if described is None:
        return [f"{name} does not say that it answers {status}"]
    if media not in described["content"]:
        return [f"{name} answers {status} as {media}"]
    schema = described["content"][media].get("schema")
    return faults(schema, json.loads(body)) if schema is not None else []


def faults(schema: dict[str, Any], value: object, where: str = "$") -> list[str]:
    """Where ``value`` does not conform."""
    assert schema.keys() <= KNOWN, schema.keys() - KNOWN
    if "$ref" in schema:
        named = schema["$ref"].removeprefix("#/components/schemas/")
        return faults(description()["components"]["schemas"][named], value, where)
    if "anyOf" in schema:
        tried = [faults(option, value, where) for option in schema["anyOf"]]
        return [] if [] in tried else min(tried, key=len)
    wanted = schema.get("type")
    if wanted and (not isinstance(value, TYPES[wanted]) or (wanted == "integer" and isinstance(value, bool))):
        return [f"{where}: no {wanted}"]
    if value not in schema.get("enum", [value]) or value != schema.get("const", value):
        return [f"{where}: {value!r}"]
    if isinstance(value, dict):
        return _object(schema, value, where)
    if isinstance(value, list):
        return [
            fault for n, item in enumerate(value) for fault in faults(schema.get("items", {}), item, f"{where}[{n}]")
        ]
    if isinstance(value, str):
        return _text(schema, value, where)
    if isinstance(value, int) and not isinstance(value, bool):
        inside = schema.get("minimum", value) <= value <= schema.get("maximum", value)
        return [] if inside else [f"{where}: {value}"]
    return []


def _text(schema: dict[str, Any], value: str, where: str) -> list[str]:
    sound = re.search(schema.get("pattern", ""), value) and len(value) <= schema.get("maxLength", len(value))
    if schema.get("format") == "date-time":
        sound = datetime.fromisoformat(value).tzinfo is not None
    return [] if sound else [f"{where}: {value}"]


def _object(schema: dict[str, Any], value: dict[str, Any], where: str) -> list[str]:
    found = [f"{where}: {key} missing" for key in schema.get("required", []) if key not in value]
    more = schema.get("additionalProperties", True)
    for key, item in value.items():
        patterns = schema.get("patternProperties", {})
        fitting = [inner for pattern, inner in patterns.items() if re.search(pattern, key)]
        inner = schema.get("properties", {}).get(key, fitting[0] if fitting else False if patterns else more)
        if inner is False:
            found.append(f"{where}: {key} unknown")
        elif isinstance(inner, dict):
            found += faults(inner, item, f"{where}.{key}")
    return found
