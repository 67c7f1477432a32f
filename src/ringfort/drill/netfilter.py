"""Netlink messages to nf_tables, on sockets that stay open in many namespaces.

Through libnftables a question costs milliseconds, and a drill has thousands. Messages are laid out as in netlink(7);
numbers are from linux/netfilter/nfnetlink.h and nf_tables.h.
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

REQUEST, ACKNOWLEDGE, DUMP = 0x1, 0x4, 0x300  # NLM_F_*
_NETLINK_NETFILTER = 12
_NF_TABLES = 10  # NFNL_SUBSYS_NFTABLES
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11  # NFNL_MSG_BATCH_*
_GET_GENERATION, _GENERATION = 16, 1  # NFT_MSG_GETGEN, NFTA_GEN_ID
_ERROR, _DONE = 2, 3  # NLMSG_*
_HEAD = 20  # nlmsghdr and nfgenmsg
_ATTRIBUTE_MASK = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER
_BUFFER_BYTES = 1 << 16
_ATTRIBUTE = struct.Struct("=HH").unpack_from
_END = struct.Struct("=IH").unpack_from


class Netfilter:
    """Talks to the nf_tables of some devices. Use ``with``."""

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

    def dump(self, device: Device, what: int, attributes: bytes = b"") -> list[bytes]:
        """The answer to a question for many objects, in the parts that the kernel gives it in (see `messages`).

        Raises:
            RingfortError: the kernel refuses.
        """
        connection = self._sockets[device]
        connection.send(message(what, REQUEST | DUMP, attributes))
        parts = []
        while True:
            part = connection.recv(_BUFFER_BYTES)
            parts.append(part)
            if _END(part, 0)[1] == _ERROR:
                raise RingfortError("kernel-refused", f"{device}: its rules can't be read")
            # What ends a dump is a message of its own, 20 bytes long, and the last of its part.
            if len(part) >= _HEAD and _END(part, len(part) - _HEAD) == (_HEAD, _DONE):
                return parts

    def generation(self, device: Device) -> bytes:
        """What is another one after each change of a device's rules, by anybody."""
        connection = self._sockets[device]
        connection.send(message(_GET_GENERATION, REQUEST))
        ((_, body),) = messages(connection.recv(_BUFFER_BYTES))
        return next(body[begin:end] for kind, begin, end in attributes(body, 4, len(body)) if kind == _GENERATION)

    def change(self, device: Device, changes: list[bytes]) -> None:
        """Make some changes as one transaction. Each is a `message` that asks to be acknowledged.

        Raises:
            RingfortError: the kernel refuses one; nothing is changed then.
        """
        connection = self._sockets[device]
        begin, end = (message(kind, REQUEST, resource=_NF_TABLES, subsystem=0) for kind in (_BATCH_BEGIN, _BATCH_END))
        connection.send(begin + b"".join(changes) + end)
        answers = 0
        while answers < len(changes):
            for kind, body in messages(connection.recv(_BUFFER_BYTES)):
                answers += 1
                if kind == _ERROR and struct.unpack_from("=i", body)[0]:
                    raise RingfortError("kernel-refused", f"{device}: its rules can't be changed")


def message(
    what: int,
    flags: int,
    attributes: bytes = b"",
    *,
    family: int = socket.AF_UNSPEC,
    resource: int = 0,
    subsystem: int = _NF_TABLES,
) -> bytes:
    """One message to nf_tables."""
    kind = subsystem << 8 | what
    length = _HEAD + len(attributes)
    head = struct.pack("=IHHIIBBH", length, kind, flags, 1, 0, family, 0, socket.htons(resource))
    return head + attributes


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded."""
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def text(kind: int, value: str) -> bytes:
    """One attribute that is a string."""
    return attribute(kind, value.encode() + b"\0")


def messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The messages of one part of an answer: kind, and what follows the nlmsghdr."""
    at = 0
    while at + 16 <= len(data):
        length, kind = struct.unpack_from("=IH", data, at)
        yield kind, data[at + 16 : at + length]
        at += (length + 3) & ~3


def attributes(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The attributes between two places: kind, begin and end of the value."""
    while at + 4 <= end:
        length, kind = _ATTRIBUTE(data, at)
        if length < 4:
            return
        yield kind & _ATTRIBUTE_MASK, at + 4, at + length
        at += (length + 3) & ~3
