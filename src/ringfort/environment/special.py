"""Networks with a special purpose, and what is private. Sources beside each."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network

from ringfort.environment.model import Network

PRIVATE: tuple[Network, ...] = tuple(
    ip_network(text)
    for text in (
        "10.0.0.0/8",  # RFC 1918, 3
        "172.16.0.0/12",
        "192.168.0.0/16",
        "fc00::/7",  # RFC 4193, 3.1
    )
)
"""Where everything inside lives."""

SPECIAL: tuple[Network, ...] = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",  # RFC 6890, tables 1 to 16
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # RFC 5771: multicast is never a source
        "240.0.0.0/4",
        "::/96",  # RFC 6890, tables 17 and 18, and RFC 4291, 2.5.5.1
        "::ffff:0:0/96",
        "64:ff9b:1::/48",  # RFC 8215
        "100::/64",
        "2001:2::/48",
        "2001:10::/28",
        "2001:db8::/32",
        "3fff::/20",  # RFC 9637
        "5f00::/16",  # RFC 9602
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",  # RFC 3879
        "ff00::/8",  # RFC 4291, 2.7
    )
)
"""Networks that never are a true source on the internet: RFC 6890 and what the registries of IANA added since."""

NEVER_A_SOURCE: tuple[Network, ...] = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "224.0.0.0/4",
        "255.255.255.255/32",
        "::/127",
        "::ffff:0:0/96",
        "fe80::/10",
        "ff00::/8",
    )
)
"""Networks that no environment may except: no machine elsewhere can have such an address."""


def within(inner: Network, outer: Network) -> bool:
    """True when ``inner`` lies inside ``outer``; never across families."""
    if isinstance(inner, IPv4Network):
        return isinstance(outer, IPv4Network) and inner.subnet_of(outer)
    return isinstance(outer, IPv6Network) and inner.subnet_of(outer)


def is_private(network: Network) -> bool:
    """True when all of ``network`` is private (RFC 1918, RFC 4193)."""
    return any(within(network, private) for private in PRIVATE)


def overlap(one: Network, other: Network) -> bool:
    """True when the two share an address."""
    return one.version == other.version and one.overlaps(other)


def bogons(excepted: Iterable[Network]) -> tuple[Network, ...]:
    """`SPECIAL` less the networks ``excepted``, in the order of the addresses, IPv4 first."""
    remaining = list(SPECIAL)
    for exception in excepted:
        remaining = [piece for network in remaining for piece in _without(network, exception)]
    v4 = sorted(network for network in remaining if isinstance(network, IPv4Network))
    v6 = sorted(network for network in remaining if isinstance(network, IPv6Network))
    return (*v4, *v6)


def _without(network: Network, exception: Network) -> list[Network]:
    if within(network, exception):
        return []
    if isinstance(network, IPv4Network) and isinstance(exception, IPv4Network) and exception.subnet_of(network):
        return list(network.address_exclude(exception))
    if isinstance(network, IPv6Network) and isinstance(exception, IPv6Network) and exception.subnet_of(network):
        return list(network.address_exclude(exception))
    return [network]
