"""Where nft's named payload fields lie: RFC 791, 8200, 9293, 768, 792, 4443, 826; what must hold to read them.

nft adds these conditions itself when a rule is loaded and hides them when it is listed (``tcp dport`` asks for
protocol 6 first), so they are added back here. Checked against ``nft --debug=netlink`` and the kernel's verdicts.
"""

from __future__ import annotations

from functools import cache

from ringfort.proof.fields import L4PROTO, LATER_FRAGMENT, TRANSPORT, Field, Universe
from ringfort.proof.ruleset import Condition, Read

Layout = dict[str, tuple[int, int, str]]
"""Field -> (first bit, width, datatype)."""

_ETHER: Layout = {
    "daddr": (0, 48, "ether_addr"),
    "saddr": (48, 48, "ether_addr"),
    "type": (96, 16, "ether_type"),
}
_IP: Layout = {
    "version": (0, 4, "integer"),
    "hdrlength": (4, 4, "integer"),
    "dscp": (8, 6, "dscp"),
    "ecn": (14, 2, "ecn"),
    "length": (16, 16, "integer"),
    "id": (32, 16, "integer"),
    "frag-off": (48, 16, "integer"),
    "ttl": (64, 8, "integer"),
    "protocol": (72, 8, "inet_proto"),
    "checksum": (80, 16, "integer"),
    "saddr": (96, 32, "ipv4_addr"),
    "daddr": (128, 32, "ipv4_addr"),
}
_IP6: Layout = {
    "version": (0, 4, "integer"),
    "dscp": (4, 6, "dscp"),
    "ecn": (10, 2, "ecn"),
    "flowlabel": (12, 20, "integer"),
    "length": (32, 16, "integer"),
    "nexthdr": (48, 8, "inet_proto"),
    "hoplimit": (56, 8, "integer"),
    "saddr": (64, 128, "ipv6_addr"),
    "daddr": (192, 128, "ipv6_addr"),
}
_ARP: Layout = {
    "htype": (0, 16, "integer"),
    "ptype": (16, 16, "ether_type"),
    "hlen": (32, 8, "integer"),
    "plen": (40, 8, "integer"),
    "operation": (48, 16, "arp_op"),
    "saddr ether": (64, 48, "ether_addr"),
    "saddr ip": (112, 32, "ipv4_addr"),
    "daddr ether": (144, 48, "ether_addr"),
    "daddr ip": (192, 32, "ipv4_addr"),
}
_PORTS: Layout = {"sport": (0, 16, "inet_service"), "dport": (16, 16, "inet_service")}
_TCP: Layout = _PORTS | {
    "sequence": (32, 32, "integer"),
    "ackseq": (64, 32, "integer"),
    "doff": (96, 4, "integer"),
    "reserved": (100, 4, "integer"),
    "flags": (104, 8, "tcp_flag"),
    "window": (112, 16, "integer"),
    "checksum": (128, 16, "integer"),
    "urgptr": (144, 16, "integer"),
}
_UDP: Layout = _PORTS | {"length": (32, 16, "integer"), "checksum": (48, 16, "integer")}
_UDPLITE: Layout = _PORTS | {"checksum": (48, 16, "integer")}
_SCTP: Layout = _PORTS | {"vtag": (32, 32, "integer"), "checksum": (64, 32, "integer")}
_DCCP: Layout = _PORTS
_ICMP: Layout = {
    "type": (0, 8, "icmp_type"),
    "code": (8, 8, "icmp_code"),
    "checksum": (16, 16, "integer"),
    "id": (32, 16, "integer"),
    "sequence": (48, 16, "integer"),
    "gateway": (32, 32, "integer"),
    "mtu": (48, 16, "integer"),
}
_ICMPV6: Layout = {
    "type": (0, 8, "icmpv6_type"),
    "code": (8, 8, "icmpv6_code"),
    "checksum": (16, 16, "integer"),
    "id": (32, 16, "integer"),
    "sequence": (48, 16, "integer"),
    "mtu": (32, 32, "integer"),
    "parameter-problem": (32, 32, "integer"),
}
_AH: Layout = {"nexthdr": (0, 8, "inet_proto"), "hdrlength": (8, 8, "integer"), "spi": (32, 32, "integer")}
_ESP: Layout = {"spi": (0, 32, "integer"), "sequence": (32, 32, "integer")}

_IP_UNIVERSES = frozenset({Universe.IP, Universe.IP6})
_HAS_TRANSPORT = Condition(TRANSPORT, ((1, 1),))
_WHOLE = Condition(LATER_FRAGMENT, ((0, 0),))

_TRANSPORTS: dict[str, tuple[int | None, Layout, frozenset[Universe]]] = {
    "th": (None, _PORTS, _IP_UNIVERSES),
    "tcp": (6, _TCP, _IP_UNIVERSES),
    "udp": (17, _UDP, _IP_UNIVERSES),
    "udplite": (136, _UDPLITE, _IP_UNIVERSES),
    "sctp": (132, _SCTP, _IP_UNIVERSES),
    "dccp": (33, _DCCP, _IP_UNIVERSES),
    "ah": (51, _AH, _IP_UNIVERSES),
    "esp": (50, _ESP, _IP_UNIVERSES),
    "icmp": (1, _ICMP, frozenset({Universe.IP})),
    "icmpv6": (58, _ICMPV6, frozenset({Universe.IP6})),
}
_NETWORKS: dict[str, tuple[Layout, Universe]] = {
    "ip": (_IP, Universe.IP),
    "ip6": (_IP6, Universe.IP6),
    "arp": (_ARP, Universe.ARP),
}
_ICMP_TYPES: dict[tuple[str, str], tuple[tuple[int, int], ...]] = {
    # nft asks for the message types that carry the field.
    ("icmp", "id"): ((0, 0), (8, 8)),
    ("icmp", "sequence"): ((0, 0), (8, 8)),
    ("icmp", "gateway"): ((5, 5),),
    ("icmp", "mtu"): ((3, 3),),
    ("icmpv6", "id"): ((128, 129),),
    ("icmpv6", "sequence"): ((128, 129),),
    ("icmpv6", "mtu"): ((2, 2),),
    ("icmpv6", "parameter-problem"): ((4, 4),),
}


@cache
def header_field(protocol: str, name: str) -> Read | None:
    """The field ``name`` of header ``protocol`` with its conditions; None if it is not known here.

    Link layer fields carry no condition: what they need differs by family (see `link_conditions`).
    """
    if protocol == "ether" and name in _ETHER:
        offset, width, kind = _ETHER[name]
        return Read(Field("ll", offset, width, f"ether {name}", kind))
    if protocol in _NETWORKS:
        layout, universe = _NETWORKS[protocol]
        if name not in layout:
            return None
        offset, width, kind = layout[name]
        return Read(Field("nh", offset, width, f"{protocol} {name}", kind), (), frozenset({universe}))
    if protocol in _TRANSPORTS:
        return _transport_field(protocol, name)
    return None


def _transport_field(protocol: str, name: str) -> Read | None:
    number, layout, universes = _TRANSPORTS[protocol]
    if name not in layout:
        return None
    offset, width, kind = layout[name]
    conditions = [_HAS_TRANSPORT]
    if number is not None:
        conditions.append(Condition(L4PROTO, ((number, number),)))
    types = _ICMP_TYPES.get((protocol, name))
    if types is not None:
        conditions.append(Condition(Field("th", 0, 8, f"{protocol} type", f"{protocol}_type"), types))
    return Read(Field("th", offset, width, f"{protocol} {name}", kind), tuple(conditions), universes)


def _is_fast(offset: int, width: int) -> bool:
    """Whether the kernel reads these bits on its fast way (nft_payload_select_ops), which ignores fragmentation."""
    first, last = offset // 8, (offset + width + 7) // 8
    size = last - first
    return size in (1, 2, 4) and first % size == 0


def raw_field(base: str, offset: int, width: int) -> Read | None:
    """``@nh,96,32`` and its like; None for a base that has no place here."""
    field = Field(base, offset, width, f"@{base},{offset},{width}")
    if base == "th":
        conditions = (_HAS_TRANSPORT,) if _is_fast(offset, width) else (_HAS_TRANSPORT, _WHOLE)
        return Read(field, conditions, _IP_UNIVERSES)
    if base in ("nh", "ll"):
        return Read(field)
    return None
