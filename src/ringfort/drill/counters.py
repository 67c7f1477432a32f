"""Named counters of many namespaces, quickly: one netlink request each on sockets that stay open.

Reading through libnftables costs a few milliseconds a device; a drill reads thousands of times. Numbers are from
linux/netfilter/nf_tables.h; messages are laid out as in netlink(7).
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from ringfort.environment.topology import Device
from ringfort.errors import RingfortError
from ringfort.lab.lab import Lab

_NETLINK_NETFILTER = 12
_GET_OBJECT = (10 << 8) | 19  # NFNL_SUBSYS_NFTABLES, NFT_MSG_GETOBJ
_REQUEST_DUMP = 0x301
_ERROR, _DONE = 2, 3
_NAME, _TYPE, _DATA = 2, 3, 4  # NFTA_OBJ_*
_COUNTER_TYPE = 1  # NFT_OBJECT_COUNTER
_PACKETS = 2  # NFTA_COUNTER_PACKETS
_ATTRIBUTE_MASK = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER
_BUFFER_BYTES = 1 << 16
_ATTRIBUTE = struct.Struct("=HH").unpack_from


class Counters:
    """Reads the named counters of a lab's devices. Use ``with``."""

    def __init__(self, lab: Lab, devices: Iterable[Device]) -> None:
        self._sockets: dict[Device, socket.socket] = {}
        self._stack = ExitStack()
        for device in devices:
            with lab.inside(device):
                opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
            opened.settimeout(5.0)
            self._sockets[device] = self._stack.enter_context(opened)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def read(self, device: Device) -> dict[str, int]:
        """Packets of each named counter; nothing when the device has no rules.

        Raises:
            RingfortError: the kernel refuses.
        """
        connection = self._sockets[device]
        attribute = struct.pack("=HHI", 8, _TYPE, socket.htonl(_COUNTER_TYPE))
        head = struct.pack("=IHHIIBBH", 20 + len(attribute), _GET_OBJECT, _REQUEST_DUMP, 1, 0, socket.AF_UNSPEC, 0, 0)
        connection.send(head + attribute)
        found: dict[str, int] = {}
        while True:
            for kind, body in _messages(connection.recv(_BUFFER_BYTES)):
                if kind == _DONE:
                    return found
                if kind == _ERROR:
                    raise RingfortError("kernel-refused", f"{device}: its counters can't be read")
                name, packets = _counter(body)
                found[name] = packets


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 16 <= len(data):
        length, kind = struct.unpack_from("=IH", data, at)
        yield kind, data[at + 16 : at + length]
        at += (length + 3) & ~3


def _counter(body: bytes) -> tuple[str, int]:
    """Name and packets of one object; 4 bytes of nfgenmsg go before its attributes. Called a million times a drill."""
    name, packets, at, end = "", 0, 4, len(body)
    while at + 4 <= end:
        length, kind = _ATTRIBUTE(body, at)
        if length < 4:
            break
        kind &= _ATTRIBUTE_MASK
        if kind == _NAME:
            name = body[at + 4 : at + length - 1].decode()
        elif kind == _DATA:
            packets = _packets(body, at + 4, at + length)
        at += (length + 3) & ~3
    return name, packets


def _packets(body: bytes, at: int, end: int) -> int:
    """The packets of a counter, among the attributes from ``at`` to ``end``."""
    while at + 4 <= end:
        length, kind = _ATTRIBUTE(body, at)
        if kind & _ATTRIBUTE_MASK == _PACKETS:
            return int.from_bytes(body[at + 4 : at + length], "big")
        if length < 4:
            break
        at += (length + 3) & ~3
    return 0
