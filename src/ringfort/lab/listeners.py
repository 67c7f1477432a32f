"""What the lab's service process is told to open, as values that go to it as JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ringfort.environment.identity import IdentityCheck
from ringfort.environment.model import Environment, PortRange, Protocol
from ringfort.environment.topology import Device, DeviceKind
from ringfort.lab import authority, checks
from ringfort.lab.shapes import namespace_name

PORTS_OPENED_PER_RANGE = 64
"""Of a longer range the lab opens its first and its last half of these; the rules cover all of it."""


@dataclass(frozen=True, slots=True)
class Listener:
    """One service on one host. ``inode`` tells its namespace from a later one of the same name; ``keys`` is a file."""

    host: str
    namespace: str
    inode: int
    addresses: tuple[str, ...]
    check: IdentityCheck
    keys: str

    def to_json(self) -> dict[str, Any]:
        """As JSON; `from_json` gives it back."""
        return {
            "host": self.host,
            "namespace": self.namespace,
            "inode": self.inode,
            "addresses": list(self.addresses),
            "check": checks.to_json(self.check),
            "keys": self.keys,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Listener:
        """From its JSON."""
        check = checks.from_json(value["check"])
        addresses = tuple(value["addresses"])
        return cls(value["host"], value["namespace"], value["inode"], addresses, check, value["keys"])


def listeners(
    environment: Environment,
    identity_checks: Mapping[str, tuple[IdentityCheck, ...]],
    inodes: Mapping[str, int],
    keys: Path,
) -> tuple[Listener, ...]:
    """Every service on every host.

    Args:
        identity_checks: by host, what the compiler wants each service to check.
        inodes: of the hosts' namespaces, by namespace name.
        keys: the directory of the lab's keys.
    """
    found = []
    for host, host_checks in identity_checks.items():
        namespace = namespace_name(environment, Device(DeviceKind.HOST, host))
        addresses = tuple(str(address) for address in environment.hosts[host].addresses)
        for check in host_checks:
            file = authority.key_file(keys, authority.service_holder(check.service, host))
            found.append(Listener(host, namespace, inodes.get(namespace, 0), addresses, check, str(file)))
    return tuple(found)


def digest(wanted: tuple[Listener, ...], manifest: str) -> str:
    """What tells one configuration of the service process from another: its listeners and its certificates."""
    text = json.dumps([listener.to_json() for listener in wanted], sort_keys=True)
    return hashlib.sha256(f"{text}\0{manifest}".encode()).hexdigest()


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
