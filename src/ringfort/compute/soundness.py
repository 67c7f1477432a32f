"""Whether what an application says of itself fits together; every fault at its place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ringfort.compute.application import Application, PartialTrust, Runtime
from ringfort.compute.words import is_dotted
from ringfort.environment.nodes import Mapping, Place, place_at
from ringfort.environment.problems import Problems, shown


class _Checking:
    def __init__(self, application: Application, root: Mapping, problems: Problems) -> None:
        self.application, self._root, self.problems = application, root, problems

    def at(self, *path: str | int) -> Place:
        return place_at(self._root, path) or self._root.place

    def refuse(self, code: str, path: tuple[str | int, ...], message: str, hint: str = "") -> None:
        self.problems.add(code, self.at(*path), message, hint)


def check(application: Application, root: Mapping, problems: Problems) -> None:
    """Note everything that doesn't fit together."""
    checking = _Checking(application, root, problems)
    _runtime(checking)
    _instances(checking)
    _endpoints(checking)
    _settings(checking)
    _partial_trust(checking)


_WANTED = {
    Runtime.PYTHON: ("module", "command"),
    Runtime.STATIC: (),
    Runtime.WASM: ("module",),
    Runtime.COMMAND: ("command",),
}
_TAKES = {**_WANTED, Runtime.STATIC: ("directory",)}


def _runtime(checking: _Checking) -> None:
    application = checking.application
    given = [key for key in ("module", "command", "directory") if getattr(application, key)]
    wanted, takes = _WANTED[application.runtime], _TAKES[application.runtime]
    for key in given:
        if key not in takes:
            message = f"{shown(key)} means nothing to the runtime {application.runtime}"
            checking.refuse("key-means-nothing", (key,), message, "remove it, or choose another runtime")
    if wanted and not set(wanted) & set(given):
        message = f"the runtime {application.runtime} needs {' or '.join(wanted)}"
        checking.refuse("nothing-to-start", ("runtime",), message, f"add '{wanted[0]}: ...'")
    if {"module", "command"} <= set(given) & set(takes):
        checking.refuse("two-things-to-start", ("command",), "module and command are both given", "keep one of them")
    if "module" in given and application.runtime is Runtime.PYTHON and not is_dotted(application.module):
        message = f"{shown(application.module)} is not the name of a Python module"
        checking.refuse("not-a-module", ("module",), message, "as after `python3 -m`: shop, or shop.main")


def _instances(checking: _Checking) -> None:
    application = checking.application
    count, floor = application.instances.count, application.instances.floor
    if floor > count:
        message = f"{floor} can't stay healthy of {count}"
        checking.refuse("minimum-above-count", ("instances", "minimum-healthy"), message, f"at most {count}")


def _endpoints(checking: _Checking) -> None:
    application = checking.application
    endpoints = application.endpoints
    for key, values in (
        ("name", [endpoint.name for endpoint in endpoints]),
        ("port", [endpoint.port for endpoint in endpoints]),
        ("public-name", [endpoint.public_name for endpoint in endpoints]),
    ):
        for position, value in _repeated(values):
            checking.refuse("given-twice", ("endpoints", position, key), f"{shown(value)} is given to two endpoints")
    health = application.health
    if health is None:
        return
    names = [endpoint.name for endpoint in endpoints]
    if not names:
        checking.refuse("no-endpoint", ("health",), "there is no endpoint to ask", "add one, or leave health out")
    elif health.endpoint and health.endpoint not in names:
        hint = checking.problems.nearest(health.endpoint, names, f"known here: {', '.join(names)}")
        checking.refuse(
            "unknown-endpoint", ("health", "endpoint"), f"{shown(health.endpoint)} is none of the endpoints", hint
        )
    if health.timeout > health.interval:
        message = f"an answer may take {health.timeout} s, but the next question comes after {health.interval} s"
        checking.refuse("timeout-above-interval", ("health", "timeout"), message, "make interval longer")


def _settings(checking: _Checking) -> None:
    application = checking.application
    for position, name in _repeated(application.secrets):
        checking.refuse("given-twice", ("secrets", position), f"{shown(name)} is listed twice", "remove one")
    for position, name in enumerate(application.secrets):
        if name in application.configuration:
            message = f"{shown(name)} is a secret, and in the configuration too"
            hint = "remove it from the configuration: what stands in app.yaml is no secret"
            checking.refuse("secret-in-configuration", ("secrets", position), message, hint)


def _partial_trust(checking: _Checking) -> None:
    application = checking.application
    trust = application.sandbox.partial_trust
    if trust is None:
        return
    place = ("sandbox", "partial-trust")
    if application.runtime is not Runtime.WASM:
        message = f"partial trust is for WebAssembly; this application's runtime is {application.runtime}"
        checking.refuse("partial-trust-for-wasm", place, message, "remove it: the layers of `sandbox` still are there")
    settings = {*application.configuration, *application.secrets}
    for position, name in enumerate(trust.environment):
        if name not in settings:
            hint = checking.problems.nearest(name, settings, "add it to configuration or secrets")
            message = f"{shown(name)} is neither in the configuration nor a secret"
            checking.refuse("unknown-setting", (*place, "environment", position), message, hint)
    endpoints = [endpoint.name for endpoint in application.endpoints]
    for position, name in enumerate(trust.sockets):
        if name not in endpoints:
            hint = checking.problems.nearest(name, endpoints, "add it to endpoints")
            message = f"{shown(name)} is none of the endpoints"
            checking.refuse("unknown-endpoint", (*place, "sockets", position), message, hint)
    _directories(checking, trust)


def _directories(checking: _Checking, trust: PartialTrust) -> None:
    place = ("sandbox", "partial-trust", "directories")
    for position, at in _repeated([directory.at for directory in trust.directories]):
        checking.refuse("given-twice", (*place, position, "at"), f"two directories are seen at {shown(at)}")
    if checking.application.resources.disk == 0:
        for position, directory in enumerate(trust.directories):
            if not directory.path:
                message = "this directory is the instance's own disk, and it has none"
                hint = "give it one under resources, or name a folder of the application with path"
                checking.refuse("no-disk", (*place, position), message, hint)


def _repeated(values: Iterable[str | int]) -> Iterator[tuple[int, str | int]]:
    """Those that came before, with their positions; nothing said is not said twice."""
    seen: set[str | int] = set()
    for position, value in enumerate(values):
        if value and value in seen:
            yield position, value
        seen.add(value)
