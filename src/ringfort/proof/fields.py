"""What a packet consists of: the fields a rule can read, as bit ranges of *regions*.

A region is a run of bits that exists once in a packet: the link, network and transport headers (``ll``, ``nh``,
``th``) and one region for each piece of metadata (``iifname``, ``mark``, ...). Fields are bit ranges of regions, so
two fields that overlap on the wire (an ICMP type and the high byte of a source port; a raw payload expression and the
address it covers) overlap here too, exactly as the kernel sees them.

Bits are numbered from the most significant, as on the wire (RFC 791, appendix B).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Universe(StrEnum):
    """The kinds of packets, each with its own variables: no packet is in two of them."""

    IP = "ip"
    IP6 = "ip6"
    ARP = "arp"
    OTHER = "other"  # any other Ethernet protocol; only the bridge and netdev families see it


@dataclass(frozen=True, slots=True)
class Field:
    """``width`` bits of ``region`` from bit ``offset``. ``name`` and ``kind`` (a datatype of nft) serve people only."""

    region: str
    offset: int
    width: int
    name: str = ""
    kind: str = "integer"

    @property
    def key(self) -> tuple[str, int, int]:
        """What identifies the bits, whatever the field is called."""
        return self.region, self.offset, self.width


EXTENSION_HEADERS = ((0, 0), (43, 44), (51, 51), (60, 60), (135, 135), (139, 140))
"""Protocol numbers that stand for an IPv6 extension header (IANA, as intervals)."""

NAME_BITS = 128
"""Interface names are IFNAMSIZ = 16 bytes, padded with NUL (linux/if.h); rules compare all of them."""

SPORT = Field("th", 0, 16, "sport", "inet_service")
DPORT = Field("th", 16, 16, "dport", "inet_service")
ICMP_TYPE = Field("th", 0, 8, "icmp type", "icmp_type")
ICMP_CODE = Field("th", 8, 8, "icmp code", "icmp_code")
ICMPV6_TYPE = Field("th", 0, 8, "icmpv6 type", "icmpv6_type")
TCP_FLAGS = Field("th", 104, 8, "tcp flags", "tcp_flag")
TRANSPORT = Field("transport", 0, 1, "transport header", "boolean")
"""1 when there are bytes where a transport header begins; 0 for a packet that is cut short."""

LATER_FRAGMENT = Field("later fragment", 0, 1, "later fragment", "boolean")
"""1 for a fragment other than the first. Mind that the kernel reads its payload as if it were a transport header:
nft_payload_fast_eval does not look at the offset. Where connections are tracked no fragment comes this far.
"""

IIFNAME = Field("iifname", 0, NAME_BITS, "iifname", "ifname")
OIFNAME = Field("oifname", 0, NAME_BITS, "oifname", "ifname")
IIFTYPE = Field("iiftype", 0, 16, "iiftype", "iface_type")
OIFTYPE = Field("oiftype", 0, 16, "oiftype", "iface_type")
CT_STATE = Field("ct state", 0, 7, "ct state", "ct_state")
CT_STATUS = Field("ct status", 0, 16, "ct status", "ct_status")
CT_MARK = Field("ct mark", 0, 32, "ct mark", "mark")
CT_DIRECTION = Field("ct direction", 0, 8, "ct direction", "ct_dir")
MARK = Field("mark", 0, 32, "meta mark", "mark")
PKTTYPE = Field("pkttype", 0, 8, "meta pkttype", "pkt_type")
ETHER_DADDR = Field("ll", 0, 48, "ether daddr", "ether_addr")
ETHER_SADDR = Field("ll", 48, 48, "ether saddr", "ether_addr")
ETHER_TYPE = Field("ll", 96, 16, "ether type", "ether_type")

L4PROTO = Field("l4proto", 0, 8, "l4proto", "inet_proto")
PROTOCOL = Field("protocol", 0, 16, "meta protocol", "ether_type")
NFPROTO = Field("nfproto", 0, 8, "meta nfproto", "nf_proto")

_IP = (
    Field("nh", 96, 32, "saddr", "ipv4_addr"),
    Field("nh", 128, 32, "daddr", "ipv4_addr"),
    L4PROTO,
    Field("nh", 48, 16, "ip frag-off", "integer"),
)
_IP6 = (
    Field("nh", 64, 128, "saddr", "ipv6_addr"),
    Field("nh", 192, 128, "daddr", "ipv6_addr"),
    L4PROTO,
    Field("nh", 48, 8, "ip6 nexthdr", "inet_proto"),
)
_ARP = (
    Field("nh", 112, 32, "saddr", "ipv4_addr"),
    Field("nh", 192, 32, "daddr", "ipv4_addr"),
    Field("nh", 48, 16, "arp operation", "arp_op"),
    Field("nh", 64, 48, "arp saddr ether", "ether_addr"),
    Field("nh", 144, 48, "arp daddr ether", "ether_addr"),
)
_TRANSPORTED = (SPORT, DPORT)
_COMMON = (
    TRANSPORT,
    LATER_FRAGMENT,
    IIFNAME,
    OIFNAME,
    CT_STATE,
    CT_STATUS,
    MARK,
    CT_MARK,
    CT_DIRECTION,
    PKTTYPE,
    IIFTYPE,
    OIFTYPE,
    ETHER_SADDR,
    ETHER_DADDR,
    TCP_FLAGS,
)

ORDER: dict[Universe, tuple[Field, ...]] = {
    Universe.IP: (*_IP[:2], *_TRANSPORTED, *_IP[2:], *_COMMON),
    Universe.IP6: (*_IP6[:2], *_TRANSPORTED, *_IP6[2:], *_COMMON),
    Universe.ARP: (*_ARP, *_COMMON),
    Universe.OTHER: (ETHER_TYPE, *_COMMON),
}
"""The fields whose bits are laid out first, in the order of the diagrams' variables (see docs/verify-ruleset.md)."""


def named(universe: Universe) -> dict[str, Field]:
    """The fields of ``universe`` that people name, by name (``saddr``, ``dport``, ``iifname``, ...)."""
    fields = {field.name: field for field in ORDER[universe]}
    if universe is Universe.IP:
        fields |= {"icmp type": ICMP_TYPE, "icmp code": ICMP_CODE}
    if universe is Universe.IP6:
        fields |= {"icmpv6 type": ICMPV6_TYPE, "icmpv6 code": ICMP_CODE}
    short = {"mark": MARK, "pkttype": PKTTYPE}
    return fields | short


ETHER_TYPES = {Universe.IP: 0x0800, Universe.IP6: 0x86DD, Universe.ARP: 0x0806}
"""The Ethernet protocol numbers of the universes that have one (IEEE 802 Numbers, IANA)."""

CONSTANT_BITS: dict[Universe, dict[tuple[str, int], tuple[int, int]]] = {
    # (region, offset) -> (width, value): bits that are the same in every packet of the universe.
    Universe.IP: {("nh", 0): (4, 4), ("ll", 96): (16, 0x0800), ("nfproto", 0): (8, 2)},
    Universe.IP6: {("nh", 0): (4, 6), ("ll", 96): (16, 0x86DD), ("nfproto", 0): (8, 10)},
    Universe.ARP: {("ll", 96): (16, 0x0806)},
    Universe.OTHER: {},
}


ALIASES: dict[Universe, dict[str, tuple[int, int, str, int]]] = {
    # region -> (first bit, width, region it really is, offset there): one thing under two names.
    universe: {"protocol": (0, 16, "ll", 96)} | ({"nh": (72, 8, "l4proto", 0)} if universe is Universe.IP else {})
    for universe in Universe
}


class CtState:
    """Conntrack states as the kernel's bits (NF_CT_STATE_BIT in nf_conntrack_common.h)."""

    INVALID = 1
    ESTABLISHED = 2
    RELATED = 4
    NEW = 8
    UNTRACKED = 64
    ALL = (INVALID, ESTABLISHED, RELATED, NEW, UNTRACKED)


class CtStatus:
    """Conntrack status bits (enum ip_conntrack_status)."""

    SEEN_REPLY = 2
    ASSURED = 4
    CONFIRMED = 8
    SNAT = 16
    DNAT = 32


def name_value(name: str) -> int:
    """An interface name as the number the kernel compares: its bytes, padded with NUL to 16."""
    return int.from_bytes(name.encode()[:16].ljust(16, b"\0"), "big")
