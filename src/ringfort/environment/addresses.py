"""Giving addresses to hosts: those written down, and for the others the next free ones.

Hosts are served in the order of the file, each with the lowest address of its segment that nobody before it holds. So
a host that is added never renumbers one that comes earlier; an address written down for a later host that an earlier
one already holds is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network

from ringfort.environment.model import Address, Network


@dataclass(slots=True)
class Pool:
    """The addresses of one network. ``holders`` maps each address given to whom it was given."""

    network: Network
    holders: dict[Address, str] = field(default_factory=dict)
    _next: int = 2  # number 1 is the gateway's

    @property
    def last(self) -> int:
        """The number of the last address a host may have: in IPv4 the highest one is the broadcast address."""
        return self.network.num_addresses - (2 if isinstance(self.network, IPv4Network) else 1)

    def take(self, holder: str) -> Address | None:
        """The lowest free address, given to ``holder``; None when there is none left."""
        while self._next <= self.last:
            address = self.network.network_address + self._next
            self._next += 1
            if address not in self.holders:
                self.holders[address] = holder
                return address
        return None

    def free(self) -> Address | None:
        """An address that is free now, for a hint."""
        number = self._next
        while number <= self.last:
            address = self.network.network_address + number
            if address not in self.holders:
                return address
            number += 1
        return None

    def reserved(self, address: Address) -> str:
        """Why no host may have ``address`` although it lies in the network; empty when one may."""
        number = int(address) - int(self.network.network_address)
        if number == 0:
            return "the network's own address"
        if number == 1:
            return "the gateway's address"
        return "the broadcast address" if number > self.last else ""


def pool_of(pools: Sequence[Pool], address: Address) -> Pool | None:
    """The pool whose network holds ``address``."""
    return next((pool for pool in pools if address in pool.network), None)
