"""Processes that another has taken over from, and the visitors that they still have at an instance.

Nobody can ask them any more: the new process has their runtime interface. The kernel says to whom they are connected.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from pathlib import Path

from ringfort.gateway import process
from ringfort.gateway.edge.model import Server
from ringfort.gateway.edge.render import Place

POLL_SECONDS = 0.1
_ESTABLISHED = "01"  # include/net/tcp_states.h


def wait(place: Place, servers: Collection[Server], seconds: float) -> int:
    """Wait until no process that leaves is connected to these instances; how many connections still stand."""
    deadline = time.monotonic() + seconds
    while True:
        left = connections(place, servers)
        if not left or time.monotonic() >= deadline:
            return left
        time.sleep(POLL_SECONDS)


def connections(place: Place, servers: Collection[Server]) -> int:
    """Connections of processes that leave to these instances.

    Of a process that doesn't show us its files, all connections to them count that its network namespace has.
    """
    return sum(_connections(pid, servers) for pid in processes(place)) if servers else 0


def processes(place: Place) -> list[int]:
    """HAProxy with this configuration, but for the one that serves."""
    serving = process.running(place)
    found = []
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit() and (serving is None or int(directory.name) != serving.pid):
            words = _read(directory / "cmdline").split("\0")
            if place.configuration in words and words[0].endswith("haproxy"):
                found.append(int(directory.name))
    return found


def _connections(pid: int, servers: Collection[Server]) -> int:
    wanted = {f"{_hex(server)}:{server.port:04X}" for server in servers}
    inodes = set()
    for table in ("tcp", "tcp6"):
        for line in _read(Path(f"/proc/{pid}/net/{table}")).splitlines()[1:]:
            _, _, remote, state, *rest = line.split()
            if state == _ESTABLISHED and remote in wanted:
                inodes.add(rest[5])
    try:
        files = [os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()] if inodes else []
    except PermissionError:
        return len(inodes)
    except OSError:  # it has gone, or closed one while we looked
        return 1 if Path(f"/proc/{pid}").exists() else 0
    return len(inodes & {name.removeprefix("socket:[").removesuffix("]") for name in files})


def _hex(server: Server) -> str:
    """An address as proc(5) has it in ``net/tcp``: words of four bytes, each as this machine's memory holds it."""
    packed = server.address.packed
    return "".join(packed[place : place + 4][::-1].hex() for place in range(0, len(packed), 4)).upper()


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
