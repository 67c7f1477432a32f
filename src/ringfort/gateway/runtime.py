"""HAProxy's runtime interface (HAProxy 2.6 management guide, section 9.3): questions and changes without a restart."""

from __future__ import annotations

import csv
import socket
from collections.abc import Iterable

from ringfort.errors import RingfortError
from ringfort.gateway.material import Content, Kind, Material, in_memory

SECONDS = 5.0
LARGEST = 1 << 22

PAYLOAD = 6_000
"""Bytes of a file that is replaced in the running process: it and, if lists, what HAProxy shows of it (twice as much)
have to fit into one buffer of 16,384 bytes (``tune.bufsize``). About a hundred revoked certificates."""


class RuntimeRefusedError(RingfortError):
    """HAProxy doesn't answer, or says no."""

    def __init__(self, message: str) -> None:
        super().__init__(
            "enforcement-point", message, "its node starts it again; see docs/identity-check.md and docs/gateway.md"
        )


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
        raise RuntimeRefusedError(f"HAProxy at {path} doesn't answer: {error}") from error
    return b"".join(parts).decode(errors="replace")


def order(path: str, command: str) -> None:
    """Carry out one command.

    Raises:
        RuntimeRefusedError: there is an answer, which then says why not.
    """
    answer = ask(path, command).strip()
    if answer:
        raise RuntimeRefusedError(f"HAProxy refuses {command.splitlines()[0]!r}: {answer}")


def variable(path: str, name: str) -> str:
    """The value of one variable of HAProxy's environment."""
    answer = ask(path, f"show env {name}").strip()
    return answer.partition("=")[2]


def entries(path: str, file: str) -> frozenset[str]:
    """What a list that was loaded from ``file`` holds now."""
    answer = ask(path, f"show acl {file}")
    if answer.startswith("Unknown"):
        raise RuntimeRefusedError(f"HAProxy has no list {file}")
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


def map_entries(path: str, file: str) -> list[str]:
    """What a map that was loaded from ``file`` holds now: keys with their values, sorted."""
    answer = ask(path, f"show map {file}")
    if answer.startswith("Unknown"):
        raise RuntimeRefusedError(f"HAProxy has no map {file}")
    return sorted(line.split(" ", 1)[1].strip() for line in answer.splitlines() if line.startswith("0x"))


def replace_map(path: str, file: str, wanted: Iterable[str]) -> None:
    """Give a map other entries, all at once."""
    answer = ask(path, f"prepare map {file}")
    version = answer.strip().rpartition(" ")[2]
    if not version.isdigit():
        raise RuntimeRefusedError(f"the map {file} can't be changed: {answer.strip()}")
    for entry in wanted:
        order(path, f"add map @{version} {file} {entry}")
    order(path, f"commit map @{version} {file}")


def held(path: str, material: Material) -> Content:
    """What the process holds in memory of a file that it once read."""
    return in_memory(material.kind, ask(path, f"show ssl {material.kind} {material.path}"))


def is_used(path: str, material: Material) -> bool:
    """Whether any listener really works with a file that the process has read."""
    return "Status: Used" in ask(path, f"show ssl {material.kind} {material.path}").splitlines()


def certificate_list(path: str, file: str) -> str:
    """The list of certificates that was read from a file, as the process holds it."""
    lines = ask(path, f"show ssl crt-list {file}").splitlines()
    return "".join(f"{line}\n" for line in lines if line.strip() and not line.startswith("#"))


def is_large(pem: bytes) -> bool:
    """Whether a file has to be read at the start of a process, because the runtime interface can't take or show it."""
    return len(pem) > PAYLOAD


def replace_material(path: str, material: Material, pem: bytes) -> bool:
    """Give the process another content of a file; handshakes from now on use it, connections go on.

    Returns:
        False, and nothing is changed, if it is too large, or a certificate that HAProxy has lost track of: 2.6 forgets
        which listeners use one when the bundle or the lists beside it are replaced, and to replace it then would do
        nothing at best (https://github.com/haproxy/haproxy/issues/3165).

    Raises:
        RuntimeRefusedError: HAProxy doesn't take it; it keeps what it had.
    """
    lines = b"\n".join(line for line in pem.splitlines() if line.strip()).decode("ascii", errors="replace")
    if is_large(pem) or (material.kind is Kind.CERTIFICATE and not is_used(path, material)):
        return False
    _abort(path, material.kind)
    name = f"ssl {material.kind} {material.path}"
    answer = ask(path, f"set {name} <<\n{lines}\n")
    if "ransaction created" not in answer:
        raise RuntimeRefusedError(f"HAProxy doesn't take {material.path}: {' '.join(answer.split())}")
    answer = ask(path, f"commit {name}")
    if "Success!" not in answer:
        _abort(path, material.kind)
        raise RuntimeRefusedError(f"HAProxy doesn't use {material.path}: {' '.join(answer.split())}")
    return True


def _abort(path: str, kind: Kind) -> None:
    """Forget what somebody began to replace and never did, as it would stand in the way."""
    for line in ask(path, f"show ssl {kind}").splitlines():
        if line.startswith("*"):
            ask(path, f"abort ssl {kind} {line[1:].split(' - ')[0].strip()}")


def statistics(path: str) -> list[dict[str, str]]:
    """A row for each frontend, backend, server and listener."""
    text = ask(path, "show stat").removeprefix("# ")
    return list(csv.DictReader(text.splitlines()))
