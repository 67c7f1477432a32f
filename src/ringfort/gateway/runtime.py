"""HAProxy's runtime interface (HAProxy 2.6 management guide, section 9.3): questions and changes without a restart."""

from __future__ import annotations

import csv
import socket
from collections.abc import Iterable

from ringfort.errors import RingfortError

SECONDS = 5.0
LARGEST = 1 << 22


class RuntimeRefusedError(RingfortError):
    """HAProxy doesn't answer, or says no."""

    def __init__(self, message: str) -> None:
        super().__init__("enforcement-point", message, "its node starts it again; see docs/identity-check.md")


def ask(path: str, command: str) -> str:
    """What HAProxy answers to one command.

    Raises:
        RuntimeRefusedError: it doesn't answer.
    """
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(SECONDS)
            connection.connect(path)
            connection.sendall(command.encode() + b"\n")
            connection.shutdown(socket.SHUT_WR)
            parts, size = [], 0
            while part := connection.recv(1 << 16):
                parts.append(part)
                size += len(part)
                if size > LARGEST:
                    raise RuntimeRefusedError(
                        f"more than {LARGEST:,} bytes in answer to {command.split(maxsplit=1)[0]!r}"
                    )
    except OSError as error:
        raise RuntimeRefusedError(f"the enforcement point at {path} doesn't answer: {error}") from error
    return b"".join(parts).decode(errors="replace")


def order(path: str, command: str) -> None:
    """Carry out one command.

    Raises:
        RuntimeRefusedError: there is an answer, which then says why not.
    """
    answer = ask(path, command).strip()
    if answer:
        raise RuntimeRefusedError(f"the enforcement point refuses {command.splitlines()[0]!r}: {answer}")


def variable(path: str, name: str) -> str:
    """The value of one variable of HAProxy's environment."""
    answer = ask(path, f"show env {name}").strip()
    return answer.partition("=")[2]


def entries(path: str, file: str) -> frozenset[str]:
    """What a list that was loaded from ``file`` holds now."""
    answer = ask(path, f"show acl {file}")
    if answer.startswith("Unknown"):
        raise RuntimeRefusedError(f"the enforcement point has no list {file}")
    return frozenset(line.split(" ", 1)[1].strip() for line in answer.splitlines() if line.startswith("0x"))


def replace_entries(path: str, file: str, wanted: Iterable[str]) -> None:
    """Give a list other entries, all at once."""
    answer = ask(path, f"prepare acl {file}")
    version = answer.strip().rpartition(" ")[2]
    if not version.isdigit():
        raise RuntimeRefusedError(f"the list {file} can't be changed: {answer.strip()}")
    for entry in sorted(wanted):
        order(path, f"add acl @{version} {file} {entry}")
    order(path, f"commit acl @{version} {file}")


def statistics(path: str) -> list[dict[str, str]]:
    """A row for each frontend, backend, server and listener."""
    text = ask(path, "show stat").removeprefix("# ")
    return list(csv.DictReader(text.splitlines()))
