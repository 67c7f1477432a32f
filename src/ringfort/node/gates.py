"""A gateway host as its node has to know it: where it answers, and who it is to the instances. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from ringfort.environment.floating import held_by
from ringfort.environment.model import Address, Environment


@dataclass(frozen=True, slots=True)
class Gate:
    """A host of the gateway.

    Attributes:
        addresses: where it answers: its own, and those that float, whether it holds them now or not.
        tls_port, plain_port: under TLS, and in plain HTTP or 0.
        service: whose certificate it shows to instances; ``identity`` is the name in it.
    """

    addresses: tuple[Address, ...]
    tls_port: int
    plain_port: int
    service: str
    identity: str


def gate_of(environment: Environment, name: str) -> Gate | None:
    """What a host is as one of the gateway's; None if it is none."""
    gateway = environment.gateway
    if gateway is None or name not in environment.services[gateway.service].hosts:
        return None
    service = environment.services[gateway.service]
    plain = environment.services[gateway.plain].ports[0].first if gateway.plain else 0
    shared = [one for one in held_by(environment, name) if gateway.service in one.services]
    addresses = (*environment.hosts[name].addresses, *(address for one in shared for address in one.addresses))
    return Gate(addresses, service.ports[0].first, plain, service.name, service.identity)


def gate_to_json(gate: Gate | None) -> dict[str, Any] | None:
    """For the disk."""
    if gate is None:
        return None
    return {
        "addresses": [str(address) for address in gate.addresses],
        "tls-port": gate.tls_port,
        "plain-port": gate.plain_port,
        "service": gate.service,
        "identity": gate.identity,
    }


def gate_from_json(document: dict[str, Any] | None) -> Gate | None:
    """From the disk; raises ValueError, KeyError or TypeError for what is none."""
    if document is None:
        return None
    return Gate(
        tuple(ip_address(address) for address in document["addresses"]),
        int(document["tls-port"]),
        int(document["plain-port"]),
        str(document["service"]),
        str(document["identity"]),
    )
