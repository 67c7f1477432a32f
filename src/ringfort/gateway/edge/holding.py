"""The two processes that hold floating addresses on a host: keepalived, and what carries its signs of life.

Both are started in the network namespace of the thread that calls, and end when that thread does.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from ringfort.gateway.edge import keepalived
from ringfort.gateway.edge.keepalived import Shared
from ringfort.gateway.edge.signs import Signs

PROGRAM = "keepalived"
ENDS_WITH_US = ("setpriv", "--pdeathsig", "TERM", "--")
END_SECONDS = 3.0

Child: TypeAlias = "subprocess.Popen[bytes]"
Write: TypeAlias = Callable[[Path, bytes, int], None]
"""Replaces a file, whole or not at all: path, content, mode."""


def carry(signs: Signs, directory: Path, write: Write) -> Child:
    """Start what carries signs of life; its interface is there when this returns, or never will be."""
    file = directory / "signs.json"
    write(file, json.dumps(signs.to_json()).encode(), 0o600)
    child = start((sys.executable, "-m", "ringfort.gateway.edge.signs", str(file)), directory / "signs.log")
    _await_interface(signs.interface)
    return child


def hold(shared: Shared, directory: Path, write: Write) -> Child:
    """Start keepalived."""
    configuration = directory / "keepalived.conf"
    write(configuration, keepalived.render(shared).encode(), 0o600)
    pids = [directory / f"{name}.pid" for name in ("keepalived", "vrrp", "checkers")]
    for pid in pids:  # of one that was killed
        pid.unlink(missing_ok=True)
    words = (
        PROGRAM, "--dont-fork", "--log-console", "--vrrp", "-f", str(configuration),
        "-p", str(pids[0]), "-r", str(pids[1]), "-c", str(pids[2]),
    )  # fmt: skip
    return start(words, directory / "keepalived.log")


def start(words: tuple[str, ...], log: Path) -> Child:
    """Start a command that says what it has to say into a file."""
    with log.open("wb") as file:
        return subprocess.Popen(
            [*ENDS_WITH_US, *words], stdin=subprocess.DEVNULL, stdout=file, stderr=file, cwd="/", start_new_session=True
        )


def _await_interface(name: str) -> None:
    """keepalived wants its interface to be there when it begins."""
    for _ in range(100):
        with suppress(OSError):
            socket.if_nametoindex(name)
            return
        time.sleep(0.05)


def end(children: tuple[Child, ...]) -> None:
    """End some, one after the other."""
    for child in children:
        with suppress(OSError):
            child.terminate()
        try:
            child.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
