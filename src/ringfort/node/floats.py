"""Floating addresses as the node of a host that may hold them has to know them. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ringfort.environment.floating import held_by, interface_of, signs_of
from ringfort.environment.model import Environment, Floating

INNER = "169.254.112.{}"
"""Hosts' addresses where signs of life come and go: inside each host only, so they may be anywhere (RFC 3927)."""

FIRST_PRIORITY, STEP = 250, 5


@dataclass(frozen=True, slots=True)
class Float:
    """Floating addresses that one host may hold.

    Attributes:
        interface: where they are put; ``signs``: the interface of signs of life, with this host's address ``inner``.
        addresses: of either family, IPv4 first.
        own: the host's own address, from which it calls the ``others``: their inner and their own addresses.
        service, port, identity: of the service that carries signs of life, at each of the hosts.
        priority: the highest takes them when nobody has them.
        is_gate: whether the host is one of the gateway's, which has to serve before it may hold them.
    """

    name: str
    host: str
    interface: str
    signs: str
    addresses: tuple[str, ...]
    inner: str
    own: str
    others: tuple[tuple[str, str], ...]
    service: str
    port: int
    identity: str
    priority: int
    is_gate: bool

    def to_json(self) -> dict[str, Any]:
        """For the disk."""
        return {**asdict(self), "addresses": list(self.addresses), "others": [list(pair) for pair in self.others]}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Float:
        """From the disk; raises ValueError, KeyError or TypeError for what is none."""
        addresses = tuple(map(str, document["addresses"]))
        others = tuple((str(inner), str(address)) for inner, address in document["others"])
        return cls(**{**document, "addresses": addresses, "others": others})


def floats_of(environment: Environment, host: str) -> tuple[Float, ...]:
    """The floating addresses that a host may hold."""
    return tuple(_float(environment, one, host) for one in held_by(environment, host))


def _float(environment: Environment, floating: Floating, host: str) -> Float:
    own = environment.hosts[host].addresses[0]
    number = floating.hosts.index(host)
    others = tuple(
        (INNER.format(i + 1), str(address))
        for i, name in enumerate(floating.hosts)
        for address in environment.hosts[name].addresses
        if name != host and address.version == own.version
    )
    signs, gateway = environment.services[floating.signs], environment.gateway
    return Float(
        floating.name,
        host,
        interface_of(floating),
        signs_of(floating),
        tuple(str(address) for address in sorted(floating.addresses, key=lambda address: address.version)),
        INNER.format(number + 1),
        str(own),
        others,
        signs.name,
        signs.ports[0].first,
        signs.identity,
        max(1, FIRST_PRIORITY - STEP * number),
        gateway is not None and host in environment.services[gateway.service].hosts,
    )
