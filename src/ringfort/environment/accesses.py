"""What one environment allows and another one does not.

Only flows that differ are looked at communication by communication, so that a small change of a large environment is
compared in time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ringfort.environment.flows import INTERNET, Communication, communications_of
from ringfort.environment.model import Environment, Flow, PortRange, Protocol


@dataclass(frozen=True, slots=True, order=True)
class Access:
    """One caller that may open connections to ``ports`` of one target in one address family.

    ``caller`` is empty when it is the internet; ``ports`` is empty for icmp.
    """

    caller: str
    target: str
    family: int
    protocol: Protocol
    ports: tuple[PortRange, ...]


@dataclass(frozen=True, slots=True)
class FlowAccesses:
    """The accesses that a flow adds, and what it says: its source and service."""

    flow: str
    source: str
    service: str
    accesses: tuple[Access, ...]


class Allowed:
    """Answers which ports an environment lets a caller open at a target."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._flows: dict[str, list[Flow]] = {}
        self._callers: dict[str, frozenset[str]] = {}
        for flow in environment.flows.values():
            self._flows.setdefault(flow.service, []).append(flow)
        self._published = {(item.service, item.host, item.address.version) for item in environment.published}

    def ports(self, caller: str, target: str, family: int, protocol: Protocol) -> tuple[PortRange, ...] | None:
        """The ports, merged; None when nothing is allowed, empty for icmp that is."""
        found: list[PortRange] = []
        allowed = False
        host = self._environment.hosts.get(target)
        if host is None or not self._speaks(target, family) or (caller and not self._speaks(caller, family)):
            return None
        for name in host.services:
            service = self._environment.services[name]
            if service.protocol is protocol and self._may_call(caller, target, family, name):
                allowed = True
                found.extend(service.ports)
        return merged(found) if allowed else None

    def _speaks(self, name: str, family: int) -> bool:
        host = self._environment.hosts.get(name)
        return host is not None and any(address.version == family for address in host.addresses)

    def _may_call(self, caller: str, target: str, family: int, service: str) -> bool:
        flows = self._flows.get(service, ())
        if caller == INTERNET:
            return (service, target, family) in self._published and any(flow.internet for flow in flows)
        return caller != target and any(caller in self._callers_of(flow) for flow in flows)

    def _callers_of(self, flow: Flow) -> frozenset[str]:
        if flow.name not in self._callers:
            self._callers[flow.name] = frozenset(flow.callers)
        return self._callers[flow.name]


def gained(before: Environment, after: Environment) -> tuple[FlowAccesses, ...]:
    """What ``after`` allows and ``before`` does not, by the flow of ``after`` that allows it first."""
    allowed = Allowed(before)
    told: dict[tuple[str, str, int, Protocol], tuple[PortRange, ...]] = {}
    result = []
    for flow in after.flows.values():
        if _same_meaning(before, after, flow):
            continue
        accesses = tuple(_new(communications_of(after, flow), allowed, told))
        if accesses:
            result.append(FlowAccesses(flow.name, flow.source, flow.service, accesses))
    return tuple(result)


def _new(
    candidates: Iterable[Communication],
    allowed: Allowed,
    told: dict[tuple[str, str, int, Protocol], tuple[PortRange, ...]],
) -> Iterator[Access]:
    for item in candidates:
        key = (item.caller, item.target, item.family, item.protocol)
        known = allowed.ports(*key)
        if item.protocol is Protocol.ICMP:
            if known is None and key not in told:
                told[key] = ()
                yield Access(*key, ())
            continue
        earlier = told.get(key, ())
        ports = without(item.ports, (*(known or ()), *earlier))
        if ports:
            told[key] = (*earlier, *ports)
            yield Access(*key, ports)


def _same_meaning(before: Environment, after: Environment, flow: Flow) -> bool:
    """True when the flow of the same name allowed exactly the same before."""
    old = before.flows.get(flow.name)
    if old is None or old.service != flow.service or old.internet != flow.internet or old.callers != flow.callers:
        return False
    service, other = after.services[flow.service], before.services[flow.service]
    if (service.protocol, service.ports, service.hosts) != (other.protocol, other.ports, other.hosts):
        return False
    if flow.internet and _published(before, flow.service) != _published(after, flow.service):
        return False
    return all(_families(before, name) == _families(after, name) for name in {*flow.callers, *service.hosts})


def _families(environment: Environment, host: str) -> set[int]:
    return {address.version for address in environment.hosts[host].addresses}


def _published(environment: Environment, service: str) -> set[tuple[str, int]]:
    return {(item.host, item.address.version) for item in environment.published if item.service == service}


def merged(ranges: Iterable[PortRange]) -> tuple[PortRange, ...]:
    """The same ports in as few ranges as possible, in order."""
    result: list[PortRange] = []
    for item in sorted(ranges):
        if result and item.first <= result[-1].last + 1:
            result[-1] = PortRange(result[-1].first, max(result[-1].last, item.last))
        else:
            result.append(item)
    return tuple(result)


def without(ranges: Iterable[PortRange], removed: Iterable[PortRange]) -> tuple[PortRange, ...]:
    """The ports of ``ranges`` that are in none of ``removed``, merged."""
    result = list(merged(ranges))
    for gone in removed:
        remaining = []
        for item in result:
            if item.first < gone.first:
                remaining.append(PortRange(item.first, min(item.last, gone.first - 1)))
            if item.last > gone.last:
                remaining.append(PortRange(max(item.first, gone.last + 1), item.last))
        result = remaining
    return tuple(result)
