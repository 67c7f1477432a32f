"""What every environment keeps that was loaded from a declaration, asked of one that came as text from elsewhere.

Not what may be declared (the loader judges that, before anybody signs), but what the compiler, the proof and whatever
writes configuration take for granted: names are names and lead somewhere, texts have one line, no address, MAC or
identity is given twice, and each lies where it belongs.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise

from ringfort.environment.model import Address, Environment, Floating, Host, Network, PortRange, Protocol

NAME_PATTERN = r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?"
"""As `ringfort.environment.words` has it, which this module does not import: a node shall stay small."""

_NAME = re.compile(NAME_PATTERN)
_KEY = re.compile(rf"{NAME_PATTERN}/{NAME_PATTERN}")
_MACHINE = re.compile(rf"{NAME_PATTERN}(?:/{NAME_PATTERN})?")
_FLOW = re.compile(r"[a-z][a-z0-9:/-]{0,255}")
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_DOMAIN = re.compile(r"[a-z0-9][a-z0-9._-]{0,252}")
_IDENTITY = r"spiffe://{domain}/[a-z]+/[A-Za-z0-9._-]{{1,255}}"
_MAC = re.compile(r"[0-9a-f][02468ace](?::[0-9a-f]{2}){5}")
LONGEST_WORDS = 200
LONGEST_FILE = 4096
HIGHEST_PORT = 65535


def fault(environment: Environment) -> str:
    """The first thing that is not as it should be, in words; "" when all is well."""
    for faults in (_texts, _dangling, _networks, _hosts, _ports):
        found = next(faults(environment), "")
        if found:
            return found
    return ""


# -- texts -------------------------------------------------------------------------------------------------------------


def _texts(e: Environment) -> Iterator[str]:
    yield from _odd("name", _NAME, [e.name, *e.sites, *e.routers, *e.hosts, *e.services, *e.floating])
    yield from _odd("SITE/NAME", _KEY, [*e.segments, *e.providers])
    yield from _odd("trust domain", _DOMAIN, [e.trust_domain])
    machines = {thing.machine for things in (e.routers, e.segments, e.hosts) for thing in things.values()}
    yield from _odd("machine", _MACHINE, machines)
    yield from _odd("cluster", _NAME, {segment.cluster for segment in e.segments.values()})
    named = {host.customer for host in e.hosts.values()} | {service.application for service in e.services.values()}
    named |= {operator for flow in e.flows.values() for operator in flow.operators}
    named |= {operator.name for operator in e.control.operators} if e.control is not None else set()
    yield from _odd("name", _NAME, named - {""})
    yield from _odd("flow", _FLOW, [*e.flows, *(flow.source for flow in e.flows.values())])
    identities = {thing.identity for things in (e.hosts, e.services) for thing in things.values()}
    identities |= {identity for flow in e.flows.values() for identity in flow.identities}
    yield from _odd("identity here", re.compile(_IDENTITY.format(domain=re.escape(e.trust_domain))), identities)
    yield from _odd("MAC address", _MAC, [thing.mac for things in (e.hosts, e.floating) for thing in things.values()])
    for host in e.hosts.values():
        if host.labels:
            yield from _odd("name", _NAME, host.labels)
            yield from _odd("label", _LABEL, host.labels.values())
    yield from _unprintable(e)


def _odd(what: str, pattern: re.Pattern[str], texts: Iterable[str]) -> Iterator[str]:
    matches = pattern.fullmatch
    for text in texts:
        if not matches(text):
            yield f"{text[:80]!a} is no {what}"


def _unprintable(e: Environment) -> Iterator[str]:
    sections: tuple[Mapping[str, object], ...] = (
        e.sites, e.providers, e.routers, e.segments, e.hosts, e.services, e.flows, e.floating,
    )  # fmt: skip
    files = {thing.origin.file for things in sections for thing in things.values()}  # type: ignore[attr-defined]
    files |= {thing.origin.file for thing in (*e.published, e.backbone, e.control, e.gateway) if thing is not None}
    for text, longest in (
        *((file, LONGEST_FILE) for file in files),
        *((flow.reason, LONGEST_WORDS) for flow in e.flows.values()),
    ):
        if not text.isprintable() or len(text) > longest:
            yield f"{text[:80]!a} is no text in one line"


# -- names that lead nowhere -------------------------------------------------------------------------------------------


def _dangling(e: Environment) -> Iterator[str]:
    for site in e.sites.values():
        yield from _lost(f"sites.{site.name}", "segment", site.segments, e.segments)
        yield from _lost(f"sites.{site.name}", "provider", site.providers, e.providers)
        yield from _lost(f"sites.{site.name}", "router", site.routers, e.routers)
    for kind, things in (("segments", e.segments), ("providers", e.providers), ("routers", e.routers)):
        for key, thing in things.items():
            yield from _lost(f"{kind}.{key}", "site", (thing.site,), e.sites)
    for host in e.hosts.values():
        yield from _lost(f"hosts.{host.name}", "site", (host.site,), e.sites)
        yield from _lost(f"hosts.{host.name}", "segment", (host.segment,), e.segments)
        yield from _lost(f"hosts.{host.name}", "service", host.services, e.services)
    for service in e.services.values():
        yield from _lost(f"services.{service.name}", "host", service.hosts, e.hosts)
    for flow in e.flows.values():
        yield from _lost(f"flows.{flow.name}", "service", (flow.service,), e.services)
        yield from _lost(f"flows.{flow.name}", "host", flow.callers, e.hosts)
    for number, item in enumerate(e.published):
        yield from _lost(f"published.{number}", "service", (item.service,), e.services)
        yield from _lost(f"published.{number}", "provider", (item.provider,), e.providers)
        yield from _lost(f"published.{number}", "host", (item.host,), e.hosts)
        yield from _lost(
            f"published.{number}", "floating address", (item.floating,) if item.floating else (), e.floating
        )
    for floating in e.floating.values():
        yield from _lost(f"floating.{floating.name}", "segment", (floating.segment,), e.segments)
        yield from _lost(f"floating.{floating.name}", "host", floating.hosts, e.hosts)
        yield from _lost(f"floating.{floating.name}", "service", (*floating.services, floating.signs), e.services)
    yield from _dangling_roles(e)


def _dangling_roles(e: Environment) -> Iterator[str]:
    if e.control is not None:
        yield from _lost("control", "service", e.control.services.values(), e.services)
        for operator in e.control.operators:
            yield from _lost(f"control.operators.{operator.name}", "site", operator.sites, e.sites)
    if e.gateway is not None:
        named = (*e.gateway.services.values(), *filter(None, (e.gateway.acme,)))
        yield from _lost("gateway", "service", named, e.services)


def _lost(place: str, what: str, names: Iterable[str], known: Mapping[str, object]) -> Iterator[str]:
    for name in names:
        if name not in known:
            yield f"{place}: there is no {what} {name!r}"


# -- addresses ---------------------------------------------------------------------------------------------------------


def _networks(e: Environment) -> Iterator[str]:
    """Blocks, segments' networks and providers' do not overlap, and segments lie in their sites' blocks."""
    blocks = [network for site in e.sites.values() for network in site.blocks]
    outside = [network for provider in e.providers.values() for network in provider.networks]
    yield from _overlaps([*blocks, *outside, *(e.backbone.networks if e.backbone else ())])
    yield from _overlaps([network for segment in e.segments.values() for network in segment.networks])
    for segment in e.segments.values():
        for network in segment.networks:
            if not any(_inside(network, block) for block in e.sites[segment.site].blocks):
                yield f"segments.{segment.key}: {network} lies outside of the site's blocks"
    for number, item in enumerate(e.published):
        if not any(item.address in network for network in e.providers[item.provider].networks):
            yield f"published.{number}: {item.address} is none of {item.provider}'s"


def _inside(network: Network, block: Network) -> bool:
    return network.version == block.version and (
        block.network_address <= network.network_address  # type: ignore[operator]  # of one version
        and network.broadcast_address <= block.broadcast_address  # type: ignore[operator]
    )


def _overlaps(networks: list[Network]) -> Iterator[str]:
    ordered = sorted(networks, key=lambda network: (network.version, int(network.network_address)))
    for one, other in pairwise(ordered):
        if one.version == other.version and int(other.network_address) <= int(one.broadcast_address):
            yield f"{one} and {other} overlap"


def _hosts(e: Environment) -> Iterator[str]:
    """Each address, MAC and identity is one host's; addresses lie in its segment and are not the gateway's."""
    taken: dict[Address | str, str] = {service.identity: f"service {service.name}" for service in e.services.values()}
    if len(taken) != len(e.services):
        yield "services: two have one identity"
    ranges = {key: [_range(network) for network in segment.networks] for key, segment in e.segments.items()}
    for host in e.hosts.values():
        if e.segments[host.segment].site != host.site:
            yield f"hosts.{host.name}: segment {host.segment} is at another site than {host.site}"
        yield from _instance(e, host)
        if len({address.version for address in host.addresses}) != len(host.addresses):
            yield f"hosts.{host.name}: two addresses of one family"
        for address in host.addresses:
            number = int(address)
            if not any(v == address.version and low < number < high for v, low, high in ranges[host.segment]):
                yield f"hosts.{host.name}: {address} is no host's address in {host.segment}"
            yield from _once(taken, address, host)
        yield from _once(taken, host.mac, host)
        yield from _once(taken, host.identity, host)
    for floating in e.floating.values():
        yield from _floating(e, floating, ranges[floating.segment], taken)


def _floating(
    e: Environment, floating: Floating, ranges: list[tuple[int, int, int]], taken: dict[Address | str, str]
) -> Iterator[str]:
    """Floating addresses lie in their segment, nobody else has them, and hosts of that segment with machines of their
    own may hold them."""
    place, known = f"floating.{floating.name}", {*e.hosts, *e.routers}
    machines = Counter(thing.machine for things in (e.hosts, e.routers, e.segments) for thing in things.values())
    holders = [e.hosts[name] for name in floating.hosts]
    if floating.name in known or floating.name in machines or len(set(floating.hosts)) < 2:
        yield f"{place}: its name is taken, or it has nowhere to move"
    if any(host.segment != floating.segment or machines[host.machine] > 1 or host.hypervisor for host in holders):
        yield f"{place}: a host of another segment, or one that shares its machine"
    if e.segments[floating.segment].site != floating.site:
        yield f"{place}: segment {floating.segment} is at another site than {floating.site}"
    for address in floating.addresses:
        if not any(v == address.version and low < int(address) < high for v, low, high in ranges):
            yield f"{place}: {address} is no host's address in {floating.segment}"
    for thing in (*floating.addresses, floating.mac):
        if taken.setdefault(thing, floating.name) != floating.name:
            yield f"{place}: {thing} is {taken[thing]}'s already"


def _instance(e: Environment, host: Host) -> Iterator[str]:
    """A guest is on its hypervisor's machine, and its hypervisor is nobody's guest."""
    if not host.hypervisor:
        return
    hypervisor = e.hosts.get(host.hypervisor)
    if hypervisor is None or hypervisor.hypervisor or hypervisor.site != host.site:
        yield f"hosts.{host.name}: {host.hypervisor!r} is no hypervisor at its site"
    elif hypervisor.machine != host.machine or not host.customer or host.management:
        yield f"hosts.{host.name}: no instance is like this"


def _range(network: Network) -> tuple[int, int, int]:
    """Version, and the numbers between which hosts' addresses lie: after the gateway, before IPv4's broadcast."""
    first = int(network.network_address) + 1
    return network.version, first, int(network.broadcast_address) + (network.version == 6)


def _once(taken: dict[Address | str, str], thing: Address | str, host: Host) -> Iterator[str]:
    other = taken.setdefault(thing, host.name)
    if other != host.name:
        yield f"hosts.{host.name}: {thing} is {other}'s already"


def _ports(e: Environment) -> Iterator[str]:
    for service in e.services.values():
        if (service.protocol is Protocol.ICMP) == bool(service.ports) or not all(map(_is_range, service.ports)):
            yield f"services.{service.name}: its ports are none for {service.protocol}"
    for number, item in enumerate(e.published):
        lowest = 0 if e.services[item.service].protocol is Protocol.ICMP else 1
        if not all(lowest <= port <= HIGHEST_PORT * lowest for port in (item.port, item.target_port)):
            yield f"published.{number}: port {item.port} or {item.target_port} is none"


def _is_range(ports: PortRange) -> bool:
    return 1 <= ports.first <= ports.last <= HIGHEST_PORT
