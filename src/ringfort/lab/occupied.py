"""Which ports of places customers' real instances have; on all others the lab plays the services of places."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ringfort.environment.model import Environment
from ringfort.environment.topology import Device, DeviceKind
from ringfort.kernel import netns, nft
from ringfort.lab.shapes import namespace_name
from ringfort.node.hosting import TABLE


def ports(environment: Environment) -> dict[str, frozenset[int]]:
    """By place, the ports that lead into a virtual machine now; places without any are missing."""
    found = {}
    for host in environment.hosts.values():
        space = namespace_name(environment, Device(DeviceKind.HOST, host.name))
        if host.hypervisor and netns.is_namespace(space):
            own = frozenset(translated(nft.ruleset(space)))
            if own:
                found[host.name] = own
    return found


def translated(document: dict[str, Any]) -> Iterator[int]:
    """The ports that the table of an instance translates, in a ruleset as nft lists it. Pure."""
    for entry in document["nftables"]:
        rule = entry.get("rule", {})
        if rule.get("table") != TABLE or not any("dnat" in step for step in rule["expr"]):
            continue
        for step in rule["expr"]:
            match = step.get("match", {})
            if isinstance(match.get("left"), dict) and match["left"].get("payload", {}).get("field") == "dport":
                right = match["right"]
                yield from right["set"] if isinstance(right, dict) else [right]
