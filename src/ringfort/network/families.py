"""What differs between IPv4 and IPv6 in a ruleset."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network

from ringfort.environment.model import Address, Network


@dataclass(frozen=True, slots=True)
class Family:
    """nft's words for one address family."""

    version: int
    header: str
    address_type: str
    nfproto: str
    echo: str
    error_protocol: str

    def named(self, name: str) -> str:
        """The name of this family's set or map: ``flows`` is ``flows4`` or ``flows6``."""
        return f"{name}{self.version}"

    def networks(self, networks: Iterable[Network]) -> tuple[Network, ...]:
        """Those of this family, without overlaps, in order."""
        own = [network for network in networks if network.version == self.version]
        return tuple(_collapse(own))


IPV4 = Family(4, "ip", "ipv4_addr", "ipv4", "icmp", "icmp")
IPV6 = Family(6, "ip6", "ipv6_addr", "ipv6", "icmpv6", "ipv6-icmp")
FAMILIES = (IPV4, IPV6)


def families_of(values: Iterable[Address | Network]) -> tuple[Family, ...]:
    """The families that occur among addresses or networks, IPv4 first."""
    versions = {value.version for value in values}
    return tuple(family for family in FAMILIES if family.version in versions)


def single(address: Address) -> Network:
    """The network that holds this address alone."""
    return ip_network(address)


def _collapse(networks: list[Network]) -> Iterator[Network]:
    # collapse_addresses wants one family, which the caller has seen to.
    fours = [network for network in networks if isinstance(network, IPv4Network)]
    sixes = [network for network in networks if isinstance(network, IPv6Network)]
    yield from collapse_addresses(fours)
    yield from collapse_addresses(sixes)
