"""From what a customer declared to what a guest starts."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any

from ringfort.compute.application import Application, PartialTrust, Runtime
from ringfort.compute.guest.launch import APPLICATION, DATA, PYTHON, Launch, Layers

SYSTEM_MIB = 112
"""What the guest's kernel and its first process need; the virtual machine has that much more than was declared."""

LEAST_MIB = 16
STATIC_FOLDER = "public"


def launch(application: Application, settings: Mapping[str, str]) -> Launch:
    """What a guest starts for an application.

    Args:
        settings: all of its configuration and secrets, as they are now.
    """
    sandbox, resources = application.sandbox, application.resources
    layers = Layers(sandbox.account, sandbox.read_only, sandbox.landlock, sandbox.seccomp)
    runtime, command, memory = str(application.runtime), tuple(application.command), resources.memory
    options: dict[str, Any] = {}
    environment = dict(settings)
    match application.runtime:
        case Runtime.PYTHON:
            runtime, command = "command", python_command(application)
        case Runtime.STATIC:
            ports = [endpoint.port for endpoint in application.endpoints]
            options = {"directory": application.directory or STATIC_FOLDER, "ports": ports}
            environment = {}
        case Runtime.WASM:
            options = wasm_options(application, settings, memory)
            environment = {}
        case Runtime.COMMAND:
            pass
    return Launch(runtime, command, options, environment, resources.processes, memory, layers)


def machine_memory(application: Application) -> int:
    """MiB of an instance's virtual machine, so that the application has what it declared."""
    return application.resources.memory + SYSTEM_MIB


def python_command(application: Application) -> tuple[str, ...]:
    """A module is run with ``-m``, a file of Python by the interpreter, and any other program as it is."""
    if application.module:
        return (PYTHON, "-m", application.module)
    program = application.command[0]
    return (PYTHON, *application.command) if program.endswith(".py") else tuple(application.command)


def wasm_options(application: Application, settings: Mapping[str, str], memory: int) -> dict[str, Any]:
    """What the runner of a module in partial trust reads: the grants, and nothing that wasn't granted."""
    trust = application.sandbox.partial_trust or PartialTrust()
    ports = [endpoint.port for endpoint in application.endpoints if endpoint.name in trust.sockets]
    return {
        "module": application.module,
        "ports": ports,
        "directories": [
            (one.at, posixpath.join(APPLICATION, one.path) if one.path else DATA, not one.path)
            for one in trust.directories
        ],
        "environment": {name: settings[name] for name in trust.environment if name in settings},
        "clock": trust.clock,
        "fuel": trust.fuel,
        "memory": max(LEAST_MIB, memory // 2),
    }
