"""What the file declares and what the services check, as boxes: the yardstick, made from the environment alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ringfort.environment.identity import IdentityCheck
from ringfort.environment.model import Environment, Flow, Held, Host, PortRange, Protocol, Tls
from ringfort.environment.topology import internal_networks
from ringfort.proof.addresses import FAMILIES, key_of, key_range
from ringfort.proof.boxes import Layer, RawBoxes, service_ranges
from ringfort.proof.layers import beyond
from ringfort.proof.sweep import MUTUAL, PUBLIC

Span = tuple[int, int]


def declared_boxes(environment: Environment) -> RawBoxes:
    """Every packet that a flow covers and that has to get through: (caller's own address, receiver, service).

    For flows from the internet only what is published has to; the rest of what such a flow covers is declared all the
    same (`public_services`), but no way leads there.
    """
    boxes = RawBoxes()
    for flow in environment.flows.values():
        if not flow.internet:
            _add_flow(environment, flow, boxes)
    outside = {4: outside_ranges(environment, 4), 6: outside_ranges(environment, 6)}
    for published in environment.published:
        version = published.address.version
        service = environment.services[published.service]
        ports = (PortRange(published.target_port, published.target_port),)
        for address in environment.hosts[published.host].addresses:
            if address.version == version:
                there = (key_of(address), key_of(address))
                for span in service_ranges(service.protocol, ports, version):
                    for source in outside[version]:
                        boxes.add(Layer.DECLARED, source, there, span, -1)
    return boxes


def _add_flow(environment: Environment, flow: Flow, boxes: RawBoxes) -> None:
    service = environment.services[flow.service]
    spans = {version: service_ranges(service.protocol, service.ports, version) for version in (4, 6)}
    callers = [environment.hosts[name] for name in flow.callers]
    for name in service.hosts:
        for there in environment.hosts[name].addresses:
            end = (key_of(there), key_of(there))
            for caller in callers:
                if caller.name != name:
                    for here in caller.addresses:
                        if here.version == there.version:
                            key = key_of(here)
                            for span in spans[there.version]:
                                boxes.add(Layer.DECLARED, (key, key), end, span, -1)


def identity_boxes(environment: Environment, checks: Mapping[str, Sequence[IdentityCheck]]) -> RawBoxes:
    """What the services' checks accept: from whom, at his own address, with keys that are his."""
    boxes = RawBoxes()
    holders = identity_holders(environment)
    for host in environment.hosts.values():
        for check in checks.get(host.name, ()):
            if check.tls is Tls.MUTUAL:
                callers = sorted({holder for caller in check.callers for holder in holders.get(caller, ())})
                _add_check(environment, host, check, callers, boxes)
    return boxes


def _add_check(
    environment: Environment, host: Host, check: IdentityCheck, callers: Iterable[str], boxes: RawBoxes
) -> None:
    for there in host.addresses:
        end = (key_of(there), key_of(there))
        spans = service_ranges(check.protocol, check.ports, there.version)
        for caller in callers:
            for here in environment.hosts[caller].addresses:
                if here.version == there.version:
                    key = key_of(here)
                    for span in spans:
                        boxes.add(Layer.IDENTITY, (key, key), end, span, -1)


def identity_holders(environment: Environment) -> dict[str, tuple[str, ...]]:
    """SPIFFE name -> hosts that hold its keys: the host itself, every host that serves the service, every host from
    which the operator calls. Nobody has keys in the name of floating addresses."""
    holders: dict[str, list[str]] = {}
    floating = {host.name for host in environment.hosts.values() if isinstance(host, Held)}
    for host in environment.hosts.values():
        if host.name not in floating:
            holders.setdefault(host.identity, []).append(host.name)
    for service in environment.services.values():
        holders.setdefault(service.identity, []).extend(name for name in service.hosts if name not in floating)
    for flow in environment.flows.values():
        if flow.operators:
            for identity in flow.identities:
                holders.setdefault(identity, []).extend(flow.callers)
    return {identity: tuple(dict.fromkeys(names)) for identity, names in holders.items()}


def receiver_services(
    environment: Environment, checks: Mapping[str, Sequence[IdentityCheck]]
) -> dict[str, list[tuple[int, int, int]]]:
    """Host -> ranges of services that ask for the caller's keys (as really enforced) or that the internet may call."""
    services: dict[str, list[tuple[int, int, int]]] = {}
    for name, host_checks in checks.items():
        spans = {mutual: [s for c in host_checks if (c.tls is Tls.MUTUAL) is mutual for s in _both(c.protocol, c.ports)]
                 for mutual in (True, False)}  # fmt: skip
        # Two programs at one port: which of them answers is not known, so the check can't be counted on.
        checked = [part for span in spans[True] for part in beyond(span, spans[False])]
        services.setdefault(name, []).extend((*span, MUTUAL) for span in checked)
    for flow in environment.flows.values():
        if flow.internet:
            service = environment.services[flow.service]
            for name in service.hosts:
                services.setdefault(name, []).extend((*s, PUBLIC) for s in _both(service.protocol, service.ports))
    return services


def _both(protocol: Protocol, ports: tuple[PortRange, ...]) -> list[Span]:
    return sorted({*service_ranges(protocol, ports, 4), *service_ranges(protocol, ports, 6)})


def outside_ranges(environment: Environment, version: int) -> list[Span]:
    """The sources that may be true on the internet: not inside, not a bogon. As ranges of keys, ascending."""
    taken = sorted(key_range(n) for n in (*environment.bogons, *internal_networks(environment)) if n.version == version)
    first, last = FAMILIES[version == 6]
    ranges = []
    for low, high in taken:
        if low > first:
            ranges.append((first, low - 1))
        first = max(first, high + 1)
    if first <= last:
        ranges.append((first, last))
    return ranges
