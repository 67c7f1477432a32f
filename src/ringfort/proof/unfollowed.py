"""What a device's rules do that the proof over an environment does not follow: named, so that nothing stays unsaid.

The layers ask which packets a device accepts as they arrive. A copy sent elsewhere, a frame moved to another interface
below the firewall, or a header rewritten where no translation is declared would make the next device see another
packet; none of it belongs into the rules of a declaration, so it is not computed but reported as unknown.
"""

from __future__ import annotations

from collections.abc import Iterator

from ringfort.environment.topology import HOST_INTERFACE, Device, DeviceKind
from ringfort.proof.fields import Universe
from ringfort.proof.hooks import Layer, hook_of
from ringfort.proof.layers import DoubtfulRule
from ringfort.proof.ruleset import (
    Assign,
    Chain,
    Doubtful,
    Note,
    Outcome,
    Place,
    Rule,
    Ruleset,
    Statement,
    Table,
    Translate,
    Verdict,
)

ELSEWHERE = {
    "dup": "a copy of the packet goes elsewhere",
    "fwd": "the packet leaves by another interface, past the firewall",
    "tproxy": "a local socket takes the packet, whatever its port",
    "ct helper": "a helper lets connections in that the rules do not name",
    "ct expectation": "connections are let in that the rules do not name",
    "meta broute": "the frame is routed and no longer bridged",
}
"""Statements by how they begin, and what they do past the rules that the proof executes."""

_STARTS = tuple(ELSEWHERE)

_PORTS = (0, 32)
_IPV4 = ((72, 80), (96, 160))
_OTHERS = ((48, 56), (64, 320))
"""Bits of a header that say who talks to whom: next protocol and addresses (RFC 791, 3.1; RFC 8200, 3); ports."""


def unfollowed(device: Device, ruleset: Ruleset) -> Iterator[DoubtfulRule]:
    """Each rule or policy of a device that does what the proof does not follow."""
    for table in ruleset.tables:
        if not table.dormant:
            for chain in table.chains.values():
                yield from _of_chain(device, table, chain)


def _of_chain(device: Device, table: Table, chain: Chain) -> Iterator[DoubtfulRule]:
    below = _below(device, table, chain)
    if below and chain.base is not None and chain.base.policy is Outcome.DROP:
        place = Place(chain.family, chain.table, chain.name, 0)
        yield DoubtfulRule(str(place), "policy drop", "it stands below the hooks that the proof follows", state=False)
    for rule in chain.rules:
        reason = next((r for r in (_reason(device, table, s) for s in rule.statements) if r), "")
        if not reason and below and not all(isinstance(s, Note) for s in rule.statements):
            reason = "it stands below the hooks that the proof follows"
        if reason:
            yield _doubtful(rule, reason)


def _doubtful(rule: Rule, reason: str) -> DoubtfulRule:
    return DoubtfulRule(str(rule.place), rule.text, reason, state=False)


def _below(device: Device, table: Table, chain: Chain) -> bool:
    """Whether a chain is attached to a network device; of a host's own interface it is followed."""
    if chain.base is None:
        return table.family == "netdev" and device.kind is not DeviceKind.HOST
    hooks = [hook for hook in hook_of(table, chain.base) if hook.layer is Layer.NETDEV]
    if device.kind is DeviceKind.HOST:
        return any(hook.device != HOST_INTERFACE for hook in hooks)
    return bool(hooks)


def _reason(device: Device, table: Table, statement: Statement) -> str:
    if isinstance(statement, Translate) and (device.kind is not DeviceKind.ROUTER or table.family == "netdev"):
        return "it changes where packets go, which no declaration asks of this device"
    if isinstance(statement, Assign):
        return "it rewrites who talks to whom" if _addresses(statement) else ""
    if isinstance(statement, Note | Verdict | Doubtful) and statement.text.startswith(_STARTS):
        starts = (reason for start, reason in ELSEWHERE.items() if f"{statement.text} ".startswith(f"{start} "))
        return next(starts, "")
    return ""


def _addresses(statement: Assign) -> bool:
    """Whether what is written are addresses, a protocol or ports."""
    written = statement.field
    if written.region in ("ll", "l4proto"):
        return True
    if written.region == "th":
        return written.offset < _PORTS[1]
    if written.region != "nh":
        return False
    parts = _IPV4 if statement.universes == {Universe.IP} else (*_IPV4, *_OTHERS)
    return any(written.offset < end and start < written.offset + written.width for start, end in parts)
