"""Names that must not meet: interfaces on one device, routers and hosts, MAC addresses, ports of one host."""

from __future__ import annotations

from collections.abc import Iterable

from ringfort.environment.draft import Draft
from ringfort.environment.model import Protocol, Service
from ringfort.environment.nodes import Place
from ringfort.environment.topology import BACKBONE, interface_name, mac_address


def check_names(draft: Draft) -> None:
    """Refuse names and addresses that two things on one device, wire or machine would share."""
    _check_routers(draft)
    _check_interfaces(draft)
    _check_macs(draft)
    _check_ports(draft)


def _check_routers(draft: Draft) -> None:
    for name, router in draft.routers.items():
        if name in draft.hosts:
            draft.problems.add(
                "duplicate-name",
                draft.host_place(name),
                f"'{name}' is the name of a host and of a router, at {router.origin}",
                "rename one of them; what has the same name counts as one machine",
            )


def _check_interfaces(draft: Draft) -> None:
    for site in draft.sites.values():
        legs = [("segment", key.partition("/")[2], draft.segment_place(key)) for key in site.segments]
        legs += [("provider", key.partition("/")[2], draft.provider_place(key)) for key in site.providers]
        _refuse_meeting(draft, legs, f"the routers of site {site.name}", {BACKBONE: "the backbone"})
    ports: dict[str, list[tuple[str, str, Place]]] = {key: [] for key in draft.segments}
    for host in draft.hosts.values():
        ports[host.segment].append(("host", host.name, draft.host_place(host.name)))
    for key, names in ports.items():
        routers = {interface_name(r): f"router '{r}'" for r in draft.sites[draft.segments[key].site].routers}
        _refuse_meeting(draft, names, f"the switch of segment {key}", routers)


def _refuse_meeting(draft: Draft, names: Iterable[tuple[str, str, Place]], device: str, taken: dict[str, str]) -> None:
    """Refuse two names on one device whose interfaces are called alike; ``names`` are (kind, name, place)."""
    holders = dict(taken)
    for kind, name, place in names:
        interface = interface_name(name)
        own = f"{kind} '{name}'"
        holder = holders.setdefault(interface, own)
        if holder != own:
            message = f"{own} and {holder} would both be interface '{interface}' of {device}"
            draft.problems.add("interface-collision", place, message, "rename one of them")


def _check_macs(draft: Draft) -> None:
    environment = draft.declaration.header.environment
    holders = {mac_address(environment, "gateway", key): f"the gateway of segment {key}" for key in draft.segments}
    for key in draft.providers:
        holders[mac_address(environment, "provider", key)] = f"the router of provider {key}"
        holders[mac_address(environment, "provider-leg", key)] = f"the leg to provider {key}"
    for site in draft.sites:
        holders[mac_address(environment, BACKBONE, site)] = f"the routers of site {site}"
    holders |= {floating.mac: f"floating address '{floating.name}'" for floating in draft.floating.values()}
    for host in draft.hosts.values():
        holder = holders.setdefault(host.mac, host.name)
        if holder != host.name:
            written = draft.host_entries[host.name].form.mac
            message = f"{host.mac} of '{host.name}' is also the MAC address of {holder}"
            hint = "every host needs one of its own; without 'mac' it is derived from the name"
            place = draft.host_place(host.name, "mac") if written else draft.host_place(host.name)
            draft.problems.add("duplicate-mac", place, message, hint)


def _check_ports(draft: Draft) -> None:
    """Two services of a host cannot listen on one port. Hosts that serve the same are looked at once."""
    seen: set[tuple[str, ...]] = set()
    for host in draft.hosts.values():
        if host.services in seen:
            continue
        seen.add(host.services)
        services = [draft.services[name] for name in dict.fromkeys(host.services) if name in draft.services]
        for position, service in enumerate(services):
            other = next((other for other in services[:position] if _share_a_port(service, other)), None)
            if other is not None:
                index = host.services.index(service.name)
                message = f"'{host.name}' serves '{other.name}' and '{service.name}' on the same port"
                place = draft.host_place(host.name, "services", index)
                draft.problems.add("port-taken", place, message, "give one of them another port or host")


def _share_a_port(one: Service, other: Service) -> bool:
    if one.protocol is not other.protocol:
        return False
    if one.protocol is Protocol.ICMP:
        return True
    return any(a.first <= b.last and b.first <= a.last for a in one.ports for b in other.ports)
