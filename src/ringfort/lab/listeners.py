"""What the lab's service process is told to open, as values that go to it as JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ringfort.environment.floating import held_by
from ringfort.environment.identity import IdentityCheck
from ringfort.environment.model import Environment, PortRange, Protocol, Tls
from ringfort.environment.topology import Device, DeviceKind
from ringfort.gateway.haproxy import LOOPBACK, check_from_json, check_to_json
from ringfort.lab.shapes import namespace_name

PORTS_OPENED_PER_RANGE = 64
"""Of a longer range the lab opens its first and its last half of these; the rules cover all of it."""


@dataclass(frozen=True, slots=True)
class Listener:
    """One service on one host. ``inode`` tells its namespace from a later one of the same name.

    A service under TLS stands behind the host's enforcement point and listens on loopback only.
    """

    host: str
    namespace: str
    inode: int
    addresses: tuple[str, ...]
    check: IdentityCheck

    @property
    def is_behind(self) -> bool:
        """Whether the enforcement point is in front of it."""
        return self.check.tls is not Tls.NONE

    def to_json(self) -> dict[str, Any]:
        """As JSON; `from_json` gives it back."""
        return {
            "host": self.host,
            "namespace": self.namespace,
            "inode": self.inode,
            "addresses": list(self.addresses),
            "check": check_to_json(self.check),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Listener:
        """From its JSON."""
        check = check_from_json(value["check"], value["check"]["callers"])
        return cls(value["host"], value["namespace"], value["inode"], tuple(value["addresses"]), check)


def listeners(
    environment: Environment,
    identity_checks: Mapping[str, tuple[IdentityCheck, ...]],
    inodes: Mapping[str, int],
) -> tuple[Listener, ...]:
    """Every service on every host.

    Args:
        identity_checks: by host, what the compiler wants each service to check.
        inodes: of the hosts' namespaces, by namespace name.
    """
    found = []
    for host, host_checks in identity_checks.items():
        namespace = namespace_name(environment, Device(DeviceKind.HOST, host))
        addresses = tuple(str(address) for address in environment.hosts[host].addresses)
        for check in host_checks:
            floating = (one for one in held_by(environment, host) if check.service in one.services)
            held = (str(address) for one in floating for address in one.addresses)
            own = (*addresses, *held) if check.tls is Tls.NONE else (LOOPBACK,)
            # Who may call is the enforcement point's to know: another list there restarts no service.
            found.append(Listener(host, namespace, inodes.get(namespace, 0), own, replace(check, callers=frozenset())))
    return tuple(found)


def digest(wanted: tuple[Listener, ...]) -> str:
    """What tells one configuration of the service process from another."""
    text = json.dumps([listener.to_json() for listener in wanted], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def opened_ports(check: IdentityCheck) -> Iterator[int]:
    """The ports that are really opened for a check; none for ICMP, which the kernel answers."""
    if check.protocol is Protocol.ICMP:
        return
    for ports in check.ports:
        yield from _opened(ports)


def _opened(ports: PortRange) -> Iterator[int]:
    half = PORTS_OPENED_PER_RANGE // 2
    if ports.last - ports.first < PORTS_OPENED_PER_RANGE:
        yield from range(ports.first, ports.last + 1)
    else:
        yield from range(ports.first, ports.first + half)
        yield from range(ports.last - half + 1, ports.last + 1)
