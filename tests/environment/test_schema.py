"""The published JSON Schema: current, and true of files that are sound."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ringfort.environment.schema import EnvironmentForm, json_schema
from tests.environment.declare import SOUND

ROOT = Path(__file__).parents[2]
SCHEMA = json_schema()


def faults(schema: dict[str, Any], value: object, where: str = "$") -> list[str]:
    """Where ``value`` does not conform: the part of JSON Schema that ours uses, and nothing else of it."""
    known = {"$ref", "type", "properties", "patternProperties", "additionalProperties", "required", "items", "anyOf"}
    known |= {"enum", "pattern", "minimum", "maximum", "minItems", "maxItems", "maxLength"}
    known |= {"description", "examples", "default", "$schema", "$id", "$defs"}
    assert schema.keys() <= known, schema.keys() - known
    if "$ref" in schema:
        return faults(SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")], value, where)
    if "anyOf" in schema:
        tried = [faults(option, value, where) for option in schema["anyOf"]]
        return [] if [] in tried else min(tried, key=len)
    types = {"object": dict, "array": list, "string": str, "integer": int, "null": type(None)}
    if "type" in schema and not isinstance(value, types[schema["type"]]):
        return [f"{where}: no {schema['type']}"]
    if isinstance(value, dict):
        return _object_faults(schema, value, where)
    if isinstance(value, list):
        count = schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value))
        inside = [fault for n, item in enumerate(value) for fault in faults(schema["items"], item, f"{where}[{n}]")]
        return inside + ([] if count else [f"{where}: {len(value)} items"])
    if isinstance(value, str):
        sound = re.search(schema.get("pattern", ""), value) and len(value) <= schema.get("maxLength", len(value))
        sound = sound and value in schema.get("enum", [value])
        return [] if sound else [f"{where}: {value}"]
    assert isinstance(value, int)
    return [] if schema["minimum"] <= value <= schema["maximum"] else [f"{where}: {value}"]


def _object_faults(schema: dict[str, Any], value: dict[str, Any], where: str) -> list[str]:
    found = [f"{where}: {key} missing" for key in schema.get("required", []) if key not in value]
    for key, item in value.items():
        patterns = [inner for pattern, inner in schema.get("patternProperties", {}).items() if re.search(pattern, key)]
        inner = [schema["properties"][key]] if key in schema.get("properties", {}) else patterns
        if inner:
            found += faults(inner[0], item, f"{where}.{key}")
        elif schema.get("additionalProperties") is False:
            found.append(f"{where}: {key} unknown")
    return found


def test_the_published_schema_is_current() -> None:
    """``ringfort schema > schema/environment.schema.json`` brings it up to date."""
    assert json.loads((ROOT / "schema" / "environment.schema.json").read_text()) == SCHEMA


FILES = [
    *sorted(path for path in (ROOT / "examples").rglob("*.yaml") if path.name != "app.yaml"),
    ROOT / "src" / "ringfort" / "cli" / "starter.yaml",
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_files_that_are_sound_conform(path: Path) -> None:
    assert faults(SCHEMA, yaml.safe_load(path.read_text())) == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("tier: customer", "tier: customers", "$.sites.north.segments.guests.tier: customers"),
        ("customer: acme}", "custmer: acme}", "$.hosts.acme: custmer unknown"),
        ("  acme: {", "  Acme: {", "$.hosts: Acme unknown"),
        ("groups:", "grops:", "$: grops unknown"),
        ("ports: [5432]", "ports: [0]", "$.services.database.ports[0]: 0"),
        ("count: 2", "count: many", "$.hosts.web.count: no integer"),
        ("[south-r1]", "[a, b, c]", "$.sites.south.routers: 3 items"),
        ("[south-r1]", "[{machine: a}]", "$.sites.south.routers[0]: no string"),
        ("protocol: icmp", "protocol: igmp", "$.services.ping.protocol: igmp"),
        ("{from: web, to: app}", "{from: web}", "$.flows[2]: to missing"),
    ],
)
def test_an_editor_notices_faults_of_form(old: str, new: str, fault: str) -> None:
    assert faults(SCHEMA, yaml.safe_load(SOUND)) == []
    assert fault in faults(SCHEMA, yaml.safe_load(SOUND.replace(old, new)))


def test_every_key_is_described() -> None:
    """Editors show the description; `internet` and its like are described by their own form."""
    forms = [SCHEMA, *SCHEMA["$defs"].values()]
    bare = [
        key
        for form in forms
        for key, item in form.get("properties", {}).items()
        if not item.get("description") and "$ref" not in json.dumps(item)
    ]
    assert bare == []


def test_every_key_is_written_with_hyphens() -> None:
    keys = {field.alias for field in EnvironmentForm.model_fields.values()}
    assert {"trust-domain", "scan-detection", "connection-limit"} <= keys
    assert not [key for key in json.dumps(SCHEMA).split('"') if re.fullmatch(r"[a-z]+_[a-z_]+", key)]
