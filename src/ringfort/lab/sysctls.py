"""Kernel settings of the lab's namespaces, as (path under /proc/sys, value)."""

from __future__ import annotations

COMMON = (
    # Nothing is configured by what arrives on the wire.
    ("net/ipv6/conf/default/accept_ra", "0"),
    ("net/ipv6/conf/default/accept_redirects", "0"),
    ("net/ipv4/conf/all/accept_redirects", "0"),
    ("net/ipv4/conf/default/accept_redirects", "0"),
    ("net/ipv4/conf/all/send_redirects", "0"),
    ("net/ipv4/conf/default/send_redirects", "0"),
    # No link-local address and no duplicate address detection: neighbours are permanent entries.
    ("net/ipv6/conf/default/addr_gen_mode", "1"),
    ("net/ipv6/conf/default/accept_dad", "0"),
    ("net/ipv6/conf/default/dad_transmits", "0"),
    # Source addresses are judged by the rules, which are proved, and by nothing else.
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
    ("net/ipv4/conf/all/arp_ignore", "1"),
    ("net/ipv4/conf/all/arp_announce", "2"),
    # An address that goes takes no other one of its network with it.
    ("net/ipv4/conf/all/promote_secondaries", "1"),
)
FORWARDING = (("net/ipv4/ip_forward", "1"), ("net/ipv6/conf/all/forwarding", "1"))
NO_FORWARDING = (("net/ipv4/ip_forward", "0"), ("net/ipv6/conf/all/forwarding", "0"))
NO_ADDRESSES = (
    ("net/ipv6/conf/all/disable_ipv6", "1"),
    ("net/ipv6/conf/default/disable_ipv6", "1"),
    # A bridge's frames are judged by the bridge family; br_netfilter must not show them to another one.
    ("net/bridge/bridge-nf-call-iptables", "0"),
    ("net/bridge/bridge-nf-call-ip6tables", "0"),
    ("net/bridge/bridge-nf-call-arptables", "0"),
)
STATEFUL = (
    # A connection begins with its first packet: what turns up in its middle is invalid, not new.
    ("net/netfilter/nf_conntrack_tcp_loose", "0"),
)
ANY_SOURCE = (("net/ipv4/ip_nonlocal_bind", "1"), ("net/ipv6/ip_nonlocal_bind", "1"))
