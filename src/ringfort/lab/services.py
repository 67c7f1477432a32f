"""The process behind every service of a lab: real sockets in the hosts' namespaces.

Run by ``up`` as ``python -m ringfort.lab.services DIRECTORY``. It reads ``services.json`` there, opens everything, says
``ready`` on its standard output, and takes orders on the control socket (`ringfort.lab.control`). A caller that is
admitted gets the line ``ringfort SERVICE HOST ok`` and then its own words back; one that is refused, nothing.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from ringfort.environment.model import Protocol
from ringfort.gateway.haproxy import check_to_json
from ringfort.lab.listeners import Listener, opened_ports
from ringfort.lab.netns import inside
from ringfort.lab.state import raise_file_limit

IDLE_SECONDS = 30.0
MAX_ECHO_BYTES = 1 << 20
BACKLOG = 128
CONTROL_LIMIT_BYTES = 1 << 16

ACCEPTED = "accepted"

_IPV6_FREEBIND = 78  # linux/in6.h; Python has no name for it
_IP_FREEBIND = 15  # linux/in.h


@dataclass(slots=True)
class Site:
    """Where one service is served: its listener, and how many callers it has heard."""

    listener: Listener
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def line(self) -> bytes:
        """What a caller that is admitted reads first."""
        return f"ringfort {self.listener.check.service} {self.listener.host} ok\n".encode()


class Echo(asyncio.Protocol):
    """Says a caller's words back, up to a limit, and leaves when it falls silent."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._left = MAX_ECHO_BYTES
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, transport: asyncio.Transport, line: bytes) -> None:
        """Greet the caller and start listening."""
        self._transport = transport
        transport.write(line)
        self._timer = asyncio.get_running_loop().call_later(IDLE_SECONDS, transport.abort)

    def data_received(self, data: bytes) -> None:
        """Say it back."""
        self._left -= len(data)
        if self._transport is None or self._left < 0:
            return
        self._transport.write(data)

    def pause_writing(self) -> None:
        """A caller that sends and never reads is cut off."""
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more to wait for."""
        if self._timer is not None:
            self._timer.cancel()


class Plain(Echo):
    """A TCP service hears whoever reaches it: everyone, or whom its enforcement point lets through."""

    def __init__(self, site: Site) -> None:
        super().__init__()
        self._site = site

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit the caller."""
        assert isinstance(transport, asyncio.Transport)
        self._site.counts[ACCEPTED] += 1
        self.begin(transport, self._site.line)


class Datagrams(asyncio.DatagramProtocol):
    """A UDP service answers every datagram with its line and the datagram."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where answers go."""
        # asyncio's own datagram transport is no instance of DatagramTransport before Python 3.12
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer with our line and the datagram."""
        self._site.counts[ACCEPTED] += 1
        if self._transport is not None:
            self._transport.sendto(self._site.line + data[:512], addr)


def open_socket(namespace: str, protocol: Protocol, address: str, port: int) -> socket.socket:
    """A bound socket inside a namespace; its address need not be there yet."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    kind = socket.SOCK_STREAM if protocol is Protocol.TCP else socket.SOCK_DGRAM
    with inside(namespace):
        opened = socket.socket(family, kind)
    opened.setblocking(False)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
    else:
        opened.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
    opened.bind((address, port))
    return opened


class Process:
    """All sites of a lab, and what the control socket may ask of them."""

    def __init__(self, configuration: dict[str, Any]) -> None:
        self.digest = str(configuration["digest"])
        self.sites = [Site(Listener.from_json(value)) for value in configuration["listeners"]]
        self.stop = asyncio.Event()

    async def open(self) -> None:
        """Open every socket of every site."""
        loop = asyncio.get_running_loop()
        for site in self.sites:
            check, namespace = site.listener.check, site.listener.namespace
            for address in site.listener.addresses:
                for port in opened_ports(check):
                    opened = open_socket(namespace, check.protocol, address, port)
                    if check.protocol is Protocol.UDP:
                        await loop.create_datagram_endpoint(lambda site=site: Datagrams(site), sock=opened)  # type: ignore[misc]
                    else:
                        await loop.create_server(lambda site=site: Plain(site), sock=opened, backlog=BACKLOG)  # type: ignore[misc]

    def answer(self, order: dict[str, Any]) -> dict[str, Any]:
        """Do one order of the control socket."""
        match order:
            case {"do": "read"}:
                return {"digest": self.digest, "sites": [_report(site) for site in self.sites]}
            case {"do": "exit"}:
                self.stop.set()
                return {"leaving": os.getpid()}
        return {"error": "unknown order"}


def _report(site: Site) -> dict[str, Any]:
    listener = site.listener
    return {
        "host": listener.host,
        "inode": listener.inode,
        "check": check_to_json(listener.check),
        "is-behind": listener.is_behind,
        "counts": dict(site.counts),
    }


async def _control(process: Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while line := await reader.readline():
            writer.write(json.dumps(process.answer(json.loads(line))).encode() + b"\n")
            await writer.drain()
    except (ValueError, OSError):
        pass  # a broken order ends its connection, nothing else
    finally:
        writer.close()


async def _main(directory: Path) -> None:
    raise_file_limit()
    process = Process(json.loads((directory / "services.json").read_text()))
    await process.open()
    path = directory / "services.sock"
    path.unlink(missing_ok=True)
    server = await asyncio.start_unix_server(
        lambda reader, writer: _control(process, reader, writer), path, limit=CONTROL_LIMIT_BYTES
    )
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await process.stop.wait()
    server.close()
    path.unlink(missing_ok=True)


if __name__ == "__main__":
    os.umask(0o077)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # what whoever ran `up` had open, a lock perhaps, is not ours to keep
    if sys.stdin.readline() != "go\n":  # whoever started us died before noting our id
        sys.exit(1)
    asyncio.run(_main(Path(sys.argv[1])))
