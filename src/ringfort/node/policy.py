"""What one machine has to enforce under one revision: compiled, complete, readable without the environment. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from ringfort.environment.identity import IdentityCheck
from ringfort.environment.model import Address, Environment, PortRange, Protocol, Tls
from ringfort.environment.topology import Device, DeviceKind, devices_by_machine
from ringfort.network.canonical import canonical
from ringfort.network.closed import closed_table
from ringfort.network.compile import Compiler
from ringfort.network.identity import guarded, identity_checks
from ringfort.network.nft import Json
from ringfort.network.render import render
from ringfort.network.sysctl import sysctl_settings
from ringfort.network.table import TABLE
from ringfort.node.floats import Float, floats_of
from ringfort.node.gates import Gate, gate_from_json, gate_of, gate_to_json
from ringfort.node.journal import CLOSED, Revision

FORM = "ringfort-policy-4"


@dataclass(frozen=True, slots=True)
class Guard:
    """The enforcement point in front of a host's services.

    Attributes:
        checks: what it asks of each service's callers.
        identities: service -> the SPIFFE name that it answers with.
        addresses: the host's, where its services are reached.
    """

    checks: tuple[IdentityCheck, ...]
    identities: Mapping[str, str]
    addresses: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """What one device has to hold.

    Attributes:
        device: which.
        title: in words, whose rules these are.
        document: its table, as libnftables JSON.
        digest: of the canonical form of ``document``: what `digest` gives for what the kernel lists.
        sysctls: key -> value, in the order in which to set them.
        guard: the enforcement point in front of a host's services; None where nothing is under TLS.
        gate: what a host is as one of the gateway's; None if it is none.
        customer: of a sandbox: whose instances may run behind it.
        floats: the floating addresses that a host may hold.
    """

    device: Device
    title: str
    document: Json
    digest: str
    sysctls: Mapping[str, str]
    guard: Guard | None = None
    gate: Gate | None = None
    customer: str = ""
    floats: tuple[Float, ...] = ()

    @property
    def text(self) -> str:
        """The rules as text for nft: one transaction that replaces the table wholly or not at all."""
        return render(self.document, self.title)


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything that a machine has to enforce. ``signers`` are the approvers of the environment it comes from."""

    revision: Revision
    trust_domain: str
    signers: tuple[str, ...]
    parts: tuple[Part, ...]

    @property
    def guards(self) -> dict[str, Guard]:
        """Host -> the enforcement point in front of its services."""
        return {part.device.name: part.guard for part in self.parts if part.guard is not None}

    @property
    def gates(self) -> dict[str, Gate]:
        """Host -> what it is as one of the gateway's, of those that are."""
        return {part.device.name: part.gate for part in self.parts if part.gate is not None}

    @property
    def floats(self) -> dict[str, tuple[Float, ...]]:
        """Host -> the floating addresses that it may hold, of those that may."""
        return {part.device.name: part.floats for part in self.parts if part.floats}

    @property
    def owners(self) -> dict[str, str]:
        """Place of this machine's hypervisors -> the customer whose instances may run there."""
        return {part.device.name: part.customer for part in self.parts if part.customer}

    def part(self, device: str) -> Part:
        """The part of a device, by its name in words (``host:web``)."""
        return next(part for part in self.parts if str(part.device) == device)


def table_of(device: Device) -> tuple[str, str]:
    """Family and name of the table that a device holds."""
    return ("bridge" if device.kind is DeviceKind.SWITCH else "inet"), TABLE


def digest(document: Json) -> str:
    """SHA-256 (hexadecimal) of what a ruleset means: one for a compiled ruleset and for what the kernel lists of it."""
    text = json.dumps(canonical(document), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def compile_policy(
    environment: Environment, version: int, machine: str, signers: Iterable[str] = (), absent: Policy | None = None
) -> Policy:
    """What ``machine`` - its name, or that of the host on it where its node runs - has to enforce of an environment.

    A device of ``absent`` that the environment does not know, or does not see on this machine, holds what it says
    there, rather than nothing.
    """
    host = environment.hosts.get(machine)
    machine = machine if host is None else host.machine
    compiler = Compiler(environment)
    checks = identity_checks(environment)
    parts = []
    for device in devices_by_machine(environment).get(machine, ()):
        ruleset = compiler.device(device)
        own = checks[device.name] if device.kind is DeviceKind.HOST else ()
        settings, guard = sysctl_settings(environment, device), _guard(environment, device.name, own)
        gate = gate_of(environment, device.name) if device.kind is DeviceKind.HOST else None
        customer = environment.hosts[device.name].customer if device.kind is DeviceKind.SANDBOX else ""
        floats = floats_of(environment, device.name) if device.kind is DeviceKind.HOST else ()
        document, own_digest = ruleset.document, digest(ruleset.document)
        parts.append(Part(device, ruleset.title, document, own_digest, settings, guard, gate, customer, floats))
    held = {part.device for part in parts}
    parts += [part for part in absent.parts if part.device not in held] if absent is not None else []
    return _policy(version, environment.trust_domain, tuple(signers), tuple(parts))


def _guard(environment: Environment, host: str, checks: tuple[IdentityCheck, ...]) -> Guard | None:
    own = guarded(environment, checks)
    if not own:
        return None
    identities = {check.service: environment.services[check.service].identity for check in own}
    return Guard(own, identities, environment.hosts[host].addresses)


def closed_policy(devices: Iterable[Device], controllers: Iterable[tuple[Address, int]]) -> Policy:
    """What devices hold before the first environment: nothing passes but the way to the controllers."""
    known = tuple(controllers)
    parts = []
    for device in devices:
        document = closed_table(table_of(device)[0], known)
        title = "nothing but the way to the controllers"
        parts.append(Part(device, title, document, digest(document), {}))
    return Policy(CLOSED, "", (), tuple(parts))


def _policy(version: int, trust_domain: str, signers: tuple[str, ...], parts: tuple[Part, ...]) -> Policy:
    whole = [
        [
            str(part.device), part.digest, dict(part.sysctls), _guard_to_json(part.guard), gate_to_json(part.gate),
            part.customer, [one.to_json() for one in part.floats],
        ]
        for part in parts
    ]  # fmt: skip
    text = json.dumps(whole, sort_keys=True, separators=(",", ":"))
    revision = Revision(version, hashlib.sha256(text.encode()).hexdigest())
    return Policy(revision, trust_domain, signers, parts)


# --- as text -------------------------------------------------------------------------------------------------------


def to_bytes(policy: Policy) -> bytes:
    """The policy as text for the disk."""
    document = {
        "form": FORM,
        "version": policy.revision.version,
        "digest": policy.revision.digest,
        "trust-domain": policy.trust_domain,
        "signers": list(policy.signers),
        "parts": [_part_to_json(part) for part in policy.parts],
    }
    return json.dumps(document, separators=(",", ":")).encode()


def from_bytes(text: bytes) -> Policy:
    """The policy whose text this is.

    Raises:
        ValueError: (or KeyError, TypeError) it is none, or not what its digest says.
    """
    document = json.loads(text)
    if document["form"] != FORM:
        raise ValueError("another form")
    parts = tuple(_part_from_json(part) for part in document["parts"])
    policy = _policy(int(document["version"]), str(document["trust-domain"]), tuple(document["signers"]), parts)
    if policy.revision.digest != document["digest"] or any(part.digest != digest(part.document) for part in parts):
        raise ValueError("not what its digest says")
    return policy


def _part_to_json(part: Part) -> dict[str, Any]:
    return {
        "kind": part.device.kind,
        "name": part.device.name,
        "title": part.title,
        "document": part.document,
        "digest": part.digest,
        "sysctls": dict(part.sysctls),
        "guard": _guard_to_json(part.guard),
        "gate": gate_to_json(part.gate),
        "customer": part.customer,
        "floats": [one.to_json() for one in part.floats],
    }


def _part_from_json(document: dict[str, Any]) -> Part:
    return Part(
        Device(DeviceKind(document["kind"]), str(document["name"])),
        str(document["title"]),
        document["document"],
        str(document["digest"]),
        dict(document["sysctls"]),
        _guard_from_json(document["guard"]),
        gate_from_json(document["gate"]),
        str(document["customer"]),
        tuple(Float.from_json(one) for one in document["floats"]),
    )


def _guard_to_json(guard: Guard | None) -> dict[str, Any] | None:
    if guard is None:
        return None
    return {
        "checks": _checks_to_json(guard.checks),
        "identities": dict(guard.identities),
        "addresses": [str(address) for address in guard.addresses],
    }


def _guard_from_json(document: dict[str, Any] | None) -> Guard | None:
    if document is None:
        return None
    return Guard(
        tuple(_check_from_json(check) for check in document["checks"]),
        {str(service): str(identity) for service, identity in document["identities"].items()},
        tuple(ip_address(address) for address in document["addresses"]),
    )


def _checks_to_json(checks: Iterable[IdentityCheck]) -> list[dict[str, Any]]:
    return [
        {
            "service": check.service,
            "protocol": check.protocol,
            "ports": [[ports.first, ports.last] for ports in check.ports],
            "tls": check.tls,
            "callers": sorted(check.callers),
        }
        for check in checks
    ]


def _check_from_json(document: dict[str, Any]) -> IdentityCheck:
    return IdentityCheck(
        str(document["service"]),
        Protocol(document["protocol"]),
        tuple(PortRange(first, last) for first, last in document["ports"]),
        Tls(document["tls"]),
        frozenset(map(str, document["callers"])),
    )
