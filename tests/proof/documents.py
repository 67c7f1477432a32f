"""Rulesets for tests, as ``nft --json list ruleset`` prints them: small builders, so that a test shows what matters."""

from __future__ import annotations

from typing import Any

from ringfort.proof.reader import read
from ringfort.proof.ruleset import Ruleset

Expression = dict[str, Any]


def field(protocol: str, name: str) -> Expression:
    return {"payload": {"protocol": protocol, "field": name}}


def meta(key: str) -> Expression:
    return {"meta": {"key": key}}


def ct(key: str) -> Expression:
    return {"ct": {"key": key}}


def match(left: Expression, right: object, operator: str = "==") -> Expression:
    return {"match": {"op": operator, "left": left, "right": right}}


def prefix(text: str) -> Expression:
    address, _, length = text.partition("/")
    return {"prefix": {"addr": address, "len": int(length)}}


def jump(target: str) -> Expression:
    return {"jump": {"target": target}}


def goto(target: str) -> Expression:
    return {"goto": {"target": target}}


ACCEPT: Expression = {"accept": None}
DROP: Expression = {"drop": None}
RETURN: Expression = {"return": None}

SADDR = field("ip", "saddr")
DADDR = field("ip", "daddr")
DPORT = field("tcp", "dport")
STATE = ct("state")


def table(
    chains: dict[str, list[list[Expression]]],
    *,
    family: str = "inet",
    name: str = "t",
    bases: dict[str, dict[str, Any]] | None = None,
    objects: list[Expression] | None = None,
) -> list[Expression]:
    """The objects of one table. Chains named like a hook are base chains there, policy drop, unless ``bases`` says."""
    listed: list[Expression] = [{"table": {"family": family, "name": name, "handle": 1}}]
    for one in objects or []:
        ((kind, content),) = one.items()
        listed.append({kind: {"family": family, "table": name, "handle": 1, **content}})
    rules: list[Expression] = []
    for chain, statements in chains.items():
        base = (bases or {}).get(chain)
        if base is None and chain in ("prerouting", "input", "forward", "output", "postrouting"):
            base = {}
        described: dict[str, Any] = {"family": family, "table": name, "name": chain, "handle": 2}
        if base is not None:
            described |= {"type": "filter", "hook": chain, "prio": 0, "policy": "drop", **base}
        listed.append({"chain": described})
        for number, expressions in enumerate(statements):
            place = {"family": family, "table": name, "chain": chain, "handle": 10 + number}
            rules.append({"rule": {**place, "expr": expressions}})
    return listed + rules


def document(*tables: list[Expression]) -> dict[str, Any]:
    metainfo = {"metainfo": {"version": "1.0.6", "release_name": "Lester Gooch #5", "json_schema_version": 1}}
    return {"nftables": [metainfo, *(one for objects in tables for one in objects)]}


def ruleset(*tables: list[Expression]) -> Ruleset:
    return read(document(*tables))
