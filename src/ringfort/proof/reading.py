"""All devices of an environment, read: rulesets, layers, and the boxes the engine asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from ringfort.environment.identity import IdentityCheck
from ringfort.environment.model import Environment
from ringfort.environment.topology import Device, DeviceKind, device_of
from ringfort.errors import RingfortError
from ringfort.proof.addresses import FAMILIES, IPV6_BASE, key_of
from ringfort.proof.boxes import ECHO_REQUEST, TCP, UDP, Layer, RawBoxes
from ringfort.proof.declared import identity_boxes, receiver_services
from ringfort.proof.engine import Facts
from ringfort.proof.expand import NotPlainError
from ringfort.proof.layers import HostLayer, RouterLayer, SwitchLayer, Triple, covers
from ringfort.proof.read_host import HostReader
from ringfort.proof.read_router import RouterReader
from ringfort.proof.read_sandbox import SandboxReader
from ringfort.proof.read_switch import SwitchReader
from ringfort.proof.reader import read
from ringfort.proof.ruleset import Ruleset
from ringfort.proof.structure import Executions, same_rules
from ringfort.proof.surroundings import surroundings

Checks = Mapping[str, Sequence[IdentityCheck]]

Doing = Callable[[Sequence[Callable[[], "Layers"]]], "list[Layers]"]
"""Does jobs that don't depend on each other, and gives their results in order."""


def one_by_one(jobs: Sequence[Callable[[], Layers]]) -> list[Layers]:
    """Do jobs one after the other."""
    return [job() for job in jobs]


@dataclass(slots=True)
class Layers:
    """What every device's rules say. ``different``: site -> its routers, without one whose rules equal another's;
    ``hosts``: of every host what guards it, an instance's sandbox included.

    ``executions``: how many were made to read what was read last, of all devices.
    """

    rulesets: dict[Device, Ruleset]
    hosts: dict[str, HostLayer] = field(default_factory=dict)
    routers: dict[str, RouterLayer] = field(default_factory=dict)
    switches: dict[str, SwitchLayer] = field(default_factory=dict)
    different: dict[str, list[str]] = field(default_factory=dict)
    executions: int = 0

    def replaced(self, environment: Environment, documents: Mapping[Device, object]) -> Layers:
        """The layers after some devices' rules changed; the others are not read again."""
        rulesets = self.rulesets | read_rulesets(tuple(documents), documents)
        changed = Layers(rulesets, dict(self.hosts), dict(self.routers), dict(self.switches), dict(self.different))
        _read_layers(environment, changed, set(documents))
        return changed


def read_rulesets(devices: Sequence[Device], documents: Mapping[Device, object]) -> dict[Device, Ruleset]:
    """Parse every device's document.

    Raises:
        RingfortError: a device has none (``ruleset-missing``), or it cannot be read.
    """
    rulesets = {}
    for device in devices:
        if device not in documents:
            raise RingfortError("ruleset-missing", f"no ruleset of {device} is at hand", "run `ringfort up` first")
        rulesets[device] = read(documents[device])
    return rulesets


def read_layers(
    environment: Environment, devices: Sequence[Device], documents: Mapping[Device, object], do: Doing = one_by_one
) -> Layers:
    """Read all devices.

    Args:
        do: does independent jobs, maybe several at once.
    """
    layers = Layers(read_rulesets(devices, documents))
    _read_layers(environment, layers, set(devices), do)
    return layers


def read_parts(environment: Environment, layers: Layers, hosts: set[Device], segments: set[str]) -> Layers:
    """The layers with what some devices guard and some segments' switches read again, by this environment."""
    found = Layers(layers.rulesets, dict(layers.hosts), layers.routers, dict(layers.switches), layers.different)
    _read_hosts(environment, hosts, found)
    _read_switches(environment, {Device(DeviceKind.SWITCH, key) for key in segments}, found)
    return found


def _read_layers(environment: Environment, layers: Layers, devices: set[Device], do: Doing = one_by_one) -> None:
    """Read some devices into ``layers``. A job is what shares executions; a site's routers take longest."""
    jobs: list[Callable[[], Layers]] = [
        partial(_part, layers, partial(_read_site, environment, site))
        for site, found in environment.sites.items()
        if any(Device(DeviceKind.ROUTER, name) in devices for name in found.routers)
    ]
    jobs.append(partial(_part, layers, partial(_read_hosts, environment, devices)))
    jobs.append(partial(_part, layers, partial(_read_switches, environment, devices)))
    for part in do(jobs):
        layers.hosts |= part.hosts
        layers.switches |= part.switches
        layers.routers |= part.routers
        layers.different |= part.different
        layers.executions += part.executions


def _part(layers: Layers, fill: Callable[[Layers], None]) -> Layers:
    """The layers of some devices; their rulesets, which everybody has, are left out."""
    part = Layers(layers.rulesets)
    fill(part)
    part.rulesets = {}
    return part


def _read_switches(environment: Environment, devices: set[Device], layers: Layers) -> None:
    switches = SwitchReader(environment)
    for key in environment.segments:
        device = Device(DeviceKind.SWITCH, key)
        if device in devices:
            try:
                layers.switches[key] = switches.read(key, layers.rulesets[device])
            except NotPlainError:
                reader = SwitchReader(environment, Executions(opaque=False))
                layers.switches[key] = reader.read(key, layers.rulesets[device])
                layers.executions += reader.executions.count
    layers.executions += switches.executions.count


def _read_hosts(environment: Environment, devices: set[Device], layers: Layers) -> None:
    """What guards each host: its own firewall, or an instance's sandbox."""
    shared, alone = Executions(), Executions(opaque=False)
    readers: dict[DeviceKind, tuple[HostReader | SandboxReader, HostReader | SandboxReader]] = {
        DeviceKind.HOST: (HostReader(environment, shared), HostReader(environment, alone)),
        DeviceKind.SANDBOX: (SandboxReader(environment, shared), SandboxReader(environment, alone)),
    }
    for host in environment.hosts.values():
        device = device_of(host)
        if device in devices:
            reader, exact = readers[device.kind]
            try:
                layers.hosts[host.name] = reader.read(host, layers.rulesets[device])
            except NotPlainError:
                layers.hosts[host.name] = exact.read(host, layers.rulesets[device])
    layers.executions += shared.count + alone.count


def _read_site(environment: Environment, site: str, layers: Layers) -> None:
    """A site's routers; rules that are the same are read once."""
    around = surroundings(environment, site)
    different: list[str] = []
    for name in environment.sites[site].routers:
        ruleset = layers.rulesets[Device(DeviceKind.ROUTER, name)]
        twin = next((n for n in different if same_rules(layers.rulesets[Device(DeviceKind.ROUTER, n)], ruleset)), None)
        if twin is not None:
            layers.routers[name] = layers.routers[twin]
            continue
        different.append(name)
        reader = RouterReader(environment, around)
        try:
            layers.routers[name] = reader.read(environment.routers[name], ruleset)
        except NotPlainError:
            layers.executions += reader.executions.count
            reader = RouterReader(environment, around, Executions(opaque=False))
            layers.routers[name] = reader.read(environment.routers[name], ruleset)
        layers.executions += reader.executions.count
    layers.different[site] = different


def boxes_of(environment: Environment, layers: Layers, checks: Checks, declared: RawBoxes) -> RawBoxes:
    """Every layer's boxes, and what is declared."""
    raw = RawBoxes()
    raw.extend(declared)
    raw.extend(identity_boxes(environment, checks))
    numbers = {name: number for number, name in enumerate(environment.routers)}
    for names in layers.different.values():
        for name in names:
            for triple in layers.routers[name].forwarded:
                raw.add(Layer.ROUTER, *triple, numbers[name])
    for layer in layers.hosts.values():
        for triple in layer.incoming:
            raw.add(Layer.HOST_IN, *triple, -1)
        for triple in layer.outgoing:
            raw.add(Layer.HOST_OUT, *triple, -1)
    return raw


def facts_of(environment: Environment, layers: Layers, checks: Checks) -> Facts:
    """What is known besides boxes. A port that lets through a part is taken for one that lets through all."""
    unsent, undelivered = set(), set()
    for host in environment.hosts.values():
        switch = layers.switches[host.segment]
        if not switch.sent.get(host.name):
            unsent.add(host.name)
        if not switch.delivered.get(host.name):
            undelivered.add(host.name)
    return Facts(receiver_services(environment, checks), layers.different, frozenset(unsent), frozenset(undelivered))


def partial_gates(environment: Environment, layers: Layers) -> dict[int, list[list[Triple]]]:
    """Key of a host's address -> boxes that its packets have to lie in besides, where a port lets through a part.

    Also where a host accepts from its neighbours what it refuses from its gateway.
    """
    gates: dict[int, list[list[Triple]]] = {}
    for host in environment.hosts.values():
        switch = layers.switches[host.segment]
        for address in host.addresses:
            key = key_of(address)
            family = FAMILIES[key >= IPV6_BASE]
            for triples, sending in ((switch.sent.get(host.name), True), (switch.delivered.get(host.name), False)):
                wide = [_whole(key, family, service, sending=sending) for service in _usual(address.version)]
                if triples and not all(covers(triples, one) for one in wide):
                    gates.setdefault(key, []).append(triples)
    return gates


def _whole(key: int, family: tuple[int, int], service: tuple[int, int], *, sending: bool) -> Triple:
    return ((key, key), family, service) if sending else (family, (key, key), service)


def _usual(version: int) -> list[tuple[int, int]]:
    protocol, kind = ECHO_REQUEST[version]
    echo = protocol << 16 | kind << 8
    return [(TCP << 16, TCP << 16 | 0xFFFF), (UDP << 16, UDP << 16 | 0xFFFF), (echo, echo | 255)]
