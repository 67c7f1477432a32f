"""Who changed the rules of a namespace, and when: what the kernel says on its own (NFNLGRP_NFTABLES).

Every committed transaction is announced to whoever listens: one message for each object, then one that closes the
generation and names the process that asked for it. A generation number tells without listening whether there was one.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ringfort.errors import RingfortError
from ringfort.kernel.netns import inside

_NETLINK_NETFILTER = 12  # linux/netlink.h
_SOL_NETLINK, _ADD_MEMBERSHIP = 270, 1
_REQUEST = 1  # NLM_F_REQUEST
_NFNLGRP_NFTABLES = 7  # linux/netfilter/nfnetlink.h
_SUBSYSTEM = 10 << 8  # NFNL_SUBSYS_NFTABLES
_NEWGEN, _GETGEN = _SUBSYSTEM | 15, _SUBSYSTEM | 16  # linux/netfilter/nf_tables.h
_GEN_ID, _GEN_PROC_PID, _GEN_PROC_NAME = 1, 2, 3
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_FAMILY = 4  # struct nfgenmsg
_ATTRIBUTE = struct.Struct("=HH")  # struct nlattr
_BUFFER = 1 << 20

ANSWER_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Author:
    """The process that asked for a change. The kernel gives ``pid`` (0: not known) and ``name``; ``user`` and
    ``command`` are read from /proc and empty (``user`` -1) when the process has gone already."""

    pid: int = 0
    name: str = ""
    user: int = -1
    login: int = -1
    command: str = ""

    def __str__(self) -> str:
        if not self.pid:
            return "somebody unknown"
        words = [self.command or self.name, f"pid {self.pid}"]
        if self.user >= 0:
            words.append(f"uid {self.user}")
        if self.login >= 0:
            words.append(f"logged in as uid {self.login}")
        return f"{words[0]} ({', '.join(words[1:])})"


class Changes:
    """Listens to the changes of one namespace's rules. `fileno` becomes readable when there are some."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self._socket = _open(namespace)
        self._query = _open(namespace)
        self._query.settimeout(ANSWER_SECONDS)
        try:
            self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _NFNLGRP_NFTABLES)
        except OSError as error:
            self.close()
            raise RingfortError("kernel-refused", f"the kernel does not tell of changes: {error.strerror}") from error
        self._socket.setblocking(False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()
        self._query.close()

    def fileno(self) -> int:
        """For select(2) and its kin."""
        return self._socket.fileno()

    def read(self) -> list[Author]:
        """Who made the changes since the last call, in order; somebody unknown when messages were lost."""
        found: list[Author] = []
        while True:
            try:
                data = self._socket.recv(65536)
            except BlockingIOError:
                return found
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                found.append(Author())
                continue
            found += [author(attributes) for kind, attributes in _messages(data) if kind == _NEWGEN]

    def generation(self) -> int:
        """The number of the ruleset's generation; it grows with every change (modulo 2^32).

        Raises:
            RingfortError: the kernel does not answer.
        """
        request = _HEADER.pack(_HEADER.size + _FAMILY, _GETGEN, _REQUEST, 1, 0) + bytes(_FAMILY)
        try:
            self._query.send(request)
            for kind, attributes in _messages(self._query.recv(65536)):
                if kind == _NEWGEN and _GEN_ID in attributes:
                    return int.from_bytes(attributes[_GEN_ID], "big")
        except OSError as error:
            raise RingfortError("kernel-refused", f"the kernel gives no generation: {error.strerror}") from error
        raise RingfortError("kernel-refused", "the kernel gives no generation")


def _open(namespace: str) -> socket.socket:
    with inside(namespace):
        opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
    opened.bind((0, 0))
    return opened


def _messages(data: bytes) -> Iterator[tuple[int, dict[int, bytes]]]:
    """Kind and attributes of each message."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, *_ = _HEADER.unpack_from(data, at)
        if length < _HEADER.size:
            return
        yield kind, dict(_attributes(data[at + _HEADER.size + _FAMILY : at + length]))
        at += (length + 3) & ~3


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            return
        yield kind & 0x3FFF, data[at + _ATTRIBUTE.size : at + length]  # without NLA_F_NESTED, NLA_F_NET_BYTEORDER
        at += (length + 3) & ~3


def author(attributes: dict[int, bytes]) -> Author:
    """Who closed a generation, with what /proc still knows."""
    pid = int.from_bytes(attributes.get(_GEN_PROC_PID, b""), "big")
    name = attributes.get(_GEN_PROC_NAME, b"").rstrip(b"\0").decode(errors="replace")
    directory = Path("/proc", str(pid))
    if not pid or pid == os.getpid() or _read(directory / "comm").strip() != name:  # gone, or its number is another's
        return Author(pid, name)
    command = " ".join(word for word in _read(directory / "cmdline").split("\0") if word)
    login = _read(directory / "loginuid").strip()
    return Author(pid, name, _user(directory), _login(login), command[:200])


def _user(directory: Path) -> int:
    lines = [line.split() for line in _read(directory / "status").splitlines() if line.startswith("Uid:")]
    return int(lines[0][1]) if lines else -1


def _login(text: str) -> int:
    return int(text) if text.isdecimal() and int(text) != 0xFFFFFFFF else -1  # (uid_t) -1: nobody has logged in


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
