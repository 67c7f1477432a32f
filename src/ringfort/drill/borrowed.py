"""TLS with a borrowed source address, as root on a router can do it: it sees the answers that pass it.

The connection is made by hand from raw frames, so that nothing of the router (addresses, routes) has to be changed and
put back. It is as little TCP (RFC 9293) as a lossless wire needs: no retransmission, one outstanding flight.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from ringfort.drill import frames
from ringfort.environment.model import Address
from ringfort.environment.topology import Device
from ringfort.lab.client import admits
from ringfort.lab.lab import Lab

SECONDS = 1.5
"""How long one attempt may take."""
SEGMENT_BYTES = 1200
ENDED = "ended by the service after its handshake"
"""It proved who it is, asked for a certificate, and ended the connection when none came, with or without an alert."""
_EVERYTHING = 3  # ETH_P_ALL, linux/if_ether.h
_SYN, _RST, _PUSH, _ACK, _FIN = 0x02, 0x04, 0x08, 0x10, 0x01


@dataclass(frozen=True, slots=True)
class Ends:
    """Both ends of a borrowed connection, and the frames' MAC addresses."""

    source: Address
    destination: Address
    source_port: int
    port: int
    source_mac: str
    destination_mac: str


class BorrowedConnection:
    """One TCP connection from an address that is not ours, out of one interface of a place. Use ``with``."""

    def __init__(self, lab: Lab, place: Device, interface: str, ends: Ends) -> None:
        self._ends = ends
        with lab.inside(place):
            self._wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_EVERYTHING))
        self._wire.bind((interface, _EVERYTHING))
        self._wire.setblocking(False)
        self._sent = self._received = 0
        self._deadline = time.monotonic() + SECONDS
        self.is_closed = self.is_ended = False
        """Whether nothing is to be sent any more; whether the other side has ended it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.is_closed:
            self._send(_RST | _ACK)
        self._wire.close()

    def connect(self) -> bool:
        """Open the connection; whether it was answered."""
        self._send(_SYN)
        self._sent += 1
        while (segment := self._next()) is not None:
            flags, number, _ = segment
            if flags & _SYN and flags & _ACK:
                self._received = (number + 1) & 0xFFFFFFFF
                self._send(_ACK)
                return True
            if flags & _RST:
                self.is_closed = True
                return False
        self.is_closed = True
        return False

    def send(self, data: bytes) -> None:
        """Send all of ``data``."""
        for first in range(0, len(data), SEGMENT_BYTES):
            part = data[first : first + SEGMENT_BYTES]
            self._send(_PUSH | _ACK, part)
            self._sent = (self._sent + len(part)) & 0xFFFFFFFF

    def receive(self) -> bytes:
        """The next bytes; nothing when the other side has closed or the time is up."""
        while (segment := self._next()) is not None:
            flags, number, data = segment
            if flags & _RST:
                self.is_closed = self.is_ended = True
                return b""
            if number != self._received:
                continue  # sent again before our answer came
            self._received = (number + len(data) + bool(flags & _FIN)) & 0xFFFFFFFF
            self.is_ended = bool(flags & _FIN)
            if data or flags & _FIN:
                self._send(_ACK)
                return data
        return b""

    def _send(self, flags: int, data: bytes = b"") -> None:
        ends = self._ends
        segment = frames.Segment(ends.source_port, ends.port, self._sent, self._received, flags, data)
        self._wire.send(
            frames.tcp_segment(ends.source_mac, ends.destination_mac, ends.source, ends.destination, segment)
        )

    def _next(self) -> tuple[int, int, bytes] | None:
        """Flags, sequence number and data of the next segment to us; None when the time is up."""
        while (left := self._deadline - time.monotonic()) > 0:
            ready, _, _ = select.select([self._wire], [], [], left)
            if not ready:
                return None
            data, address = self._wire.recvfrom(1 << 16)
            if address[2] != socket.PACKET_OUTGOING:
                segment = self._ours(data)
                if segment is not None:
                    return segment
        return None

    def _ours(self, data: bytes) -> tuple[int, int, bytes] | None:
        ends = self._ends
        if ends.source.version == 6:
            own, body = data[14:15] >= b"\x60" and data[20:21] == b"\x06" and data[22:54], data[54:]
            length = int.from_bytes(data[18:20], "big")
        else:
            head = 4 * (data[14] & 15)
            own, body = data[23:24] == b"\x06" and data[26:34], data[14 + head :]
            length = int.from_bytes(data[16:18], "big") - head
        if own != ends.destination.packed + ends.source.packed or len(body) < 20:
            return None
        source_port, port, number = struct.unpack_from("!HHI", body)
        if (source_port, port) != (ends.port, ends.source_port):
            return None
        # A large segment that the kernel has not cut yet has a length of 0 in its header (GSO).
        whole = body[:length] if 0 < length <= len(body) else body
        return body[13], number, whole[4 * (body[12] >> 4) :]


def attempt(connection: BorrowedConnection, context: ssl.SSLContext, opening: bytes = b"") -> tuple[bool, str]:
    """Try to be admitted: connect, do the TLS handshake, say ``opening`` if there is one, wait for the service's line.

    Returns:
        Whether the service's line came, and it or what came instead.
    """
    if not connection.connect():
        return False, "no connection"
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context.wrap_bio(incoming, outgoing, server_side=False)
    is_shaken = False
    try:
        _drive(connection, session.do_handshake, incoming, outgoing)
        is_shaken = True
        if opening:
            _drive(connection, lambda: bytes(0 * session.write(opening)), incoming, outgoing)
        line = _drive(connection, lambda: session.read(4096), incoming, outgoing)
    except ssl.SSLError as error:
        return False, error.reason or "TLS error"
    except ConnectionError as error:
        return False, ENDED if is_shaken and connection.is_ended else str(error)
    words = line.decode(errors="replace").strip().partition("\r\n")[0]
    if not words and connection.is_ended:
        return False, ENDED
    return admits(words), words or "closed without an answer"


def _drive(
    connection: BorrowedConnection, step: Callable[[], bytes | None], incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO
) -> bytes:
    """Take one step of a TLS session, carrying bytes to and fro until it is done.

    Raises:
        ssl.SSLError: the other side refuses.
        ConnectionError: it closed, or said nothing in time.
    """
    while True:
        try:
            result = step()
        except ssl.SSLWantReadError:
            result = None
            waiting = True
        else:
            waiting = False
        if outgoing.pending:
            connection.send(outgoing.read())
        if not waiting:
            return result or b""
        data = connection.receive()
        if not data:
            raise ConnectionError("closed without an answer")
        incoming.write(data)
