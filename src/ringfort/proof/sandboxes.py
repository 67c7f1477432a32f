"""Findings about sandboxes: what a guest that is taken over can send and no flow declares.

Depth counts owners between hosts. But a guest also meets what is no host - metadata addresses, addresses nobody has,
the router and the switch themselves - and there its sandbox is one of two mechanisms at most. So a sandbox is held to
its role: everything undeclared that it lets out is a finding, whoever refuses it next.
"""

from __future__ import annotations

from collections.abc import Iterator

from ringfort.environment.model import Environment, Host
from ringfort.environment.topology import device_of
from ringfort.proof.addresses import address_of, key_of
from ringfort.proof.boxes import RawBoxes, protocol_and_port
from ringfort.proof.findings import Finding, readable_service
from ringfort.proof.layers import SandboxLayer, Span, Triple, lacking, meet
from ringfort.proof.reading import Layers

WIDENED, SPOOFING, ITSELF = "sandbox-widened", "sandbox-spoofing", "sandbox-itself"
ROLES = frozenset({WIDENED, SPOOFING, ITSELF})


def sandbox_findings(environment: Environment, layers: Layers, declared: RawBoxes) -> Iterator[Finding]:
    """At most one of each kind for each sandbox."""
    sandboxes = [(host, layers.hosts[host.name]) for host in environment.hosts.values() if host.hypervisor]
    allowed: dict[int, list[Triple]] = {key_of(a): [] for host, _ in sandboxes for a in host.addresses}
    if not allowed:
        return
    for source, destination, service in declared.spans():
        if source[0] in allowed:
            allowed[source[0]].append((source, destination, service))
    for host, layer in sandboxes:
        if isinstance(layer, SandboxLayer):
            yield from _widened(environment, host, layer, allowed)
            yield from _foreign(environment, host, layer)
            yield from _itself(host, layer)


def _widened(
    environment: Environment, host: Host, layer: SandboxLayer, allowed: dict[int, list[Triple]]
) -> Iterator[Finding]:
    """The guest's own packets that it lets out and that no flow declares."""
    beyond: list[Triple] = []
    for triple in layer.outgoing:
        known = allowed[triple[0][0]]
        beyond += [] if triple in known else lacking(triple, known)
    if beyond:
        key, there, number = _example(environment, beyond)
        what = f"{'/'.join(map(str, protocol_and_port(number)))} to {address_of(there)}"
        note = f"{device_of(host)} lets its guest send {what}, which no flow declares"
        yield _finding(WIDENED, host, (key, there, number), _segment(environment, there), len(beyond), note)


def _foreign(environment: Environment, host: Host, layer: SandboxLayer) -> Iterator[Finding]:
    """Packets under an address that is not the guest's: its own for a foreign MAC address is no better."""
    if layer.foreign:
        source, destination, service = layer.foreign[0]
        neighbours = (environment.hosts[name] for name in environment.hosts_by_segment[host.segment])
        keys = [key_of(a) for other in neighbours if other is not host for a in other.addresses]
        key = next((k for k in keys if meet(source, (k, k))), source[0])
        there = _host_in(environment, destination, besides=key) or destination[0]
        note = f"{device_of(host)} lets its guest pass for {address_of(key)}"
        packet = key, there, readable_service(*service)
        yield _finding(SPOOFING, host, packet, _segment(environment, there), len(layer.foreign), note)


def _itself(host: Host, layer: SandboxLayer) -> Iterator[Finding]:
    if layer.own:
        note = f"{device_of(host)} accepts packets for itself; it serves nothing"
        yield Finding("closed", ITSELF, 0, 0, 0, "", host.segment, host.segment, len(layer.own), 0, note=note)


def _finding(kind: str, host: Host, packet: tuple[int, int, int], segment: str, count: int, note: str) -> Finding:
    source, destination, service = packet
    place = f"host:{host.name}"
    return Finding("depth", kind, source, destination, service, place, host.segment, segment, count, 1, note=note)


def _example(environment: Environment, beyond: list[Triple]) -> tuple[int, int, int]:
    """A packet that a person can picture: to a host if there is one, and the likes of TCP."""
    for source, destination, service in beyond:
        there = _host_in(environment, destination, besides=source[0])
        if there:
            return source[0], there, readable_service(*service)
    source, destination, service = beyond[0]
    return source[0], destination[0], readable_service(*service)


def _host_in(environment: Environment, span: Span, besides: int) -> int:
    """The address of a host in a range; 0 if none is."""
    keys = (key_of(a) for host in environment.hosts.values() for a in host.addresses)
    return next((key for key in keys if key != besides and meet(span, (key, key))), 0)


def _segment(environment: Environment, key: int) -> str:
    address = address_of(key)
    return next((host.segment for host in environment.hosts.values() if address in host.addresses), "no host")
