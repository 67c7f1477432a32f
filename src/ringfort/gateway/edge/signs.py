"""VRRP's signs of life under mutual TLS: what keepalived says into a tun device comes out of the other hosts' ones.

VRRP itself proves nothing: whoever reaches a host could say that another lives, and no address would ever move. So
signs go over a service of their own, whose callers the enforcement point checks as any other service's. A process of
its own, in its host's network namespace: ``python -m ringfort.gateway.edge.signs FILE``.

On a connection the service says one line, as soon as its caller is admitted; then the caller sends packets, each after
its length in two bytes; a length of 0 only says that it is still there.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import ssl
import struct
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Interface, ip_address
from pathlib import Path
from typing import Any

from ringfort.errors import RingfortError
from ringfort.gateway.edge.tun import open_tun
from ringfort.identity import store
from ringfort.identity.tls import client_context, peer
from ringfort.identity.verification import exactly

VRRP = 112
LONGEST = 1500
STILL_THERE_SECONDS = 2.0
AGAIN_SECONDS = 0.2
UNHEARD_MILLISECONDS = 600
"""How long what was sent may stay unheard of (TCP_USER_TIMEOUT) before the host is called anew: a router that forgot
the connection refuses it in silence."""
CALL_SECONDS = 2.0
MOST_WAITING = 4096
"""Bytes that wait for a host that takes none: it is called anew."""


@dataclass(frozen=True, slots=True)
class Other:
    """Another host: its address inside the tun device, and where its service is."""

    inner: str
    address: str


@dataclass(frozen=True, slots=True)
class Signs:
    """What one host's process is told.

    Attributes:
        interface: of the tun device; ``inner``: this host's address there.
        own: this host's address, from which it calls.
        port: of the service, at the others and, behind the enforcement point, on loopback here.
        service, host: what is said to callers who are admitted.
        identity: the name that all of them have; ``credential`` and ``bundle``: the files that prove and tell it.
    """

    interface: str
    inner: str
    others: tuple[Other, ...]
    own: str
    port: int
    service: str
    host: str
    identity: str
    credential: str
    bundle: str

    def to_json(self) -> dict[str, Any]:
        """For the process's file."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Signs:
        """From the process's file."""
        return cls(**{**document, "others": tuple(Other(**other) for other in document["others"])})


def is_sign(packet: bytes, sources: frozenset[str], destination: str) -> bool:
    """Whether a packet is a sign of life of one of the other hosts, to this one."""
    return (
        20 <= len(packet) <= LONGEST
        and packet[0] >> 4 == 4
        and packet[9] == VRRP
        and str(IPv4Address(packet[12:16])) in sources
        and str(IPv4Address(packet[16:20])) == destination
    )


class Carrier:
    """Carries signs between a tun device and the other hosts."""

    def __init__(self, signs: Signs, tun: int) -> None:
        self._signs, self._tun = signs, tun
        self._towards: dict[str, asyncio.StreamWriter] = {}

    async def run(self) -> None:
        """Carry until the process ends."""
        asyncio.get_running_loop().add_reader(self._tun, self._said)
        server = await asyncio.start_server(self._heard, "127.0.0.1", self._signs.port)
        async with server, asyncio.TaskGroup() as tasks:
            for other in self._signs.others:
                tasks.create_task(self._keep(other))

    def _said(self) -> None:
        """keepalived says something."""
        with contextlib.suppress(BlockingIOError):
            packet = os.read(self._tun, LONGEST)
            if len(packet) < 20 or packet[0] >> 4 != 4:
                return
            writer = self._towards.get(str(IPv4Address(packet[16:20])))
            if writer is not None:
                self._send(writer, packet)

    def _send(self, writer: asyncio.StreamWriter, packet: bytes) -> None:
        if writer.transport.get_write_buffer_size() > MOST_WAITING:
            writer.transport.abort()
        else:
            writer.write(struct.pack("!H", len(packet)) + packet)

    async def _keep(self, other: Other) -> None:
        """A connection to another host, for good."""
        while True:
            with contextlib.suppress(OSError, TimeoutError, RingfortError, ssl.SSLError, asyncio.IncompleteReadError):
                await self._call(other)
            await asyncio.sleep(AGAIN_SECONDS)

    async def _call(self, other: Other) -> None:
        signs = self._signs
        bundle = store.read_bundle(Path(signs.bundle))
        context = client_context(store.read_credential(Path(signs.credential)), bundle)
        async with asyncio.timeout(CALL_SECONDS):
            reader, writer = await asyncio.open_connection(
                other.address, signs.port, ssl=context, local_addr=(signs.own, 0)
            )
        try:
            found = writer.get_extra_info("ssl_object")
            expected = exactly([signs.identity])
            peer(found, ip_address(other.address), bundle, datetime.now(UTC), expected=expected)
            async with asyncio.timeout(CALL_SECONDS):
                await reader.readline()
            connection = writer.get_extra_info("socket")
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNHEARD_MILLISECONDS)
            self._towards[other.inner] = writer
            still = asyncio.create_task(self._still(writer))
            try:
                await reader.read()  # it says nothing more: this is its end
            finally:
                still.cancel()
        finally:
            if self._towards.get(other.inner) is writer:
                del self._towards[other.inner]
            writer.transport.abort()

    async def _still(self, writer: asyncio.StreamWriter) -> None:
        while True:
            await asyncio.sleep(STILL_THERE_SECONDS)
            self._send(writer, b"")

    async def _heard(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Another host says something; the enforcement point has asked who it is."""
        signs = self._signs
        sources = frozenset(other.inner for other in signs.others)
        writer.write(f"ringfort {signs.service} {signs.host} ok\n".encode())
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            while True:
                async with asyncio.timeout(4 * STILL_THERE_SECONDS):
                    (length,) = struct.unpack("!H", await reader.readexactly(2))
                    packet = await reader.readexactly(length) if length <= LONGEST else b""
                if is_sign(packet, sources, signs.inner):
                    os.write(self._tun, packet)
                elif length:
                    break
        writer.close()


def main(file: Path) -> None:
    """Carry what the file says."""
    signs = Signs.from_json(json.loads(file.read_text()))
    network = IPv4Interface(f"{signs.inner}/24")
    asyncio.run(Carrier(signs, open_tun(signs.interface, network)).run())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
