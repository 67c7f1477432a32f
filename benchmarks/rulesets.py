"""The rulesets that are compared: text for ``nft -f`` that lets the same flows through a router."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.synthetic import ROUTER, Entry, entries
from ringfort.environment.model import Environment
from ringfort.environment.topology import Device, DeviceKind

ACCEPT_ALL = """
table inet accept_all {
    chain forward {
        type filter hook forward priority filter; policy accept;
        ct state invalid drop
    }
}
"""
"""Lets everything through, but follows connections, as every stateful firewall must."""


def forwarding(_environment: Environment) -> str:
    """No ruleset: the kernel forwards and follows nothing."""
    return ""


def accept_all(_environment: Environment) -> str:
    """The router that ours is measured against."""
    return ACCEPT_ALL


def ringfort(environment: Environment) -> str:
    """What `ringfort compile` makes of the environment."""
    from ringfort.network.compile import compile_device

    return compile_device(environment, Device(DeviceKind.ROUTER, ROUTER)).text


def linear(environment: Environment) -> str:
    """One rule for each flow, the way rules are written by hand."""
    rules = "\n".join(f"        {_rule(entry)}" for entry in entries(environment))
    return f"""
table inet linear {{
    chain forward {{
        type filter hook forward priority filter; policy drop;
        ct state established,related accept
{rules}
    }}
}}
"""


def _rule(entry: Entry) -> str:
    return f"ip saddr {entry.source} ip daddr {entry.destination} {entry.protocol} dport {entry.port} accept"


def aerleon(environment: Environment) -> str:
    """What aerleon makes of a policy with one term for each flow."""
    from aerleon import api
    from aerleon.lib.naming import Naming

    allowed = entries(environment)
    hosts = {str(address) for entry in allowed for address in (entry.source, entry.destination)}
    ports = {(entry.protocol, entry.port) for entry in allowed}
    definitions = Naming()
    definitions.ParseDefinitionsObject(
        {
            "networks": {_host(address): {"values": [{"address": f"{address}/32"}]} for address in hosts},
            "services": {_port(*port): [{"protocol": port[0], "port": port[1]}] for port in ports},
        },
        "",
    )
    terms = [
        {
            "name": f"flow-{number}",
            "source-address": _host(str(entry.source)),
            "destination-address": _host(str(entry.destination)),
            "protocol": entry.protocol,
            "destination-port": _port(entry.protocol, entry.port),
            "action": "accept",
        }
        for number, entry in enumerate(allowed)
    ]
    header = {"targets": {"nftables": "inet forward"}}
    policy: Any = {"filename": "flows", "filters": [{"header": header, "terms": terms}]}
    generated: Any = api.Generate([policy], definitions)
    (text,) = generated.values()
    return str(text)


def _host(address: str) -> str:
    return f"HOST_{address.replace('.', '_')}"


def _port(protocol: str, port: int) -> str:
    return f"PORT_{protocol.upper()}_{port}"


RULESETS: Mapping[str, Callable[[Environment], str]] = {
    "accept-all": accept_all,
    "ringfort": ringfort,
    "forwarding": forwarding,
    "linear": linear,
    "aerleon": aerleon,
}
"""Name -> what makes the ruleset. The first is what the others are divided by."""
