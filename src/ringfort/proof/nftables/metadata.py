"""What nft calls ``meta``, ``ct`` and ``fib``: what the kernel knows about a packet beside its bytes."""

from __future__ import annotations

from ringfort.proof.fields import (
    CT_DIRECTION,
    CT_MARK,
    CT_STATE,
    CT_STATUS,
    IIFNAME,
    IIFTYPE,
    L4PROTO,
    MARK,
    NAME_BITS,
    NFPROTO,
    OIFNAME,
    OIFTYPE,
    PKTTYPE,
    PROTOCOL,
    CtState,
    Field,
    Universe,
)
from ringfort.proof.ruleset import Condition, Doubt, Read

_IP_UNIVERSES = frozenset({Universe.IP, Universe.IP6})
_SOME_NAME = ((1, (1 << NAME_BITS) - 1),)
HAS_INPUT = Condition(IIFNAME, _SOME_NAME)
HAS_OUTPUT = Condition(OIFNAME, _SOME_NAME)
TRACKED = Condition(CT_STATE, ((CtState.ESTABLISHED, CtState.NEW),))
"""There is a conntrack entry: the state is established, related or new (nft_ct_get_eval breaks the rule otherwise)."""


def _index(field: Field) -> Field:
    return Field(field.region, field.offset, field.width, field.name.removesuffix("name"), "iface_index")


def _plain(key: str, width: int, kind: str = "integer") -> Field:
    return Field(f"meta {key}", 0, width, f"meta {key}", kind)


def _present(key: str) -> tuple[Condition, ...]:
    return (Condition(Field(f"meta {key} known", 0, 1, f"meta {key} known", "boolean"), ((1, 1),)),)


_META: dict[str, Read] = {
    "length": Read(_plain("length", 32)),
    "protocol": Read(PROTOCOL),
    "l4proto": Read(L4PROTO, (), _IP_UNIVERSES),
    "mark": Read(MARK),
    "priority": Read(_plain("priority", 32, "classid")),
    "iif": Read(_index(IIFNAME)),
    "iifname": Read(IIFNAME),
    "iiftype": Read(IIFTYPE, (HAS_INPUT,)),
    "iifgroup": Read(_plain("iifgroup", 32, "devgroup"), (HAS_INPUT,)),
    "oif": Read(_index(OIFNAME)),
    "oifname": Read(OIFNAME),
    "oiftype": Read(OIFTYPE, (HAS_OUTPUT,)),
    "oifgroup": Read(_plain("oifgroup", 32, "devgroup"), (HAS_OUTPUT,)),
    "pkttype": Read(PKTTYPE),
    "cpu": Read(_plain("cpu", 32)),
    "ipsec": Read(_plain("ipsec", 8, "boolean")),
    "secpath": Read(_plain("ipsec", 8, "boolean")),
    "skuid": Read(_plain("skuid", 32, "uid"), _present("skuid")),
    "skgid": Read(_plain("skgid", 32, "gid"), _present("skgid")),
    "cgroup": Read(_plain("cgroup", 32, "cgroup"), _present("cgroup")),
    "rtclassid": Read(_plain("rtclassid", 32, "realm"), _present("rtclassid")),
    "ibrname": Read(_plain("ibrname", NAME_BITS, "ifname"), _present("ibrname")),
    "ibridgename": Read(_plain("ibrname", NAME_BITS, "ifname"), _present("ibrname")),
    "obrname": Read(_plain("obrname", NAME_BITS, "ifname"), _present("obrname")),
    "obridgename": Read(_plain("obrname", NAME_BITS, "ifname"), _present("obrname")),
}

_META_STATE = {
    "random": "chance decides",
    "hour": "the time of day decides",
    "day": "the day of the week decides",
    "time": "the clock decides",
    "nftrace": "tracing decides",
}

_FAMILY_NUMBERS = {"bridge": 7, "netdev": 5, "arp": 3}
"""NFPROTO_* of families whose rules see it as ``meta nfproto`` (uapi/linux/netfilter.h)."""

_CT: dict[str, Read] = {
    "state": Read(CT_STATE),
    "status": Read(CT_STATUS, (TRACKED,)),
    "mark": Read(CT_MARK, (TRACKED,)),
    "direction": Read(CT_DIRECTION, (TRACKED,)),
    "zone": Read(Field("ct zone", 0, 16, "ct zone"), (TRACKED,)),
    "id": Read(Field("ct id", 0, 32, "ct id", "ct_id"), (TRACKED,)),
}

_CT_STATE = {
    "expiration": "the connection's age decides",
    "bytes": "the connection's traffic decides",
    "packets": "the connection's traffic decides",
    "avgpkt": "the connection's traffic decides",
}

_CT_TUPLE = {
    "ip saddr": (32, "ipv4_addr", frozenset({Universe.IP})),
    "ip daddr": (32, "ipv4_addr", frozenset({Universe.IP})),
    "ip6 saddr": (128, "ipv6_addr", frozenset({Universe.IP6})),
    "ip6 daddr": (128, "ipv6_addr", frozenset({Universe.IP6})),
    "proto-src": (16, "inet_service", _IP_UNIVERSES),
    "proto-dst": (16, "inet_service", _IP_UNIVERSES),
    "protocol": (8, "inet_proto", _IP_UNIVERSES),
}

Reading = Read | tuple[Doubt, str]
"""A field, or why there is none."""


def meta(key: str, family: str) -> Reading:
    """``meta KEY`` in a table of ``family``."""
    if key == "nfproto":
        return Read(NFPROTO) if family not in _FAMILY_NUMBERS else (Doubt.UNKNOWN, f"meta nfproto in family {family}")
    if key in _META:
        return _META[key]
    if key in _META_STATE:
        return Doubt.STATE, _META_STATE[key]
    return Doubt.UNKNOWN, f"meta {key} is not known here"


def ct(key: str, direction: str) -> Reading:
    """``ct [DIRECTION] KEY``."""
    if key in _CT_STATE:
        return Doubt.STATE, _CT_STATE[key]
    if not direction and key in _CT:
        return _CT[key]
    if direction in ("original", "reply") and key in _CT_TUPLE:
        width, kind, universes = _CT_TUPLE[key]
        name = f"ct {direction} {key}"
        return Read(Field(name, 0, width, name, kind), (TRACKED,), universes)
    return Doubt.UNKNOWN, f"ct {direction} {key}".replace("  ", " ") + " is not known here"


def fib(result: str, flags: tuple[str, ...]) -> Reading:
    """``fib FLAGS RESULT``: a field of its own, since the routing table is not part of a ruleset."""
    name = f"fib {' . '.join(flags)} {'oif' if result == 'oifname' else result}"
    if result == "type":
        return Read(Field(name, 0, 8, name, "fib_addrtype"), (), _IP_UNIVERSES)
    if result in ("oif", "oifname"):
        return Read(Field(name, 0, NAME_BITS, name, "ifname"), (), _IP_UNIVERSES)
    return Doubt.UNKNOWN, f"fib result {result} is not known here"
