"""The process behind every service of a lab: real sockets in the hosts' namespaces, real TLS, real identity checks.

Run by ``up`` as ``python -m ringfort.lab.services DIRECTORY``. It reads ``services.json`` there, opens everything, says
``ready`` on its standard output, and takes orders on the control socket (`ringfort.lab.control`). A caller that is
admitted gets the line ``ringfort SERVICE HOST ok`` and then its own words back; one that is refused, nothing.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from ringfort.environment.identity import IdentityCheck
from ringfort.environment.model import Protocol, Tls
from ringfort.lab import checks
from ringfort.lab.listeners import Listener, opened_ports
from ringfort.lab.netns import inside
from ringfort.lab.state import raise_file_limit

HANDSHAKE_SECONDS = 5.0
IDLE_SECONDS = 30.0
MAX_ECHO_BYTES = 1 << 20
BACKLOG = 128
CONTROL_LIMIT_BYTES = 1 << 16

ACCEPTED = "accepted"

_IPV6_FREEBIND = 78  # linux/in6.h; Python has no name for it
_IP_FREEBIND = 15  # linux/in.h

_REASONS = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": checks.NO_CERTIFICATE,
    "CERTIFICATE_VERIFY_FAILED": checks.UNTRUSTED,
}


@dataclass(slots=True)
class Site:
    """Where one service is served: its listener, its two TLS contexts, and what happened so far."""

    listener: Listener
    checked: ssl.SSLContext | None
    unchecked: ssl.SSLContext | None
    counts: Counter[str] = field(default_factory=Counter)
    is_checking: bool = True

    @property
    def check(self) -> IdentityCheck:
        """What is really enforced now: without its check a ``mutual`` service is a ``server`` one."""
        check = self.listener.check
        if self.is_checking or check.tls is not Tls.MUTUAL:
            return check
        return replace(check, tls=Tls.SERVER, callers=frozenset())

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
    """A service without TLS admits whoever reaches it."""

    def __init__(self, site: Site) -> None:
        super().__init__()
        self._site = site

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit the caller."""
        assert isinstance(transport, asyncio.Transport)
        self._site.counts[ACCEPTED] += 1
        self.begin(transport, self._site.line)


class Guard(asyncio.Protocol):
    """A service under TLS: the handshake first, then the check; only then is the caller heard."""

    def __init__(self, site: Site, tasks: set[asyncio.Task[None]]) -> None:
        self._site = site
        self._tasks = tasks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake."""
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()  # the first words belong to the handshake
        task = asyncio.get_running_loop().create_task(self._serve(transport))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, transport: asyncio.Transport) -> None:
        site = self._site
        try:
            reason = await self._admit(transport)
        except ssl.SSLError as error:
            reason = _REASONS.get(error.reason or "", checks.HANDSHAKE)
        except (OSError, TimeoutError):
            reason = checks.HANDSHAKE
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller stays out
            sys.stderr.write(f"{site.listener.host} {site.listener.check.service}: {error!r}\n")
            reason = checks.HANDSHAKE
        site.counts[reason or ACCEPTED] += 1
        if reason:
            transport.abort()

    async def _admit(self, transport: asyncio.Transport) -> str:
        """Do the handshake and the check; greet the caller, or say why not."""
        site = self._site
        is_mutual = site.check.tls is Tls.MUTUAL
        callers = site.check.callers
        context = site.checked if is_mutual else site.unchecked
        assert context is not None
        echo = Echo()
        secured = await asyncio.get_running_loop().start_tls(
            transport,
            echo,
            context,
            server_side=True,
            ssl_handshake_timeout=HANDSHAKE_SECONDS,
            ssl_shutdown_timeout=1.0,
        )
        if secured is None:
            return checks.HANDSHAKE
        if is_mutual:
            session = secured.get_extra_info("ssl_object")
            peer = secured.get_extra_info("peername")
            reason = checks.refusal(callers, session.getpeercert(binary_form=True) or b"", peer[0])
            if reason:
                return reason
        echo.begin(secured, site.line)
        return ""


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


def server_context(keys: str, authority: str, *, mutual: bool) -> ssl.SSLContext:
    """TLS 1.3 only; with ``mutual`` the caller must show a certificate of the lab's authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0  # no resumption: every connection proves its key
    context.load_cert_chain(keys)
    if mutual:
        context.load_verify_locations(authority)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


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
        authority = configuration["authority"]
        self.digest = str(configuration["digest"])
        self.sites = [_site(Listener.from_json(value), authority) for value in configuration["listeners"]]
        self.stop = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

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
                        await loop.create_server(self._factory(site), sock=opened, backlog=BACKLOG)

    def _factory(self, site: Site) -> Callable[[], asyncio.Protocol]:
        if site.listener.check.tls is Tls.NONE:
            return lambda: Plain(site)
        return lambda: Guard(site, self._tasks)

    def answer(self, order: dict[str, Any]) -> dict[str, Any]:
        """Do one order of the control socket."""
        match order:
            case {"do": "read"}:
                return {"digest": self.digest, "sites": [_report(site) for site in self.sites]}
            case {"do": "switch", "service": str(service), "host": str(host), "on": bool(on)}:
                chosen = [
                    site
                    for site in self.sites
                    if site.listener.check.service == service and host in ("", site.listener.host)
                ]
                for site in chosen:
                    site.is_checking = on
                return {"switched": len(chosen)}
            case {"do": "exit"}:
                self.stop.set()
                return {"leaving": os.getpid()}
        return {"error": "unknown order"}


def _report(site: Site) -> dict[str, Any]:
    listener = site.listener
    return {
        "host": listener.host,
        "inode": listener.inode,
        "check": checks.to_json(site.check),
        "is-checking": site.is_checking,
        "counts": dict(site.counts),
    }


def _site(listener: Listener, authority: str) -> Site:
    if listener.check.tls is Tls.NONE:
        return Site(listener, None, None)
    unchecked = server_context(listener.keys, authority, mutual=False)
    is_mutual = listener.check.tls is Tls.MUTUAL
    checked = server_context(listener.keys, authority, mutual=True) if is_mutual else None
    return Site(listener, checked, unchecked)


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
    if sys.stdin.readline() != "go\n":  # whoever started us died before noting our id
        sys.exit(1)
    asyncio.run(_main(Path(sys.argv[1])))
