"""The vocabulary of nftables, as libnftables-json(5) spells it.

Every function returns a piece of the JSON that ``nft --json list ruleset`` prints (nft 1.0.6). Pieces are shared
between rules and between rulesets, so they must never be changed in place.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from ipaddress import IPv4Network, IPv6Network
from typing import Any, TypeAlias

Json: TypeAlias = Any
"""Any piece of JSON; its shape is the business of libnftables."""

Statement: TypeAlias = dict[str, Json]
Verdict: TypeAlias = dict[str, Json]

ACCEPT: Verdict = {"accept": None}
DROP: Verdict = {"drop": None}


@cache
def goto(chain: str) -> Verdict:
    """Go on in ``chain`` and never come back."""
    return {"goto": {"target": chain}}


@cache
def jump(chain: str) -> Verdict:
    """Go through ``chain`` and come back if it decides nothing."""
    return {"jump": {"target": chain}}


@cache
def payload(protocol: str, field: str) -> Json:
    """A header field, such as ``ip saddr``."""
    return {"payload": {"protocol": protocol, "field": field}}


@cache
def meta(key: str) -> Json:
    """What the kernel knows about the packet, such as ``iifname``."""
    return {"meta": {"key": key}}


@cache
def ct(key: str) -> Json:
    """What connection tracking knows about the packet, such as ``state``."""
    return {"ct": {"key": key}}


def concat(*parts: Json) -> Json:
    """Several values looked up as one."""
    return {"concat": list(parts)}


def match(left: Json, right: Json, op: str = "==") -> Statement:
    """Go on with the rule only if ``left op right``; ``right`` may be a value or the name of a set, ``@name``."""
    return {"match": {"op": op, "left": left, "right": right}}


def one_of(left: Json, values: Sequence[Json]) -> Statement:
    """Go on with the rule only if ``left`` is among ``values`` (an anonymous set, or equality for one)."""
    return match(left, values[0] if len(values) == 1 else {"set": list(values)})


def vmap(key: Json, data: str | Sequence[tuple[Json, Verdict]]) -> Statement:
    """The verdict that a named (``@name``) or an anonymous map holds for ``key``; go on if it holds none."""
    return {"vmap": {"key": key, "data": data if isinstance(data, str) else {"set": [list(pair) for pair in data]}}}


@cache
def counter(name: str) -> Statement:
    """Count in a named counter."""
    return {"counter": name}


@cache
def log(prefix: str, group: int) -> Statement:
    """Hand the packet to the nflog group with a prefix."""
    return {"log": {"prefix": prefix, "group": group}}


def remember(key: Json, name: str, *limits: Statement) -> Statement:
    """Add ``key`` to the dynamic set ``name``; with limits, go on with the rule only while they are exceeded."""
    element: Json = {"op": "add", "elem": key, "set": f"@{name}"}
    if limits:
        element["stmt"] = list(limits)
    return {"set": element}


def rate_over(rate: int, per: str, burst: int) -> Statement:
    """True once more than ``burst`` packets came faster than ``rate`` each second, minute, hour or day."""
    return {"limit": {"rate": rate, "burst": burst, "per": per, "inv": True}}


def connections_over(count: int) -> Statement:
    """True when the element holds more than ``count`` tracked connections."""
    return {"ct count": {"val": count, "inv": True}}


def assign(key: Json, value: Json) -> Statement:
    """Set a mark: ``meta mark set`` or ``ct mark set``."""
    return {"mangle": {"key": key, "value": value}}


def dnat(family: str, address: str, port: int = 0) -> Statement:
    """Translate the destination; ``family`` is ``ip`` or ``ip6``, port 0 leaves the port alone."""
    target: Json = {"family": family, "addr": address}
    if port:
        target["port"] = port
    return {"dnat": target}


def network(value: IPv4Network | IPv6Network) -> Json:
    """An element of an interval set; nft prints a network of one address as that address."""
    if value.prefixlen == value.max_prefixlen:
        return str(value.network_address)
    return {"prefix": {"addr": str(value.network_address), "len": value.prefixlen}}


def ports(first: int, last: int) -> Json:
    """One port or an inclusive range."""
    return first if first == last else {"range": [first, last]}


def commented(element: Json, comment: str) -> Json:
    """An element of a set with a comment."""
    return {"elem": {"val": element, "comment": comment}} if comment else element
