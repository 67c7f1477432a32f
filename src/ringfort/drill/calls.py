"""Calls as values: every declared flow to be really used, and the calls with stolen keys that must be refused. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ringfort.environment.model import Address, Environment, Flow, Host, Protocol, Service, Tls
from ringfort.environment.topology import Device, DeviceKind
from ringfort.lab import authority, plan

VISITOR = plan.VISITOR


@dataclass(frozen=True, slots=True)
class Call:
    """One connection to a service.

    Attributes:
        place: the caller: a host, or the lab's visitor.
        source: the address to call from; None where the kernel chooses.
        receiver: the host that serves it, whose name must be in the answer.
        holder: whose key is shown (`ringfort.lab.authority`); empty for nobody's.
    """

    flow: str
    place: Device | str
    source: Address | None
    destination: Address
    port: int
    service: Service
    receiver: str
    holder: str = ""

    def __str__(self) -> str:
        where = self.place if isinstance(self.place, str) else self.place.name
        port = f"/{self.port}" if self.port else ""
        return f"{where} to {self.receiver} at {self.destination} {self.service.protocol}{port} ({self.flow})"


def declared_calls(environment: Environment, *, sample: bool = False) -> Iterator[Call]:
    """Every declared flow: each caller to each receiver, in each family, on the first and last port of each range.

    Args:
        sample: one caller and one receiver of each flow and family only.
    """
    for flow in environment.flows.values():
        calls = _published(environment, flow) if flow.internet else _inside(environment, flow)
        yield from _sample(calls) if sample else calls


def played(calls: Iterable[Call], occupied: Mapping[str, frozenset[int]]) -> tuple[list[Call], dict[str, set[int]]]:
    """The calls that the lab's own services answer; and by place, the ports that were left out because a customer's
    instance has them: it greets nobody in the lab's words.

    Args:
        occupied: place -> the ports of the instance that is there.
    """
    kept: list[Call] = []
    left: dict[str, set[int]] = {}
    for call in calls:
        if call.port in occupied.get(call.receiver, frozenset()):
            left.setdefault(call.receiver, set()).add(call.port)
        else:
            kept.append(call)
    return kept, left


def _sample(calls: Iterator[Call]) -> Iterator[Call]:
    seen: set[int] = set()
    for call in calls:
        if call.destination.version not in seen:
            seen.add(call.destination.version)
            yield call


def _published(environment: Environment, flow: Flow) -> Iterator[Call]:
    service = environment.services[flow.service]
    for entry in environment.published:
        if entry.service == flow.service:
            yield Call(flow.name, VISITOR, None, entry.address, entry.port, service, entry.host)


def _inside(environment: Environment, flow: Flow) -> Iterator[Call]:
    service = environment.services[flow.service]
    for caller in flow.callers:
        for receiver in service.hosts:
            if receiver != caller:
                hosts = environment.hosts[caller], environment.hosts[receiver]
                yield from _between(
                    flow, *hosts, service, authority.holder_of(flow, caller) if service.tls is Tls.MUTUAL else ""
                )


def _between(flow: Flow, caller: Host, receiver: Host, service: Service, holder: str) -> Iterator[Call]:
    place = Device(DeviceKind.HOST, caller.name)
    for destination in receiver.addresses:
        source = next((address for address in caller.addresses if address.version == destination.version), None)
        if source is None:
            continue
        for port in ports_to_try(service):
            yield Call(flow.name, place, source, destination, port, service, receiver.name, holder)


def ports_to_try(service: Service) -> tuple[int, ...]:
    """The first and last port of each of a service's ranges; 0 for ICMP."""
    if service.protocol is Protocol.ICMP:
        return (0,)
    return tuple(dict.fromkeys(port for ports in service.ports for port in (ports.first, ports.last)))


def stolen_calls(environment: Environment, victim: str) -> Iterator[Call]:
    """Calls with the keys of ``victim`` from other hosts, which the network lets through because they may call too.

    From every other place the network refuses already, whatever the keys; that is among the other attacks. Every key
    that the victim holds is tried, at the services it opens and, where it opens none, at any other.
    """
    useless = True
    for flow in environment.flows.values():
        service = environment.services[flow.service]
        if victim in flow.callers and service.tls is Tls.MUTUAL:
            for call in _from_thief(environment, service, victim, authority.holder_of(flow, victim)):
                useless = False
                yield call
    if useless:
        for service in environment.services.values():
            calls = (
                []
                if service.tls is not Tls.MUTUAL
                else _from_thief(environment, service, victim, authority.host_holder(victim))
            )
            found = next(iter(calls), None)
            if found is not None:
                yield found
                return


def _from_thief(environment: Environment, service: Service, victim: str, holder: str) -> Iterator[Call]:
    """One call for each family by the first other host that may call the service."""
    for flow in environment.flows.values():
        if flow.service != service.name:
            continue
        for thief in flow.callers:
            receivers = [name for name in service.hosts if name not in (thief, victim)]
            if thief != victim and receivers:
                hosts = environment.hosts[thief], environment.hosts[receivers[0]]
                yield from _sample(_between(flow, *hosts, service, holder))
                return
