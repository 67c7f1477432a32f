"""Where rules are attached: which base chains a packet meets at a hook, in which order, and what is known there.

Order and conditions follow the kernel's netfilter core (nf_hook_entries_grow, nf_nat_inet_fn, nft_meta_get_eval).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from oxidd.bdd import BDDFunction

from ringfort.proof.changes import Bit
from ringfort.proof.fields import (
    CT_DIRECTION,
    CT_STATE,
    CT_STATUS,
    ETHER_TYPE,
    ETHER_TYPES,
    EXTENSION_HEADERS,
    IIFNAME,
    IIFTYPE,
    LATER_FRAGMENT,
    NAME_BITS,
    OIFNAME,
    TRANSPORT,
    CtState,
    CtStatus,
    Field,
    Universe,
    name_value,
)
from ringfort.proof.ruleset import Base, Chain, Ruleset, Table
from ringfort.proof.variables import Space

CONNTRACK_PRIORITY = -200
"""NF_IP_PRI_CONNTRACK: chains before it in prerouting and output see no connection state yet."""

ETHER, LOOPBACK = 1, 772
"""ARPHRD_ETHER and ARPHRD_LOOPBACK (linux/if_arp.h)."""


class Layer(StrEnum):
    """The part of the kernel's network stack a hook belongs to."""

    IP = "ip"
    BRIDGE = "bridge"
    NETDEV = "netdev"
    ARP = "arp"


@dataclass(frozen=True, slots=True)
class Hook:
    """One hook. ``device`` for ingress and egress; "" where the ruleset does not tell it."""

    name: str
    layer: Layer = Layer.IP
    device: str = ""

    def __str__(self) -> str:
        prefix = "" if self.layer is Layer.IP else f"{self.layer} "
        return f"{prefix}{self.name}{f' {self.device}' if self.device else ''}"

    @property
    def universes(self) -> tuple[Universe, ...]:
        """The universes whose packets come here."""
        if self.layer is Layer.IP:
            return Universe.IP, Universe.IP6
        return (Universe.ARP,) if self.layer is Layer.ARP else tuple(Universe)


_FAMILIES = {
    (Layer.IP, Universe.IP): ("ip", "inet"),
    (Layer.IP, Universe.IP6): ("ip6", "inet"),
    (Layer.ARP, Universe.ARP): ("arp",),
}


def hook_of(table: Table, base: Base) -> list[Hook]:
    """The hooks a base chain is attached to."""
    if base.hook in ("ingress", "egress"):
        # nft 1.0.6 does not list the device of a chain: then the chain stands at a hook of no named device.
        return [Hook(base.hook, Layer.NETDEV, device) for device in base.devices or ("",)]
    layer = {"bridge": Layer.BRIDGE, "arp": Layer.ARP}.get(table.family, Layer.IP)
    return [Hook(base.hook, layer)]


def hooks(ruleset: Ruleset) -> list[Hook]:
    """Every hook that some base chain of ``ruleset`` is attached to, in the order of a packet's way."""
    order = ("ingress", "prerouting", "input", "forward", "output", "postrouting", "egress")
    found = {
        hook
        for table in ruleset.tables
        if not table.dormant
        for chain in table.chains.values()
        if chain.base is not None
        for hook in hook_of(table, chain.base)
    }
    layers = list(Layer)

    def rank(hook: Hook) -> tuple[int, int, str]:
        return layers.index(hook.layer), order.index(hook.name) if hook.name in order else len(order), hook.device

    return sorted(found, key=rank)


def families(hook: Hook, universe: Universe) -> tuple[str, ...]:
    """The table families that see packets of ``universe`` at ``hook``."""
    if hook.layer is Layer.BRIDGE:
        return ("bridge",)
    if hook.layer is Layer.NETDEV:
        return ("netdev", "inet") if universe in (Universe.IP, Universe.IP6) else ("netdev",)
    return _FAMILIES.get((hook.layer, universe), ())


def chains_at(ruleset: Ruleset, hook: Hook, universe: Universe) -> list[tuple[Table, Chain]]:
    """The base chains a packet meets at ``hook``, first to last.

    At equal priority the chain that was loaded later comes first, as in the kernel's list; the document's order is
    taken for the order of loading. Chains of type nat run together where translation happens, whatever their own
    priority, which orders them among themselves.
    """
    found: list[tuple[Table, Chain, Base]] = []
    for table in ruleset.tables:
        if table.dormant or table.family not in families(hook, universe):
            continue
        found += [
            (table, chain, chain.base)
            for chain in table.chains.values()
            if chain.base is not None and _attached(hook, hook_of(table, chain.base))
        ]
    numbered = sorted(enumerate(found), key=lambda item: (*_priority(item[1][2]), -item[0]))
    return [(table, chain) for _, (table, chain, _) in numbered]


def _attached(hook: Hook, to: list[Hook]) -> bool:
    # A chain whose device is not listed may stand at any device; the execution follows both ways.
    return hook in to or (hook.layer is Layer.NETDEV and Hook(hook.name, Layer.NETDEV) in to)


def _priority(base: Base) -> tuple[int, int, int]:
    if base.kind != "nat":
        return base.priority, 0, 0
    # nf_nat registers one hook of its own: NF_IP_PRI_NAT_DST or NF_IP_PRI_NAT_SRC.
    return (-100 if base.hook in ("prerouting", "output") else 100), 1, base.priority


def has_conntrack(hook: Hook, base: Base) -> bool:
    """Whether a chain sees the connection a packet belongs to, or comes before that is known."""
    if hook.layer is Layer.NETDEV and hook.name == "ingress":
        return False
    return not (hook.layer is Layer.IP and hook.name in ("prerouting", "output") and base.priority < CONNTRACK_PRIORITY)


def overrides(space: Space, hook: Hook, base: Base) -> Mapping[Bit, BDDFunction]:
    """What a chain reads differently because of where it stands: no output interface yet, no connection state yet."""
    bits: dict[Bit, BDDFunction] = {}
    if hook.name in ("prerouting", "input", "ingress"):
        bits |= _constant(space, OIFNAME, 0)
    if hook.name in ("output", "egress"):
        bits |= _constant(space, IIFNAME, 0)
    if not has_conntrack(hook, base):
        # A packet that comes back through the loopback interface still carries its connection; one that something
        # before has declared untracked stays so.
        loops = space.between(space.vector(IIFNAME), name_value("lo"), name_value("lo"))
        loops = loops | space.between(space.vector(CT_STATE), CtState.UNTRACKED, CtState.UNTRACKED)
        invalid = space.constant(CtState.INVALID, CT_STATE.width)
        for i, (bit, constant) in enumerate(zip(space.vector(CT_STATE), invalid, strict=True)):
            bits[CT_STATE.region, i] = loops.ite(bit, constant) if hook.name == "prerouting" else constant
    return bits


def _constant(space: Space, field: Field, value: int) -> dict[Bit, BDDFunction]:
    vector = space.constant(value, field.width)
    return {(field.region, field.offset + i): bit for i, bit in enumerate(vector)}


def possible(space: Space, hook: Hook) -> BDDFunction:
    """The packets that can exist at ``hook``: one connection state each, names that are names, and so on."""
    parts = [_states(space), _transport(space), _loopback(space)]
    if hook.name not in ("output", "egress"):
        parts.append(_proper_name(space, IIFNAME, required=True))
    if hook.name not in ("prerouting", "input", "ingress"):
        parts.append(_proper_name(space, OIFNAME, required=True))
    if hook.layer is Layer.IP and hook.name == "input" and space.universe is Universe.IP:
        # ip_local_deliver puts fragments together first: neither "more fragments" nor an offset is left.
        parts.append(space.between(space.vector(Field("nh", 50, 14)), 0, 0))
    if hook.layer is Layer.IP and hook.name in ("prerouting", "output"):
        # The first packet of a connection: nothing has been noted about the connection yet.
        new = space.between(space.vector(CT_STATE), CtState.NEW, CtState.NEW)
        parts.append(new.imp(space.between(space.vector(CT_STATUS), 0, 0)))
    result = space.true
    for part in reversed(parts):
        result = part & result
    return result


def _states(space: Space) -> BDDFunction:
    state, status = space.vector(CT_STATE), space.vector(CT_STATUS)
    one = space.union(space.between(state, value, value) for value in CtState.ALL)
    new = space.between(state, CtState.NEW, CtState.NEW)
    original = space.between(space.vector(CT_DIRECTION), 0, 0)
    direction = space.between(space.vector(CT_DIRECTION), 0, 1)
    fresh = original & ~space.any_bit(status, CtStatus.SEEN_REPLY)
    return one & direction & new.imp(fresh)


def _transport(space: Space) -> BDDFunction:
    if space.universe is Universe.IP:
        later = space.between(space.vector(LATER_FRAGMENT), 1, 1)
        return later.equiv(~space.between(space.vector(Field("nh", 51, 13)), 0, 0))
    if space.universe is Universe.IP6:
        number, first = space.vector(space.fields["l4proto"]), space.vector(space.fields["ip6 nexthdr"])
        headers = space.union(space.between(first, *interval) for interval in EXTENSION_HEADERS)
        return headers | space.equal(number, first)
    bare = space.between(space.vector(TRANSPORT), 0, 0) & space.between(space.vector(LATER_FRAGMENT), 0, 0)
    if space.universe is Universe.OTHER:
        # A frame of this type is in a universe of its own.
        bare = bare & ~space.union(space.between(space.vector(ETHER_TYPE), t, t) for t in ETHER_TYPES.values())
    return bare


def _loopback(space: Space) -> BDDFunction:
    loops = space.between(space.vector(IIFNAME), name_value("lo"), name_value("lo"))
    return loops.equiv(space.between(space.vector(IIFTYPE), LOOPBACK, LOOPBACK))


def _proper_name(space: Space, field: Field, *, required: bool) -> BDDFunction:
    vector = space.vector(field)
    size = NAME_BITS // 8
    parts = [vector[i * 8 : i * 8 + 8] for i in range(size)]
    ended = space.between(parts[-1], 0, 0)  # fifteen characters at most, then NUL
    result = ended
    for part in reversed(parts[:-1]):
        here = space.between(part, 1, 255)
        ended = space.between(part, 0, 0) & ended
        result = ended | (here & result)
    return result & space.between(parts[0], 1, 255) if required else result
