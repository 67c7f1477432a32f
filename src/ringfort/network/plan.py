"""The environment, indexed once, so that compiling a device costs what concerns that device only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cached_property

from ringfort.environment.floating import expanded
from ringfort.environment.model import Environment, Flow, Held, Host, Network, PublishedService
from ringfort.environment.topology import internal_networks
from ringfort.network.entries import Entries
from ringfort.network.families import FAMILIES, Family
from ringfort.network.names import identifiers


class Plan:
    """Who concerns whom. Flows are in the order of their names, so that the order of the file changes nothing."""

    def __init__(self, environment: Environment) -> None:
        environment = expanded(environment)
        self.environment = environment
        """With floating addresses as hosts."""
        self.chains = identifiers("flow-", environment.flows)
        """Name of a flow -> the name of its chain and of its counter on every device."""
        self.flow_names = {chain: name for name, chain in self.chains.items()}
        """The name of such a chain -> the name of its flow."""
        self.flows_by_site: dict[str, list[Flow]] = defaultdict(list)
        self.flows_by_caller: dict[str, list[Flow]] = defaultdict(list)
        self.flows_by_service: dict[str, list[Flow]] = defaultdict(list)
        self.internet_flows: dict[str, Flow] = {}
        """Name of a service -> the flow that lets the internet call it."""
        self.published_by_site: dict[str, list[PublishedService]] = defaultdict(list)
        self.published_by_host: dict[str, list[PublishedService]] = defaultdict(list)
        self._index_hosts()
        for name in sorted(environment.flows):
            self._index_flow(environment.flows[name])
        self._index_published()

    def hosts(self, segment: str) -> tuple[Host, ...]:
        """The hosts of a segment, in the order of their names."""
        return tuple(self.environment.hosts[name] for name in sorted(self.environment.hosts_by_segment[segment]))

    def held_by(self, host: Host) -> tuple[Held, ...]:
        """The floating addresses that ``host`` may hold."""
        several = (self.environment.hosts[name] for name in self.environment.floating)
        return tuple(one for one in several if isinstance(one, Held) and host.name in one.holders)

    def addresses(self, host: Host) -> Iterator[tuple[int, str]]:
        """The IP version and text of each address of ``host``."""
        return iter(self._addresses[host.name])

    def pairs(self, callers: Sequence[str], callees: Sequence[str]) -> Iterator[tuple[int, str, str]]:
        """IP version, source and destination of everything between these hosts; no host calls itself."""
        addresses = self._addresses
        for caller in callers:
            for callee in callees:
                if caller == callee:
                    continue
                for version, source in addresses[caller]:
                    for other, destination in addresses[callee]:
                        if version == other:
                            yield version, source, destination

    def comment(self, chain: str) -> str:
        """What the flow of a chain says, in the words of the file."""
        flow = self.environment.flows[self.flow_names[chain]]
        return f"{flow.source} to {flow.service}" + (f": {flow.reason}" if flow.reason else "")

    def entries(self) -> dict[int, Entries]:
        """Nothing declared yet, for each IP version."""
        return {family.version: Entries(self._numbers) for family in FAMILIES}

    def never_internet(self, family: Family) -> tuple[Network, ...]:
        """Sources that nobody on the internet has: bogons and what is inside."""
        return self._never_internet[family.version]

    @cached_property
    def _never_internet(self) -> dict[int, tuple[Network, ...]]:
        return {family.version: family.networks((*self.environment.bogons, *self.internal)) for family in FAMILIES}

    @cached_property
    def internal(self) -> tuple[Network, ...]:
        """What is inside: the sites' blocks and the backbone."""
        return internal_networks(self.environment)

    def _index_hosts(self) -> None:
        self._addresses: dict[str, tuple[tuple[int, str], ...]] = {}
        self._numbers: dict[str, int] = {}
        for host in self.environment.hosts.values():
            self._addresses[host.name] = tuple((address.version, str(address)) for address in host.addresses)
            self._numbers.update((str(address), int(address)) for address in host.addresses)

    def _index_flow(self, flow: Flow) -> None:
        if flow.internet:
            self.internet_flows.setdefault(flow.service, flow)
            return
        self.flows_by_service[flow.service].append(flow)
        hosts = self.environment.hosts
        for caller in flow.callers:
            self.flows_by_caller[caller].append(flow)
        ends = (*flow.callers, *self.environment.services[flow.service].hosts)
        for site in {hosts[name].site for name in ends}:
            self.flows_by_site[site].append(flow)

    def _index_published(self) -> None:
        for published in sorted(self.environment.published, key=_published_order):
            if published.service in self.internet_flows:
                self.published_by_site[self.environment.providers[published.provider].site].append(published)
                self.published_by_host[published.host].append(published)


def _published_order(published: PublishedService) -> tuple[str, int, str, str, int]:
    address = f"{int(published.address):039d}"
    return published.provider, published.address.version, address, published.service, published.port
