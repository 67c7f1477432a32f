"""Instances of applications change in the running edge without a failed request (management guide 2.6, section 9.3).

An instance leaves in three steps: no new visitor goes there (``drain``), those who are there finish, and only then may
it end. Another one takes its place when it answers.
"""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from ringfort.gateway import runtime
from ringfort.gateway.edge import leaving
from ringfort.gateway.edge.model import EdgeError, Endpoint, Health, Server
from ringfort.gateway.edge.render import CHALLENGED, PASSING, Place

POLL_SECONDS = 0.02
PROBE_SECONDS = 2.0
LOCK = ".changing"
_AWAY = 0x01 | 0x08 | 0x10
"""``srv_admin_state``: in maintenance, or drained, by a person or with another (management guide, ``show servers
state``)."""


@dataclass(frozen=True, slots=True)
class Running:
    """A server as the running process has it: at present there, whether visitors are sent to it, how many are there."""

    server: Server
    is_up: bool
    is_leaving: bool
    visits: int


@contextlib.contextmanager
def changing(place: Place) -> Iterator[None]:
    """Nobody else changes this edge meanwhile: a process that took over now would know of nothing that drains."""
    descriptor = os.open(Path(place.directory) / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def everything(place: Place) -> list[Server]:
    """All servers of all backends of the running process."""
    lines = runtime.ask(place.socket, "show servers state").splitlines()
    return [one.server for row in _rows(lines) if (one := _running(row, 0)) is not None]


def standing(place: Place) -> tuple[tuple[str, str, str, str, bool], ...]:
    """Where each server of each backend is, and whether it gets visitors: what changes only when somebody changes it.

    Raises:
        RingfortError: HAProxy doesn't answer.
    """
    rows = _rows(runtime.ask(place.socket, "show servers state").splitlines())
    return tuple(
        (row["be_name"], row["srv_name"], row["srv_addr"], row["srv_port"], bool(int(row["srv_admin_state"]) & _AWAY))
        for row in rows
    )


def running(place: Place, backend: str) -> dict[str, Running]:
    """The servers of a backend, by name.

    Raises:
        RingfortError: HAProxy doesn't answer, or has no such backend.
    """
    answer = runtime.ask(place.socket, f"show servers state {backend}").splitlines()
    if not any(line.startswith("# ") for line in answer):
        raise EdgeError("edge-backend", f"the edge has no backend {backend}")
    return _by_backend(place, answer).get(backend, {})


def states(place: Place) -> dict[str, dict[str, Running]]:
    """The servers of all backends that have any, by backend and name.

    Raises:
        RingfortError: HAProxy doesn't answer.
    """
    return _by_backend(place, runtime.ask(place.socket, "show servers state").splitlines())


def _by_backend(place: Place, lines: list[str]) -> dict[str, dict[str, Running]]:
    visits = {(row["pxname"], row["svname"]): int(row["scur"] or 0) for row in runtime.statistics(place.socket)}
    found: dict[str, dict[str, Running]] = {}
    for row in _rows(lines):
        one = _running(row, visits.get((row["be_name"], row["srv_name"]), 0))
        if one is not None:
            found.setdefault(row["be_name"], {})[one.server.name] = one
    return found


def _rows(lines: list[str]) -> Iterator[dict[str, str]]:
    names: list[str] = []
    for line in lines:
        if line.startswith("# "):
            names = line.removeprefix("# ").split()
        elif line and " " in line:
            yield dict(zip(names, line.split(" "), strict=False))


def _running(row: dict[str, str], visits: int) -> Running | None:
    """A server; None for what is no instance, such as the way to the door inside."""
    try:
        server = Server(row["srv_name"], ip_address(row["srv_addr"]), int(row["srv_port"]))
    except (ValueError, EdgeError):
        return None
    is_up = int(row["srv_op_state"]) > 0
    return Running(server, is_up, bool(int(row["srv_admin_state"]) & _AWAY), visits)


def dismiss(place: Place, backend: str, name: str) -> None:
    """Send no new visitor to a server, and wait for nobody."""
    runtime.order(place.socket, f"set server {backend}/{name} state drain")


def drain(place: Place, backend: str, name: str, seconds: float) -> int:
    """Send no new visitor to a server, and wait until those who are there have finished.

    Those count too whom a process has that another took over from. Whoever drains and then ends an instance holds
    `changing` from before until it is back.

    Returns:
        How many are still there after that time; 0 when the instance may end without anybody noticing.
    """
    dismiss(place, backend, name)
    deadline = time.monotonic() + seconds
    while True:
        now = running(place, backend)[name]
        left = now.visits or leaving.connections(place, [now.server])
        if not left or time.monotonic() >= deadline:
            return left
        time.sleep(POLL_SECONDS if now.visits else leaving.POLL_SECONDS)


def admit(place: Place, backend: str, server: Server) -> None:
    """Send visitors to an instance, in the place of the same name. Nobody is sent there before it has drained.

    Raises:
        RingfortError: HAProxy doesn't take it.
    """
    path = f"{backend}/{server.name}"
    now = running(place, backend)[server.name].server
    if now.place != server.place:
        runtime.order(place.socket, f"set server {path} state maint")
        answer = runtime.ask(place.socket, f"set server {path} addr {server.address} port {server.port}").strip()
        if "changed" not in answer and "no need to change" not in answer:
            runtime.order(place.socket, f"set server {path} state ready")
            raise EdgeError("edge-instance", f"HAProxy doesn't take {server.place} as {path}: {answer[:200]}")
    runtime.order(place.socket, f"set server {path} state ready")
    runtime.order(place.socket, f"set server {path} health up")  # until the next look; else it waits for that


def replace(
    place: Place, endpoint: Endpoint, backend: str, server: Server, *, leave: float = 30.0, come: float = 30.0
) -> int:
    """Put another instance in the place of one when it is well; the old one is drained first.

    Args:
        leave: seconds that visitors of the old one have to finish; ``come``: that the new one has to become well.

    Returns:
        How many visitors the old one still had.

    Raises:
        EdgeError: the new one didn't become well (``edge-instance-unwell``); the old one serves as before.
    """
    wait_until_well(server, health_of(endpoint, backend), endpoint.name, come)
    with changing(place):
        return exchange(place, backend, server, leave)


def exchange(place: Place, backend: str, server: Server, leave: float) -> int:
    """`replace`, of an instance that is well, for whoever holds `changing`."""
    left = drain(place, backend, server.name, leave)
    admit(place, backend, server)
    return left


def health_of(endpoint: Endpoint, backend: str) -> Health | None:
    """How the edge sees that an instance is well; None where it doesn't look."""
    if backend.startswith(CHALLENGED):
        return None
    return Health() if backend.startswith(PASSING) else endpoint.health


def wait_until_well(server: Server, health: Health | None, name: str, seconds: float) -> None:
    """Ask an instance, as the edge will, until it is well.

    Raises:
        EdgeError: it isn't in that time (``edge-instance-unwell``).
    """
    deadline = time.monotonic() + seconds
    while health is not None and not _is_well(server, health, name):
        if time.monotonic() >= deadline:
            message = f"{server.name} at {server.place} doesn't answer as {name} within {seconds:g} s"
            raise EdgeError("edge-instance-unwell", message, "see the log of the instance")
        time.sleep(POLL_SECONDS)


def _is_well(server: Server, health: Health, name: str) -> bool:
    try:
        if not health.path:
            socket.create_connection((str(server.address), server.port), PROBE_SECONDS).close()
            return True
        connection = http.client.HTTPConnection(str(server.address), server.port, timeout=PROBE_SECONDS)
        try:
            connection.request("GET", health.path, headers={"Host": name})
            return 200 <= connection.getresponse().status < 400  # as `http-check expect` says
        finally:
            connection.close()
    except (OSError, http.client.HTTPException):
        return False
