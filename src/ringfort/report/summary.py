"""What a picture shows of an environment: hosts grouped, flows grouped, services in few words."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ringfort.environment.model import Environment, Flow, Host, Protocol, Service, Tls

INTERNET = "internet"

_NUMBERED = re.compile(r"(?P<stem>.+)-\d+")


@dataclass(frozen=True, slots=True)
class HostGroup:
    """Hosts of one segment that differ in their number only, such as ``web-1`` and ``web-2``."""

    name: str
    segment: str
    hosts: tuple[str, ...]
    services: tuple[str, ...]
    customer: str

    @property
    def title(self) -> str:
        """The name, with how many hosts it stands for."""
        return self.name if len(self.hosts) == 1 else f"{self.name} ×{len(self.hosts)}"


@dataclass(frozen=True, slots=True)
class Arrow:
    """All flows from one group (or the internet) to one group: ``flows`` by name, ``tls`` the weakest of them."""

    source: str
    target: str
    tls: Tls
    flows: tuple[str, ...]


def groups_by_segment(environment: Environment) -> Mapping[str, tuple[HostGroup, ...]]:
    """Segment key -> its groups of hosts, in file order; segments without hosts are there too."""
    buckets: dict[str, dict[tuple[str, tuple[str, ...], str], list[str]]] = {key: {} for key in environment.segments}
    for host in environment.hosts.values():
        bucket = buckets[host.segment]
        bucket.setdefault((_stem(host), host.services, host.customer), []).append(host.name)
    return {
        segment: tuple(
            _group(segment, stem, names, services, customer) for (stem, services, customer), names in found.items()
        )
        for segment, found in buckets.items()
    }


def _stem(host: Host) -> str:
    match = _NUMBERED.fullmatch(host.name)
    return match["stem"] if match else host.name


def _group(segment: str, stem: str, names: list[str], services: tuple[str, ...], customer: str) -> HostGroup:
    return HostGroup(names[0] if len(names) == 1 else stem, segment, tuple(names), services, customer)


def arrows(
    environment: Environment, groups: Mapping[str, tuple[HostGroup, ...]], shown: Collection[str] | None = None
) -> tuple[tuple[Arrow, ...], int]:
    """The flows between groups of hosts, each pair once. A group is known by its first host.

    Args:
        shown: the groups that are drawn; all when None.

    Returns:
        The arrows between groups that are shown, and how many flows between two groups are left out.
    """
    group_of = {host: group_key(group) for found in groups.values() for group in found for host in group.hosts}
    pairs: dict[tuple[str, str], list[Flow]] = {}
    hidden = 0
    for flow in environment.flows.values():
        targets = list(dict.fromkeys(group_of[host] for host in environment.services[flow.service].hosts))
        sources = [INTERNET] if flow.internet else list(dict.fromkeys(group_of[host] for host in flow.callers))
        hidden += len(sources) * len(targets)
        if shown is not None:
            targets = [target for target in targets if target in shown]
            sources = [source for source in sources if source == INTERNET or source in shown]
        hidden -= len(sources) * len(targets)
        for source in sources:
            for target in targets:
                pairs.setdefault((source, target), []).append(flow)
    found = tuple(
        Arrow(source, target, _weakest(environment, flows), tuple(flow.name for flow in flows))
        for (source, target), flows in pairs.items()
    )
    return found, hidden


def group_key(group: HostGroup) -> str:
    """The name of a group that no other group has."""
    return group.hosts[0]


def _weakest(environment: Environment, flows: list[Flow]) -> Tls:
    order = (Tls.NONE, Tls.SERVER, Tls.MUTUAL)
    return min((environment.services[flow.service].tls for flow in flows), key=order.index)


def service_in_short(service: Service) -> str:
    """A service as one word and its ports: ``web :443``, ``dns udp:53``, ``ping``."""
    if service.protocol is Protocol.ICMP:
        return service.name
    ports = ",".join(str(ports) for ports in service.ports)
    return f"{service.name} {'' if service.protocol is Protocol.TCP else service.protocol}:{ports}"


def source_in_short(flow: Flow) -> str:
    """A flow's source without the word ``service:``, which readers expect."""
    return flow.source.removeprefix("service:")


def counts(environment: Environment) -> str:
    """The size of an environment in one line."""
    sizes = (
        (len(environment.sites), "site"),
        (len(environment.segments), "segment"),
        (len(environment.hosts), "host"),
        (len(environment.services), "service"),
        (len(environment.flows), "flow"),
    )
    return " · ".join(f"{size:,} {word}{'' if size == 1 else 's'}" for size, word in sizes)
