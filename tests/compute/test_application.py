"""What a customer writes: loaded whole, or refused with every fault at its place."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from ringfort.compute.application import LARGEST, Application, EndpointTls, Runtime, load, schema, to_json
from ringfort.errors import DeclarationError

ROOT = Path(__file__).parents[2]

SOUND = """\
application: shop
runtime: python
module: shop.main
instances: {count: 4, minimum-healthy: 3}
resources: {cpu: 50, memory: 256, disk: 128, bandwidth: 20, processes: 32}
endpoints:
  - {name: web, port: 8080, public-name: shop.example, tls: off}
  - {name: metrics, port: 9090}
configuration:
  GREETING: "hello"
  WORKERS: 4
secrets: [API_TOKEN]
health: {endpoint: web, path: /health, interval: 5, timeout: 2}
sandbox: {seccomp: true, landlock: false}
egress:
  - {to: 203.0.113.0/24, ports: [443, "6514-6520"], reason: payments}
domains: {fault: 2, update: 4}
"""

WASM = """\
application: counter
runtime: wasm
module: build/counter.wasm
endpoints: [{name: web, port: 8080}]
configuration: {STEP: 1}
sandbox:
  partial-trust: {environment: [STEP], sockets: [web], clock: true, directories: [{at: /data}, {at: /site, path: www}]}
"""


def problems(text: str) -> list[tuple[int, int, str]]:
    with pytest.raises(DeclarationError) as refused:
        load(text.encode())
    assert all(problem.message for problem in refused.value.problems)
    return [(problem.origin.line, problem.origin.column, problem.code) for problem in refused.value.problems]


def test_a_sound_file_is_loaded_with_its_defaults() -> None:
    application = load(SOUND.encode())
    assert (application.application, application.runtime, application.module) == ("shop", Runtime.PYTHON, "shop.main")
    assert application.endpoints[0].tls is EndpointTls.OFF
    assert application.endpoints[1].tls is EndpointTls.PLATFORM
    assert application.configuration == {"GREETING": "hello", "WORKERS": "4"}
    assert (application.sandbox.account, application.sandbox.landlock) == (True, False)
    small = load(b"application: tiny\nruntime: static\n")
    assert (small.instances.count, small.instances.floor, small.egress) == (1, 0, [])
    assert all((small.sandbox.account, small.sandbox.read_only, small.sandbox.landlock, small.sandbox.seccomp))


def test_all_faults_of_form_are_told_at_once_each_at_its_place() -> None:
    text = """\
application: Shop
runtime: pyton
instances: {count: 0}
resources: {memory: lots, cpus: 3}
endpoints:
  - {name: web, port: 99999, tls: "no"}
  - {port: 80}
configuration: {A-B: c, "TRUTH": yes}
secrets: [RINGFORT_KEY]
sandbox: {account: on}
egress: [{to: 203.0.113.5/24, ports: []}]
"""
    assert problems(text) == [
        (1, 14, "not-a-name"),
        (2, 10, "unknown-word"),
        (3, 20, "number-out-of-range"),
        (4, 21, "not-a-number"),
        (4, 27, "unknown-key"),
        (6, 23, "number-out-of-range"),
        (6, 35, "unknown-word"),
        (7, 5, "missing-key"),
        (8, 17, "not-a-setting"),
        (8, 34, "ambiguous-text"),
        (9, 11, "setting-reserved"),
        (10, 20, "not-a-flag"),
        (11, 15, "not-a-network"),
        (11, 38, "wrong-number"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("module: shop.main", "", (2, 10, "nothing-to-start")),
        ("module: shop.main", "module: shop.py/x", (3, 9, "not-a-module")),
        ("module: shop.main", "directory: public", (3, 12, "key-means-nothing")),
        ("secrets: [", "command: [x]\nsecrets: [", (12, 10, "two-things-to-start")),
        ("minimum-healthy: 3", "minimum-healthy: 5", (4, 40, "minimum-above-count")),
        ("name: metrics", "name: web", (8, 12, "given-twice")),
        ("port: 9090", "port: 8080", (8, 27, "given-twice")),
        ("endpoint: web", "endpoint: wbe", (13, 20, "unknown-endpoint")),
        ("timeout: 2", "timeout: 7", (13, 62, "timeout-above-interval")),
        ("[API_TOKEN]", "[API_TOKEN, API_TOKEN]", (12, 22, "given-twice")),
        ("[API_TOKEN]", "[GREETING]", (12, 11, "secret-in-configuration")),
        ("seccomp: true", "partial-trust: {clock: true}", (14, 11, "partial-trust-for-wasm")),
        ("application: shop", "? [a]\n: b", (1, 3, "key-not-text")),
        ("runtime: python", "runtime: python\nruntime: wasm", (3, 1, "duplicate-key")),
        ("module: shop.main", "module: !!python/name:os.system x", (3, 9, "tag-not-allowed")),
    ],
)
def test_what_does_not_fit_together_is_refused_at_its_place(old: str, new: str, place: tuple[int, int, str]) -> None:
    assert old in SOUND
    assert place in problems(SOUND.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("environment: [STEP]", "environment: [STOP]", "unknown-setting"),
        ("sockets: [web]", "sockets: [wep]", "unknown-endpoint"),
        ("at: /site", "at: /data", "given-twice"),
        ("at: /site", "at: /../etc", "not-a-path"),
        ("at: /site", "at: //etc", "not-a-path"),
        ("path: www", "path: ../www", "not-a-path"),
        ("path: www", "path: /etc", "not-a-path"),
        ("module: build/counter.wasm", "module: ../counter.wasm", "not-a-path"),
        ("configuration", "resources: {disk: 0}\nconfiguration", "no-disk"),
    ],
)
def test_what_partial_trust_grants_has_to_exist(old: str, new: str, code: str) -> None:
    load(WASM.encode())
    assert old in WASM
    assert code in [found for _, _, found in problems(WASM.replace(old, new))]


def test_what_is_too_large_or_no_yaml_is_refused_before_it_costs_anything() -> None:
    laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "\n".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)
    )
    assert [code for *_, code in problems(laughs)] == ["too-large"]
    assert [code for *_, code in problems("x" * (LARGEST + 1))] == ["file-too-large"]
    assert [code for *_, code in problems("")] == ["empty-file"]
    assert [code for *_, code in problems("- a\n")] == ["not-a-mapping"]
    with pytest.raises(DeclarationError):
        load(b"\xff\xfe")


def test_a_folder_without_the_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError) as refused:
        load(tmp_path)
    assert refused.value.problems[0].code == "file-unreadable"


@pytest.mark.parametrize("text", [SOUND, WASM])
def test_its_json_is_the_same_application(text: str) -> None:
    application = load(text.encode())
    assert load(to_json(application).encode()) == application
    assert "\n" not in to_json(application)


@given(st.dictionaries(st.from_regex(r"\AX_[A-Z_]{0,12}\Z"), st.text(st.characters(exclude_categories=["Cs"]))))
def test_any_configuration_survives_being_written(values: dict[str, str]) -> None:
    application = load(b"application: a\nruntime: static\n").model_copy(update={"configuration": values})
    if any("\0" in value for value in values.values()):
        return
    assert load(to_json(application).encode()) == application


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_any_bytes_are_an_application_or_refused_in_words(content: bytes) -> None:
    try:
        load(content)
    except DeclarationError as error:
        assert error.problems  # noqa: PT017


def test_the_published_schema_is_current() -> None:
    """``ringfort schema application > schema/application.schema.json`` brings it up to date."""
    assert json.loads((ROOT / "schema" / "application.schema.json").read_text()) == schema()


def forms(kind: type[BaseModel]) -> set[type[BaseModel]]:
    inner = [
        found
        for field in kind.model_fields.values()
        for found in re.findall(r"application\.(\w+)", str(field.annotation))
    ]
    return {kind}.union(*(forms(named(name)) for name in inner if isinstance(named(name), type)))


def named(name: str) -> Any:  # noqa: ANN401
    import ringfort.compute.application as module

    found = getattr(module, name)
    return found if isinstance(found, type) and issubclass(found, BaseModel) else None


def test_the_schema_has_every_key_with_its_description() -> None:
    definitions = {"Application": schema(), **schema()["$defs"]}
    assert {kind.__name__ for kind in forms(Application)} <= definitions.keys()
    for kind in forms(Application):
        described = definitions[kind.__name__]
        assert described["additionalProperties"] is False
        assert set(described["properties"]) == {field.alias for field in kind.model_fields.values()}
        for key, item in described["properties"].items():
            assert item.get("description") or "$ref" in json.dumps(item), (kind, key)
