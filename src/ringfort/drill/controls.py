"""What a drill shows beside its matrix: scan detection, connection limits, and attacks that need real handshakes."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from ringfort.drill import calls
from ringfort.drill.attacks import CLOSED_TCP, Attack, Mark, Probe, outsider
from ringfort.drill.borrowed import BorrowedConnection, Ends, attempt
from ringfort.drill.calling import Caller
from ringfort.drill.calls import Call
from ringfort.drill.declaration import Place, PlaceKind
from ringfort.drill.frames import Kind
from ringfort.drill.result import Observation
from ringfort.drill.volley import Range
from ringfort.environment import topology
from ringfort.environment.model import Environment, Flow, Host, Protocol, Service, Tls
from ringfort.environment.topology import Device, DeviceKind
from ringfort.lab import authority, client
from ringfort.lab.lab import Lab
from ringfort.network import reasons

QUICK_SECONDS = 0.5
"""How long a call is waited for that should get no answer."""
MOST_CONNECTIONS = 5000
"""Larger connection limits are not tried."""

_ports = itertools.count(30000)


def identity_refusals(lab: Lab) -> Counter[tuple[str, str]]:
    """By (service, reason): how often identity checks have refused callers so far, as the services count it."""
    found: Counter[tuple[str, str]] = Counter()
    if not any(host.services for host in lab.environment.hosts.values()):
        return found
    for (service, _), counts in lab.service_counts().items():
        for reason, number in counts.items():
            if reason != "accepted":
                found[service, reason] += number
    return found


def observe(lab: Lab, firing: Range, caller: Caller) -> list[Observation]:
    """Scan detection and the connection limit at work."""
    found = [_scan(lab, firing, caller), _limit(lab, firing)]
    return [observation for observation in found if observation is not None]


# --- scan detection ------------------------------------------------------------------------------------------------


def _scan(lab: Lab, firing: Range, caller: Caller) -> Observation | None:
    """A declared caller scans its neighbours' ports; then its own declared flow is refused, until it is forgotten."""
    call = next((call for call in calls.declared_calls(lab.environment) if isinstance(call.place, Device)), None)
    if call is None or call.source is None or not isinstance(call.place, Device):
        return None
    attempts = lab.environment.scan_detection.attempts
    if attempts > MOST_CONNECTIONS:
        return None
    environment = lab.environment
    host = environment.hosts[call.place.name]
    firing.forget_scanners()
    before = firing.counted(host.site, reasons.SCANNER.name)
    firing.send([_closed(environment, host, call, number) for number in range(attempts + 6)])
    refused = not caller.make([call], seconds=QUICK_SECONDS)[0].admitted
    counted = firing.counted(host.site, reasons.SCANNER.name) - before
    firing.forget_scanners()
    works = caller.make([call])[0].admitted
    words = (
        f"{host.name} tried {attempts + 6} forbidden ports: its declared call to {call.receiver} was "
        f"{'refused' if refused else 'still admitted'}, the counter of scanners rose by {counted}, and once "
        f"forgotten it {'works' if works else 'does not work'} again"
    )
    return Observation("scan detection", refused and counted > 0 and works, words)


def _closed(environment: Environment, host: Host, call: Call, number: int) -> Probe:
    """An opening to a closed port of the call's receiver; a declared port is passed over."""
    assert call.source is not None
    port = 40000 + number if number >= len(CLOSED_TCP) else CLOSED_TCP[number]
    gateway = topology.gateway_mac(environment, host.segment)
    place = Place(PlaceKind.HOST, host.name)
    return Probe(
        Attack.HOST_UNDECLARED,
        place,
        "",
        call.source,
        host.mac,
        call.destination,
        gateway,
        Kind.TCP,
        port,
        call.receiver,
    )


# --- connection limit ----------------------------------------------------------------------------------------------


def _limit(lab: Lab, firing: Range) -> Observation | None:
    """One stranger opens more connections to a published service than one source may hold."""
    environment = lab.environment
    limit = environment.connection_limit.per_source
    entries = [entry for entry in environment.published if entry.port]
    entries.sort(key=lambda entry: environment.services[entry.service].protocol is not Protocol.UDP)
    if not entries or limit > MOST_CONNECTIONS:
        return None
    entry = entries[0]
    kind = Kind(environment.services[entry.service].protocol)
    mark = Mark(entry.address, kind, entry.port, entry.host)
    leg_mac = topology.mac_address(environment.name, "provider-leg", entry.provider)
    provider_mac = topology.provider_mac(environment, entry.provider)
    place = Place(PlaceKind.INTERNET, entry.provider)
    probe = Probe(
        Attack.INTERNET_CLOSED,
        place,
        "",
        outsider(mark, 0),
        provider_mac,
        entry.address,
        leg_mac,
        kind,
        entry.port,
        entry.host,
    )
    site = environment.providers[entry.provider].site
    firing.forget_scanners()
    before = firing.counted(site, reasons.CONNECTION_LIMIT.name)
    arrived = firing.send([probe] * (limit + 50))
    counted = firing.counted(site, reasons.CONNECTION_LIMIT.name) - before
    firing.forget_scanners()
    words = (
        f"a stranger opened {limit + 50} connections to {entry.service}: {arrived} arrived, "
        f"{counted} were refused over the limit of {limit}"
    )
    return Observation("connection limit", counted > 0 and arrived <= limit + 1, words)


# --- handshakes with borrowed addresses ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Attempt:
    """One TLS connection from a router with a borrowed source."""

    words: str
    admitted: bool
    detail: str
    service: str = ""


def borrowed_attempts(lab: Lab, router: str) -> Iterator[Attempt]:
    """From a router that has been taken over: as a declared caller, without a key, at every service that checks
    identities, in both families: on each host of its own site, and over the backbone on one host of each other site."""
    for service, flow in _mutual(lab.environment):
        for caller, receiver in _pairs(lab.environment, router, service, flow):
            yield from _borrow(lab, router, caller, receiver, service, "")


def two_failures(lab: Lab, router: str) -> Observation | None:
    """The control: a router taken over and a caller's stolen keys, two failures at once, do get in.

    If this did not succeed, the refusals of `borrowed_attempts` would prove nothing.
    """
    for service, flow in _mutual(lab.environment):
        for caller, receiver in _pairs(lab.environment, router, service, flow):
            found = next(_borrow(lab, router, caller, receiver, service, authority.holder_of(flow, caller)), None)
            if found is not None:
                words = f"{router} taken over, with the stolen keys of {caller}: {found.detail}; two failures are two"
                return Observation("control", found.admitted, words)
    return None


def _pairs(environment: Environment, router: str, service: Service, flow: Flow) -> Iterator[tuple[str, str]]:
    """A caller and a receiver: each host of the router's site, and the first of each other site if a backbone leads
    there; the other site's router believes only callers of this site."""
    site = environment.routers[router].site
    others: set[str] = set()
    for receiver in service.hosts:
        target = environment.hosts[receiver].site
        if target != site and (target in others or environment.backbone is None):
            continue
        callers = [caller for caller in flow.callers if caller != receiver]
        if target != site:
            callers = [caller for caller in callers if environment.hosts[caller].site == site]
        if callers:
            others.add(target)
            yield callers[0], receiver


def _mutual(environment: Environment) -> Iterator[tuple[Service, Flow]]:
    """Each service that checks identities, with its first flow."""
    seen: set[str] = set()
    for flow in environment.flows.values():
        service = environment.services[flow.service]
        if service.tls is Tls.MUTUAL and flow.callers and service.name not in seen:
            seen.add(service.name)
            yield service, flow


def _borrow(lab: Lab, router: str, caller: str, receiver: str, service: Service, holder: str) -> Iterator[Attempt]:
    environment = lab.environment
    source, target = environment.hosts[caller], environment.hosts[receiver]
    leg, next_mac = _way(environment, router, target)
    context = client.context(lab.keys, holder)
    port = service.ports[0].first
    for destination in target.addresses:
        own = next((address for address in source.addresses if address.version == destination.version), None)
        if own is None:
            continue
        ends = Ends(own, destination, next(_ports), port, leg.mac, next_mac)
        with BorrowedConnection(lab, Device(DeviceKind.ROUTER, router), leg.interface, ends) as connection:
            admitted, detail = attempt(connection, context, client.opening(environment, service.name))
        yield Attempt(
            f"{own} -> {destination} tcp/{port} ({service.name}) with TLS from router:{router}",
            admitted,
            detail,
            service.name,
        )


def _way(environment: Environment, router: str, target: Host) -> tuple[topology.Leg, str]:
    """The leg by which a router sends to a host, and the MAC address of the next hop."""
    site = environment.routers[router].site
    peer = target.segment if target.site == site else topology.BACKBONE
    mac = target.mac if target.site == site else topology.backbone_mac(environment, target.site)
    return next(leg for leg in topology.legs(environment, site) if leg.peer == peer), mac
