"""From app.yaml to what a guest starts."""

from __future__ import annotations

from ringfort.compute.application import load
from ringfort.compute.guest.launch import PYTHON, Layers, arguments, environment
from ringfort.compute.launching import launch


def of(text: str, **settings: str):  # type: ignore[no-untyped-def]  # noqa: ANN201
    return launch(load(text.encode()), settings)


def test_a_module_of_python() -> None:
    found = of("application: a\nruntime: python\nmodule: shop.web\nresources: {memory: 256, processes: 9}", KEY="value")
    assert arguments(found) == [PYTHON, "-m", "shop.web"]
    assert environment(found)["KEY"] == "value"
    assert (found.processes, found.memory, found.layers) == (9, 256, Layers())


def test_a_program_of_python() -> None:
    assert arguments(of("application: a\nruntime: python\ncommand: [main.py, x]")) == [PYTHON, "main.py", "x"]
    assert arguments(of("application: a\nruntime: python\ncommand: [gunicorn, x]")) == ["gunicorn", "x"]


def test_layers_are_those_declared() -> None:
    found = of("application: a\nruntime: command\ncommand: [run]\nsandbox: {account: false, landlock: false}")
    assert found.layers == Layers(account=False, read_only=True, landlock=False, seccomp=True)
    assert arguments(found) == ["run"]


def test_files_are_served_on_every_endpoint() -> None:
    found = of("application: a\nruntime: static\nendpoints: [{name: web, port: 8080}, {name: other, port: 8081}]")
    assert found.options == {"directory": "public", "ports": [8080, 8081]}


WASM = """
application: a
runtime: wasm
module: a.wasm
endpoints: [{name: web, port: 8080}, {name: hidden, port: 9090}]
configuration: {SEEN: "1", UNSEEN: "2"}
sandbox:
  partial-trust:
    sockets: [web]
    environment: [SEEN]
    directories: [{at: /data}, {at: /pages, path: public}]
    fuel: 1000
"""


def test_a_module_in_partial_trust_gets_what_is_granted() -> None:
    found = of(WASM, SEEN="1", UNSEEN="2")
    assert found.environment == {}
    assert found.options == {
        "module": "a.wasm",
        "ports": [8080],
        "directories": [("/data", "/data", True), ("/pages", "/app/public", False)],
        "environment": {"SEEN": "1"},
        "clock": False,
        "fuel": 1000,
        "memory": 64,
    }


def test_a_module_in_partial_trust_is_granted_nothing_by_default() -> None:
    found = of("application: a\nruntime: wasm\nmodule: a.wasm\nendpoints: [{name: web, port: 80}]", SECRET="x")
    assert found.options["ports"] == []
    assert found.options["environment"] == {}
    assert found.options["directories"] == []
