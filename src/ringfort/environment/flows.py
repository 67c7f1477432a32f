"""The communications that an environment declares, host by host. Pure; for people and for differences.

The compiler and the proof derive their own, so that a fault here is not a fault of both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ringfort.environment.model import Address, Environment, Flow, PortRange, Protocol

INTERNET = ""
"""The caller of a communication that comes from the internet."""


@dataclass(frozen=True, slots=True)
class Communication:
    """One caller, one target, one address family. ``source`` is None when ``caller`` is `INTERNET`."""

    flow: str
    caller: str
    target: str
    source: Address | None
    destination: Address
    protocol: Protocol
    ports: tuple[PortRange, ...]

    @property
    def family(self) -> int:
        """4 or 6."""
        return self.destination.version


def communications(environment: Environment) -> Iterator[Communication]:
    """Every declared communication, flow by flow; of internet flows, those to published hosts."""
    for flow in environment.flows.values():
        yield from communications_of(environment, flow)


def communications_of(environment: Environment, flow: Flow) -> Iterator[Communication]:
    """Every communication of one flow."""
    return _from_internet(environment, flow) if flow.internet else _from_hosts(environment, flow)


def _from_internet(environment: Environment, flow: Flow) -> Iterator[Communication]:
    service = environment.services[flow.service]
    published = {
        (item.host, item.address.version): None for item in environment.published if item.service == service.name
    }
    for host, family in published:
        for address in environment.hosts[host].addresses:
            if address.version == family:
                yield Communication(flow.name, INTERNET, host, None, address, service.protocol, service.ports)


def _from_hosts(environment: Environment, flow: Flow) -> Iterator[Communication]:
    service = environment.services[flow.service]
    targets = [environment.hosts[name] for name in service.hosts]
    for caller in flow.callers:
        sources = {address.version: address for address in environment.hosts[caller].addresses}
        for target in targets:
            if target.name == caller:
                continue
            for address in target.addresses:
                source = sources.get(address.version)
                if source is not None:
                    yield Communication(
                        flow.name, caller, target.name, source, address, service.protocol, service.ports
                    )
