"""Instances of applications change in the running edge without a failed request (management guide 2.6, section 9.3).

An instance leaves in three steps: no new visitor goes there (``drain``), those who are there finish, and only then may
it end. Another one takes its place when it answers.
"""

from __future__ import annotations

import http.client
import socket
import time
from dataclasses import dataclass
from ipaddress import ip_address

from ringfort.gateway import runtime
from ringfort.gateway.edge.model import EdgeError, Endpoint, Health, Server
from ringfort.gateway.edge.render import CHALLENGED, PASSING, Place

POLL_SECONDS = 0.02
PROBE_SECONDS = 2.0
_ADMIN_DRAIN = 0x08 | 0x10
"""``srv_admin_state``: drained by a person, or because another is (management guide, ``show servers state``)."""


@dataclass(frozen=True, slots=True)
class Running:
    """A server as the running process has it: at present there, whether visitors are sent to it, how many are there."""

    server: Server
    is_up: bool
    is_leaving: bool
    visits: int


def running(place: Place, backend: str) -> dict[str, Running]:
    """The servers of a backend, by name.

    Raises:
        RingfortError: HAProxy doesn't answer, or has no such backend.
    """
    visits = {
        row["svname"]: int(row["scur"] or 0) for row in runtime.statistics(place.socket) if row["pxname"] == backend
    }
    answer = runtime.ask(place.socket, f"show servers state {backend}").splitlines()
    names = next((line.removeprefix("# ").split() for line in answer if line.startswith("# ")), None)
    if names is None:
        raise EdgeError("edge-backend", f"the edge has no backend {backend}")
    rows = [dict(zip(names, line.split(" "), strict=False)) for line in answer if " " in line and line[0].isdigit()]
    return {row["srv_name"]: _running(row, visits) for row in rows}


def _running(row: dict[str, str], visits: dict[str, int]) -> Running:
    server = Server(row["srv_name"], ip_address(row["srv_addr"]), int(row["srv_port"]))
    is_up = int(row["srv_op_state"]) > 0
    return Running(server, is_up, bool(int(row["srv_admin_state"]) & _ADMIN_DRAIN), visits.get(server.name, 0))


def drain(place: Place, backend: str, name: str, seconds: float) -> int:
    """Send no new visitor to a server, and wait until those who are there have finished.

    Returns:
        How many are still there after that time; 0 when the instance may end without anybody noticing.
    """
    runtime.order(place.socket, f"set server {backend}/{name} state drain")
    deadline = time.monotonic() + seconds
    while True:
        left = running(place, backend)[name].visits
        if not left or time.monotonic() >= deadline:
            return left
        time.sleep(POLL_SECONDS)


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
    if not backend.startswith(CHALLENGED):
        health = Health() if backend.startswith(PASSING) else endpoint.health
        wait_until_well(server, health, endpoint.name, come)
    left = drain(place, backend, server.name, leave)
    admit(place, backend, server)
    return left


def wait_until_well(server: Server, health: Health, name: str, seconds: float) -> None:
    """Ask an instance, as the edge will, until it is well.

    Raises:
        EdgeError: it isn't in that time (``edge-instance-unwell``).
    """
    deadline = time.monotonic() + seconds
    while not _is_well(server, health, name):
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
