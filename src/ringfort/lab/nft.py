"""What a lab does with rulesets beyond loading and listing them (`ringfort.kernel.nft`).

It makes them forget what packets taught them, and tells two of them apart.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from typing import Any, TypeAlias

from ringfort.errors import RingfortError
from ringfort.kernel.netns import inside
from ringfort.kernel.nft import counters, require, ruleset, run

__all__ = [
    "Json",
    "canonical",
    "counters",
    "flush_dynamic_sets",
    "forget_connections",
    "require",
    "ruleset",
    "run",
]

_NETLINK_NETFILTER = 12  # linux/netlink.h
_CTNETLINK_DELETE = (1 << 8) | 2  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_DELETE
_REQUEST, _ACKNOWLEDGE = 1, 4  # NLM_F_REQUEST, NLM_F_ACK

Json: TypeAlias = Any

_LEARNT = {"ct count", "limit", "quota", "last", "expires"}
"""What only an element that a packet made carries (libnftables-json(5), ELEM)."""


def flush_dynamic_sets(namespace: str) -> None:
    """Empty every set that packets fill: scanners, connection counts."""
    # The JSON of nft 1.0.6 leaves the flag ``dynamic`` out, so this reads the words.
    family = table = name = ""
    commands = []
    for line in run(namespace, "list sets").splitlines():
        match line.split():
            case ["table", family, table, "{"]:
                pass
            case ["set", name, "{"]:
                pass
            case ["flags", flags] if "dynamic" in flags.split(","):
                commands.append(f"flush set {family} {table} {name}")
    if commands:
        run(namespace, "\n".join(commands))


def forget_connections(namespace: str) -> None:
    """Empty the table of tracked connections of a namespace.

    Raises:
        RingfortError: the kernel refuses.
    """
    # struct nlmsghdr and nfgenmsg; a delete without a tuple empties the table (net/netfilter/nf_conntrack_netlink.c).
    message = struct.pack("=IHHIIBBH", 20, _CTNETLINK_DELETE, _REQUEST | _ACKNOWLEDGE, 1, 0, socket.AF_UNSPEC, 0, 0)
    with inside(namespace), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as connection:
        connection.send(message)
        answer = connection.recv(4096)
    (error,) = struct.unpack_from("=i", answer, 16)
    if error:
        raise RingfortError("kernel-refused", f"{namespace}: connections can't be forgotten: {os.strerror(-error)}")


def canonical(document: dict[str, Any]) -> str:
    """A ruleset without what changes by itself: handles, counts, elements of dynamic sets, the order of elements."""
    entries = [_settled(entry) for entry in document["nftables"] if "metainfo" not in entry]
    return json.dumps(entries, sort_keys=True, separators=(",", ":"))


def _settled(entry: dict[str, Any]) -> dict[str, Any]:
    ((kind, body),) = entry.items()
    body = {key: value for key, value in body.items() if key != "handle"}
    if kind == "counter":
        body.pop("packets", None)
        body.pop("bytes", None)
    if kind in ("set", "map") and "elem" in body:
        elements = [_without_counts(element) for element in body.pop("elem") if not _is_learnt(element)]
        if elements:
            body["elem"] = sorted(json.dumps(element, sort_keys=True) for element in elements)
    if kind == "rule":
        body["expr"] = _without_counts(body["expr"])
    return {kind: body}


def _is_learnt(element: Json) -> bool:
    """Whether packets have put the element into its set: it counts connections, or it goes by itself."""
    body = element.get("elem") if isinstance(element, dict) else None
    return isinstance(body, dict) and bool(body.keys() & _LEARNT)


def _without_counts(value: Json) -> Json:
    if isinstance(value, dict):
        return {
            key: {} if key == "counter" and isinstance(item, dict) else _without_counts(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_without_counts(item) for item in value]
    return value
