"""What to start in a guest, and starting it: each declared layer is put on, in an order in which none is skipped."""

from __future__ import annotations

import os
import resource
import sys
from dataclasses import dataclass, field
from typing import Any, NoReturn

from ringfort.compute.guest import account, landlock, seccomp
from ringfort.compute.guest.roots import writable_root
from ringfort.compute.guest.system import CLONE_NEWNS, MS_PRIVATE, MS_REC, check, libc, mount, prctl

PYTHON = "/usr/bin/python3.11"
LIBRARY = "/usr/lib/ringfort"
APPLICATION, DATA, TEMPORARY = "/app", "/data", "/tmp"  # noqa: S108  # the guest's own
CGROUP = "/sys/fs/cgroup/application"
_NO_NEW_PRIVILEGES = 38  # PR_SET_NO_NEW_PRIVS
FAILED = 126
"""The exit code of an application that could not be started, as shells have it."""

RUNNERS = {"static": "serve_static", "wasm": "serve_wasm"}


@dataclass(frozen=True, slots=True)
class Layers:
    """Which of the optional layers are on."""

    account: bool = True
    read_only: bool = True
    landlock: bool = True
    seccomp: bool = True


@dataclass(frozen=True, slots=True)
class Launch:
    """An application to start.

    Args:
        runtime: ``python``, ``command``, ``static`` or ``wasm``.
        command: the program and its arguments; for ``python`` those of the interpreter.
        options: for ``static`` and ``wasm``, what their runners read.
        environment: all of it; nothing is inherited.
        processes: how many processes and threads it may have.
        memory: MiB that it may use of the guest's.
    """

    runtime: str
    command: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    processes: int = 64
    memory: int = 64
    layers: Layers = Layers()


def arguments(launch: Launch) -> list[str]:
    """The program and its arguments."""
    if launch.runtime == "python":
        return [PYTHON, *launch.command]
    if launch.runtime == "command":
        return list(launch.command)
    runner = RUNNERS[launch.runtime]
    code = f"import sys; sys.path.insert(0, {LIBRARY!r}); from ringfort.compute.guest.{runner} import main; main()"
    return [PYTHON, "-I", "-S", "-B", "-u", "-c", code]


def environment(launch: Launch) -> dict[str, str]:
    """The environment of the program."""
    own = {"PATH": "/usr/bin:/bin", "HOME": DATA, "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1", "PYTHONPATH": APPLICATION}
    own["PYTHONDONTWRITEBYTECODE"] = "1"
    return own | launch.environment


def become(launch: Launch, output: int, options: int) -> NoReturn:
    """Turn this process, a child of the guest's first one, into the application.

    Args:
        output: where it writes; becomes standard output and standard error.
        options: what it reads as standard input.
    """
    try:
        os.setsid()
        for target, source in enumerate((options, output, output)):
            os.dup2(source, target)
        os.closerange(3, 65536)
        _enter_group()
        _put_layers_on(launch)
        words = arguments(launch)
        os.execve(_program(words[0]), words, environment(launch))  # noqa: S606  # a shell would be one program more
    except BaseException as error:  # noqa: BLE001  # whatever it is, the process ends here and not in the parent's code
        sys.stderr.write(f"ringfort: the application can't be started: {error}\n")
        sys.stderr.flush()
    os._exit(FAILED)


def _enter_group() -> None:
    with open(f"{CGROUP}/cgroup.procs", "w") as file:
        file.write("0")


def _put_layers_on(launch: Launch) -> None:
    """The file system first, while we may still mount; then the account; then what only ever takes away."""
    layers = launch.layers
    check(libc.unshare(CLONE_NEWNS), "a mount namespace of its own")
    mount("", "/", "", MS_REC | MS_PRIVATE)
    writable = [DATA, TEMPORARY]
    if not layers.read_only:
        writable_root()
        writable = ["/"]
    os.chdir(APPLICATION)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if layers.account:
        account.enter()
    prctl(_NO_NEW_PRIVILEGES, 1)
    if layers.landlock:
        landlock.enforce(landlock.application_rights(writable))
    if layers.seccomp:
        seccomp.enforce()


def _program(name: str) -> str:
    if "/" in name:
        return name
    for directory in ("/usr/bin", "/usr/sbin", APPLICATION):
        if os.access(f"{directory}/{name}", os.X_OK):
            return f"{directory}/{name}"
    raise FileNotFoundError(f"there is no program {name}")
