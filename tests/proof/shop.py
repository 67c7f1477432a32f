"""The example environment, compiled, and ways to change it by hand."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from ringfort.environment.identity import IdentityCheck
from ringfort.environment.load import load
from ringfort.environment.model import Environment, Tls
from ringfort.environment.topology import Device, DeviceKind
from ringfort.network.compile import compile_environment
from ringfort.network.identity import identity_checks
from ringfort.proof.claims import verify
from ringfort.proof.verdict import Refutation, Verdict

PATH = "examples/shop/environment.yaml"
Document = dict[str, Any]
Checks = dict[str, tuple[IdentityCheck, ...]]


@cache
def environment() -> Environment:
    return load(PATH)


@cache
def _compiled() -> Mapping[Device, Document]:
    return {device: ruleset.document for device, ruleset in compile_environment(environment()).items()}


def documents() -> dict[Device, Document]:
    return dict(_compiled())


def checks() -> Checks:
    return dict(identity_checks(environment()))


def router(name: str) -> Device:
    return Device(DeviceKind.ROUTER, name)


def host(name: str) -> Device:
    return Device(DeviceKind.HOST, name)


def switch(key: str) -> Device:
    return Device(DeviceKind.SWITCH, key)


def with_rule(device: Device, chain: str, *expressions: Document) -> dict[Device, Document]:
    """The documents with one rule added by hand at the top of a chain of one device."""
    changed = documents()
    document = copy.deepcopy(changed[device])
    family = "bridge" if device.kind is DeviceKind.SWITCH else "inet"
    rule = {"rule": {"family": family, "table": "ringfort", "chain": chain, "handle": 9999, "expr": list(expressions)}}
    items = document["nftables"]
    first = next((i for i, item in enumerate(items) if item.get("rule", {}).get("chain") == chain), len(items))
    items.insert(first, rule)
    changed[device] = document
    return changed


def without_rules(device: Device) -> dict[Device, Document]:
    """The documents with nothing loaded on one device."""
    changed = documents()
    changed[device] = {"nftables": [{"metainfo": {"json_schema_version": 1}}]}
    return changed


def without_elements(device: Device, name: str, wanted: str) -> dict[Device, Document]:
    """The documents without the elements of a set or map that mention ``wanted``."""
    changed = documents()
    document = copy.deepcopy(changed[device])
    for item in document["nftables"]:
        for content in item.values():
            if content.get("name") == name and "elem" in content:
                content["elem"] = [element for element in content["elem"] if wanted not in str(element)]
    changed[device] = document
    return changed


def match(protocol: str, field: str, value: object) -> Document:
    return {"match": {"op": "==", "left": {"payload": {"protocol": protocol, "field": field}}, "right": value}}


ACCEPT: Document = {"accept": None}


def prove(rulesets: Mapping[Device, Document] | None = None, enforced: Checks | None = None) -> Verdict:
    return verify(environment(), rulesets or documents(), checks() if enforced is None else enforced)


def without_mutual(name: str) -> Checks:
    """The checks with the callers of one service unchecked on every host."""
    return {
        host_name: tuple(replace(c, tls=Tls.SERVER, callers=frozenset()) if c.service == name else c for c in own)
        for host_name, own in checks().items()
    }


def kinds(verdict: Verdict) -> set[tuple[str, str]]:
    return {(refutation.claim, refutation.kind) for refutation in verdict.refutations}


def one(verdict: Verdict, kind: str) -> Refutation:
    """The first refutation of a kind."""
    return next(refutation for refutation in verdict.refutations if refutation.kind == kind)
