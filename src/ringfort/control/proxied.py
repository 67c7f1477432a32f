"""Connections that the customers' door hands on: in front stands where they come from (PROXY protocol, version 2).

Only what is on loopback may say so: a host's enforcement point is there, which lets the door in and nobody else.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Coroutine
from ipaddress import ip_address

from ringfort.control.errors import ControlError

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
"""PROXY protocol specification, section 2.2."""

HEAD = 16
LONGEST = 1024
"""Bytes of addresses and of what else is said; HAProxy sends 36 at most unless it is told to say more."""

HEADER_SECONDS = 3.0
MOST_WAITING = 2000
"""Connections whose header, or handshake, is not done; a door has 500 in all."""

_PROXY = 0x21
_TCP = {0x11: 4, 0x21: 16}
"""Family and transport -> bytes of an address."""


def source(head: bytes, rest: bytes) -> str:
    """The address of the caller in a header.

    Args:
        head: its first `HEAD` bytes.
        rest: what follows, as long as ``head`` says.

    Raises:
        ValueError: this is no such header, or it names no caller over TCP.
    """
    size = _TCP.get(head[13])
    if head[:12] != SIGNATURE or head[12] != _PROXY or size is None or len(rest) < 2 * size + 4:
        raise ValueError("no header of the PROXY protocol, version 2, for TCP")
    return str(ip_address(rest[:size]))


def header(caller: str, called: str) -> bytes:
    """The header for a connection between two addresses of one family; ports are nobody's business and 0."""
    ends = ip_address(caller).packed + ip_address(called).packed
    family = next(family for family, size in _TCP.items() if 2 * size == len(ends))
    return SIGNATURE + bytes([_PROXY, family]) + (len(ends) + 4).to_bytes(2, "big") + ends + bytes(4)


async def _read(connection: socket.socket, size: int) -> bytes:
    """Exactly so many bytes: what comes after them is TLS."""
    loop, found = asyncio.get_running_loop(), b""
    while len(found) < size:
        part = await loop.sock_recv(connection, size - len(found))
        if not part:
            raise ValueError("it ended")
        found += part
    return found


async def read_source(connection: socket.socket) -> str:
    """The address of the caller, read from a connection that has just begun.

    Raises:
        ValueError: there is no such header.
    """
    head = await _read(connection, HEAD)
    length = int.from_bytes(head[14:16], "big")
    if head[:12] != SIGNATURE or length > LONGEST:
        raise ValueError("no header of the PROXY protocol, version 2, or one that is too long")
    return source(head, await _read(connection, length))


class Doorway:
    """Listens on loopback for what the door hands on.

    Args:
        made: makes the protocol of a connection from an address.
        context: the TLS that follows the header.
    """

    def __init__(
        self, made: Callable[[str], asyncio.BaseProtocol], context: ssl.SSLContext, handshake_seconds: float
    ) -> None:
        self._made, self._context, self._seconds = made, context, handshake_seconds
        self._sockets: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def listen(self, host: str, port: int) -> tuple[str, int]:
        """Begin to listen; where it came out.

        Raises:
            ControlError: the address isn't on loopback, or can't be had.
        """
        if not ip_address(host).is_loopback:
            raise ControlError(
                "address-not-loopback",
                f"{host} is not on loopback: anybody could say there where a customer calls from",
                "the door comes in through the enforcement point of the host",
            )
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            server = socket.create_server((host, port), family=family, backlog=512)
        except OSError as error:
            raise ControlError(
                "address-unusable", f"{host} port {port} can't be listened on: {error.strerror}"
            ) from error
        server.setblocking(False)
        self._sockets.append(server)
        self._begin(self._accept(server))
        bound = server.getsockname()
        return bound[0], bound[1]

    async def close(self) -> None:
        """Listen no more; what stands stays."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for server in self._sockets:
            server.close()

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, server: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(server)
            except OSError:  # too many files are open: those that wait have to wait
                await asyncio.sleep(0.1)
                continue
            connection.setblocking(False)
            if len(self._tasks) > MOST_WAITING:
                connection.close()
            else:
                self._begin(self._welcome(connection))

    async def _welcome(self, connection: socket.socket) -> None:
        """Read the header, then TLS. Whoever sends none, or is too slow, is gone without a word."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(HEADER_SECONDS):
                address = await read_source(connection)
        except (ValueError, OSError):  # a timeout is one of the latter
            connection.close()
            return
        except asyncio.CancelledError:
            connection.close()
            raise
        with contextlib.suppress(OSError):  # TLS fails as it does elsewhere: nobody has to hear of it
            await loop.connect_accepted_socket(
                lambda: self._made(address),
                connection,
                ssl=self._context,
                ssl_handshake_timeout=self._seconds,
                ssl_shutdown_timeout=1.0,
            )
