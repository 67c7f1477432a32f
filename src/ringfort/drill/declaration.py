"""What the declaration says of a packet. Written apart from the proof, so that each can find the other's faults."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from ringfort.environment.model import Address, Environment, Flow, Network, Protocol, Service
from ringfort.environment.topology import internal_networks


class PlaceKind(StrEnum):
    """What a place is; the value is its word in reports."""

    HOST = "host"
    INTERNET = "internet"
    ROUTER = "router"


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a packet really comes from: a host's or router's name, or the key of the provider it enters by."""

    kind: PlaceKind
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


class Standing(StrEnum):
    """``declared``: a flow asks for it; ``tolerated``: a flow of the internet covers it, from wherever it is sent, but
    nothing promises that it gets through; ``undeclared``: it must be refused."""

    DECLARED = "declared"
    TOLERATED = "tolerated"
    UNDECLARED = "undeclared"


class Declaration:
    """An environment, indexed for questions about single packets."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._hosts = {address: host for host in environment.hosts.values() for address in host.addresses}
        self._published = {
            (entry.address, environment.services[entry.service].protocol, entry.port): entry
            for entry in environment.published
        }
        self._flows: dict[str, list[Flow]] = {}
        for flow in environment.flows.values():
            self._flows.setdefault(flow.service, []).append(flow)
        self._inside = internal_networks(environment)

    def standing(self, place: Place, source: Address, destination: Address, protocol: Protocol, port: int) -> Standing:
        """Whether a packet is declared. ``port`` is 0 for ICMP, which is an echo request."""
        entry = self._published.get((destination, protocol, port))
        host = self._hosts.get(destination) if entry is None else self._environment.hosts[entry.host]
        if host is None:
            return Standing.UNDECLARED
        services = host.services if entry is None else (entry.service,)
        inner = port if entry is None else entry.target_port
        best = Standing.UNDECLARED
        for service in self._serving(services, protocol, inner):
            for flow in self._flows.get(service.name, ()):
                standing = self._by_flow(flow, place, source, published=entry is not None)
                if standing is Standing.DECLARED:
                    return standing
                best = standing if standing is Standing.TOLERATED else best
        return best

    def _serving(self, names: tuple[str, ...], protocol: Protocol, port: int) -> Iterator[Service]:
        for name in names:
            service = self._environment.services[name]
            if service.protocol is protocol and (
                protocol is Protocol.ICMP or any(ports.first <= port <= ports.last for ports in service.ports)
            ):
                yield service

    def _by_flow(self, flow: Flow, place: Place, source: Address, *, published: bool) -> Standing:
        if flow.internet:
            if self.is_inside(source) or self.is_bogon(source):
                return Standing.UNDECLARED
            entered = published and place.kind is PlaceKind.INTERNET
            return Standing.DECLARED if entered else Standing.TOLERATED
        if published or place.kind is not PlaceKind.HOST or place.name not in flow.callers:
            return Standing.UNDECLARED
        own = source in self._environment.hosts[place.name].addresses
        return Standing.DECLARED if own else Standing.UNDECLARED

    def is_inside(self, address: Address) -> bool:
        """Whether the address lies in a site's block or on the backbone."""
        return _within(address, self._inside)

    def is_bogon(self, address: Address) -> bool:
        """Whether the address never is a true source on the internet."""
        return _within(address, self._environment.bogons)

    def callers_of(self, service: str) -> tuple[str, ...]:
        """The hosts that may call a service, in file order, without repeats."""
        flows = self._flows.get(service, ())
        return tuple(dict.fromkeys(caller for flow in flows for caller in flow.callers))


def _within(address: Address, networks: tuple[Network, ...]) -> bool:
    return any(address.version == network.version and address in network for network in networks)
