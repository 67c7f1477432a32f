"""Many small datagrams in Ethernet frames, made in advance and handed to the kernel a thousand at a time."""

from __future__ import annotations

import ctypes
import errno
import socket
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.namespaces import LIBC

FRAME_BYTES = 60
"""Ethernet's smallest frame, without its checksum."""

MOST_AT_ONCE = 1024
"""UIO_MAXIOV: what one sendmmsg takes at most."""


SO_SNDBUFFORCE = 32  # asm-generic/socket.h


@dataclass(frozen=True, slots=True)
class Datagrams:
    """Columns of what is sent: one row a datagram. Addresses as integers, MAC addresses as rows of six bytes."""

    source_macs: NDArray[np.uint8]
    sources: NDArray[np.uint32]
    source_ports: NDArray[np.uint16]
    destinations: NDArray[np.uint32]
    destination_ports: NDArray[np.uint16]
    gateway_mac: bytes

    def frames(self) -> NDArray[np.uint8]:
        """The frames, one a row: Ethernet II, IPv4 (RFC 791), UDP without a checksum (RFC 768)."""
        rows = np.zeros((len(self.sources), FRAME_BYTES), np.uint8)
        rows[:, 0:6] = np.frombuffer(self.gateway_mac, np.uint8)
        rows[:, 6:12] = self.source_macs
        rows[:, 12:14] = (0x08, 0x00)
        rows[:, 14:24] = (0x45, 0, 0, FRAME_BYTES - 14, 0, 0, 0x40, 0, 64, socket.IPPROTO_UDP)
        rows[:, 26:30] = _big_endian(self.sources, 4)
        rows[:, 30:34] = _big_endian(self.destinations, 4)
        words = rows[:, 14:34].reshape(-1, 10, 2).astype(np.uint32)
        total = (words[:, :, 0] * 256 + words[:, :, 1]).sum(axis=1)
        total = (total & 0xFFFF) + (total >> 16)
        total = (total & 0xFFFF) + (total >> 16)
        rows[:, 24:26] = _big_endian((0xFFFF - total).astype(np.uint16), 2)
        rows[:, 34:36] = _big_endian(self.source_ports, 2)
        rows[:, 36:38] = _big_endian(self.destination_ports, 2)
        rows[:, 38:40] = (0, FRAME_BYTES - 34)
        return rows


def _big_endian(values: NDArray[np.uint16] | NDArray[np.uint32], width: int) -> NDArray[np.uint8]:
    return values.astype(f">u{width}").view(np.uint8).reshape(-1, width)


class Batch:
    """Equally long messages, one a row, laid out as sendmmsg(2) wants them on a 64-bit machine."""

    def __init__(self, rows: NDArray[np.uint8]) -> None:
        self.count, length = rows.shape
        self._rows = np.ascontiguousarray(rows)  # the vectors point into it
        numbers = np.arange(self.count, dtype=np.uint64)
        self._vectors = np.empty((self.count, 2), np.uint64)  # struct iovec: base, length
        self._vectors[:, 0] = self._rows.ctypes.data + numbers * length
        self._vectors[:, 1] = length
        self._messages = np.zeros((self.count, 8), np.uint64)  # struct mmsghdr: columns 2 and 3 are vectors, how many
        self._messages[:, 2] = self._vectors.ctypes.data + numbers * 16
        self._messages[:, 3] = 1

    def place(self, number: int) -> ctypes.c_void_p:
        """Where the ``number``-th message header lies."""
        return ctypes.c_void_p(self._messages.ctypes.data + number * 64)


def send_all(out: socket.socket, batch: Batch) -> None:
    """Send every message once, in order, as fast as the kernel takes them."""
    sent = 0
    while sent < batch.count:
        taken = LIBC.sendmmsg(out.fileno(), batch.place(sent), min(MOST_AT_ONCE, batch.count - sent), 0)
        if taken > 0:
            sent += taken
        elif ctypes.get_errno() != errno.ENOBUFS:  # which says that the router's queue is full: offer it again
            raise OSError(ctypes.get_errno(), "sendmmsg")


def packet_socket(interface: str) -> socket.socket:
    """A socket that sends whole frames from an interface of the namespace it is made in."""
    out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    out.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 1 << 24)
    out.bind((interface, 0))
    return out
