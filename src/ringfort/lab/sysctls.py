"""Kernel settings of the lab's namespaces, keys as sysctl(8) takes them.

A device has those that its rules rely on (`ringfort.network.sysctl`), and its node keeps them. They are set before
there is any interface, so that each begins with the defaults. What is no device - the internet, its guests, the
backbone - has settings of its own.
"""

from __future__ import annotations

from ringfort.environment.model import Environment
from ringfort.environment.topology import Device
from ringfort.network.sysctl import sysctl_settings

Settings = tuple[tuple[str, str], ...]

EVERYWHERE: Settings = (
    # Neighbours are permanent entries: no address has to be tried first.
    ("net.ipv6.conf.default.dad_transmits", "0"),
    # An address that goes takes no other one of its network with it.
    ("net.ipv4.conf.all.promote_secondaries", "1"),
)

OUTSIDE: Settings = (
    *EVERYWHERE,
    # Nothing is configured by what arrives on the wire.
    ("net.ipv6.conf.default.accept_ra", "0"),
    ("net.ipv6.conf.default.accept_redirects", "0"),
    ("net.ipv4.conf.all.accept_redirects", "0"),
    ("net.ipv4.conf.default.accept_redirects", "0"),
    ("net.ipv4.conf.all.send_redirects", "0"),
    ("net.ipv4.conf.default.send_redirects", "0"),
    # No link-local address.
    ("net.ipv6.conf.default.addr_gen_mode", "1"),
    ("net.ipv6.conf.default.accept_dad", "0"),
    # It is the worst internet there is: any source passes.
    ("net.ipv4.conf.all.rp_filter", "0"),
    ("net.ipv4.conf.default.rp_filter", "0"),
    ("net.ipv4.conf.all.arp_ignore", "1"),
    ("net.ipv4.conf.all.arp_announce", "2"),
)
FORWARDING: Settings = (("net.ipv4.ip_forward", "1"), ("net.ipv6.conf.all.forwarding", "1"))
NO_FORWARDING: Settings = (("net.ipv4.ip_forward", "0"), ("net.ipv6.conf.all.forwarding", "0"))
NO_ADDRESSES: Settings = (
    ("net.ipv6.conf.all.disable_ipv6", "1"),
    ("net.ipv6.conf.default.disable_ipv6", "1"),
    # A bridge's frames are judged by the bridge family; br_netfilter must not show them to another one.
    ("net.bridge.bridge-nf-call-iptables", "0"),
    ("net.bridge.bridge-nf-call-ip6tables", "0"),
    ("net.bridge.bridge-nf-call-arptables", "0"),
)
ANY_SOURCE: Settings = (("net.ipv4.ip_nonlocal_bind", "1"), ("net.ipv6.ip_nonlocal_bind", "1"))


def of_device(environment: Environment, device: Device) -> Settings:
    """The settings of a device before it has any interface."""
    settings = sysctl_settings(environment, device)
    return (*((key, value) for key, value in settings.items() if _is_general(key)), *EVERYWHERE)


def _is_general(key: str) -> bool:
    """Whether a setting is of no interface in particular."""
    return ".conf." not in key or key.split(".")[3] in ("all", "default")
