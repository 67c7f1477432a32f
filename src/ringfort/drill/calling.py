"""Make many calls at once, honestly: over each host's own stack, through its own rules, with real TLS."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import ssl
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from ringfort.drill.calls import Call
from ringfort.environment.model import Protocol, Tls
from ringfort.lab import client
from ringfort.lab.lab import Lab

AT_ONCE = 48
"""Calls under way at the same time; the services are one process."""
SECONDS = 3.0
"""How long one call may take, all in all."""

_numbers = itertools.count(os.getpid() * 7)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a call: admitted, or why not."""

    call: Call
    admitted: bool
    detail: str


class Caller:
    """Makes calls in a lab; keeps TLS contexts from one to the next."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._contexts: dict[str, ssl.SSLContext] = {}

    def make(self, calls: Sequence[Call], *, seconds: float = SECONDS) -> list[Answer]:
        """Make all calls, many at a time; the answers in the same order.

        Args:
            seconds: how long each may take.
        """
        found: list[Answer] = []
        for first in range(0, len(calls), 256):
            some = calls[first : first + 256]
            opened = [(call, self._open(call)) for call in some]  # before the loop runs: entering a place is not async
            found += asyncio.run(self._gather(opened, seconds))
        return found

    def _open(self, call: Call) -> socket.socket | OSError:
        family = socket.AF_INET6 if call.destination.version == 6 else socket.AF_INET
        kind, number = _KINDS[call.service.protocol]
        if call.service.protocol is Protocol.ICMP and family == socket.AF_INET6:
            number = socket.IPPROTO_ICMPV6
        with self._lab.inside(call.place):
            opened = socket.socket(family, kind, number)
        opened.setblocking(False)
        try:
            if call.source is not None:
                opened.bind((str(call.source), 0))
        except OSError as error:
            opened.close()
            return error
        return opened

    async def _gather(self, opened: Sequence[tuple[Call, socket.socket | OSError]], seconds: float) -> list[Answer]:
        gate = asyncio.Semaphore(AT_ONCE)
        return await asyncio.gather(*(self._call(call, connection, gate, seconds) for call, connection in opened))

    async def _call(
        self, call: Call, connection: socket.socket | OSError, gate: asyncio.Semaphore, seconds: float
    ) -> Answer:
        if isinstance(connection, OSError):
            return Answer(call, admitted=False, detail=str(connection))
        async with gate:
            try:
                async with asyncio.timeout(seconds):
                    line = await self._converse(call, connection)
            except TimeoutError:
                return Answer(call, admitted=False, detail="no answer")
            except (OSError, ssl.SSLError) as error:
                return Answer(call, admitted=False, detail=str(error) or type(error).__name__)
            finally:
                connection.close()
        return _judge(call, line)

    async def _converse(self, call: Call, connection: socket.socket) -> bytes:
        """The first words of the service; for ICMP the echo."""
        loop = asyncio.get_running_loop()
        if call.service.protocol is Protocol.ICMP:
            connection.connect((str(call.destination), 0))  # at once; asyncio would look up a port for it and fail
            return await _echo(loop, connection, call.destination.version)
        await loop.sock_connect(connection, (str(call.destination), call.port))
        if call.service.protocol is Protocol.UDP:
            await loop.sock_sendall(connection, b"drill\n")
            return await loop.sock_recv(connection, 4096)
        if call.service.tls is Tls.NONE:
            words = client.opening(self._lab.environment, call.service.name)
            await loop.sock_sendall(connection, words)
            return self._heard(call, words, await loop.sock_recv(connection, 4096))
        return await self._secured(call, connection)

    async def _secured(self, call: Call, connection: socket.socket) -> bytes:
        context = self._context(call.holder)
        reader, writer = await asyncio.open_connection(sock=connection, ssl=context, server_hostname="")
        try:
            names = writer.get_extra_info("peercert").get("subjectAltName", ())
            if ("URI", call.service.identity) not in names:
                return b""
            words = client.opening(self._lab.environment, call.service.name)
            if words:
                writer.write(words)
            return self._heard(call, words, await (reader.read(4096) if words else reader.readline()))
        finally:
            writer.transport.abort()

    @staticmethod
    def _heard(call: Call, words: bytes, answer: bytes) -> bytes:
        """Who is heard is greeted in the words of any service, whatever it speaks."""
        return _line(call) if words and client.admits(answer.decode(errors="replace")) else answer

    def _context(self, holder: str) -> ssl.SSLContext:
        if holder not in self._contexts:
            self._contexts[holder] = client.context(self._lab.keys, holder)
        return self._contexts[holder]


_KINDS: dict[Protocol, tuple[int, int]] = {
    Protocol.TCP: (socket.SOCK_STREAM, 0),
    Protocol.UDP: (socket.SOCK_DGRAM, 0),
    Protocol.ICMP: (socket.SOCK_RAW, socket.IPPROTO_ICMP),
}


async def _echo(loop: asyncio.AbstractEventLoop, connection: socket.socket, version: int) -> bytes:
    request, reply = {4: (8, 0), 6: (128, 129)}[version]
    number = next(_numbers) & 0xFFFF
    await loop.sock_sendall(connection, client.echo_request(request, number))
    while True:
        packet = await loop.sock_recv(connection, 4096)
        message = packet if version == 6 else packet[4 * (packet[0] & 15) :]
        if message[0] == reply and struct.unpack_from("!H", message, 4)[0] == number:
            return b"echo"


def _judge(call: Call, line: bytes) -> Answer:
    expected = b"echo" if call.service.protocol is Protocol.ICMP else _line(call)
    if line.startswith(expected):
        return Answer(call, admitted=True, detail=line.decode(errors="replace").strip())
    detail = line.decode(errors="replace").strip()
    return Answer(call, admitted=False, detail=f"another answer: {detail}" if detail else "closed without an answer")


def _line(call: Call) -> bytes:
    return f"ringfort {call.service.name} {call.receiver} ok\n".encode()
