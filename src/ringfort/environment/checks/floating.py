"""Floating addresses: they can move, everybody who holds them is alike, and nothing else is lost with a holder.

That holders have their machines for themselves is what makes the proof exact that takes the addresses for a host.
"""

from __future__ import annotations

from collections.abc import Iterator

from ringfort.environment.addresses import Pool, pool_of
from ringfort.environment.draft import Draft
from ringfort.environment.model import Address, Floating, Protocol, Tls
from ringfort.environment.nodes import Place
from ringfort.environment.problems import listed
from ringfort.environment.topology import interface_name


def check_floating(draft: Draft) -> None:
    """Refuse floating addresses that could not move, or that would be somebody else's."""
    taken = {address: f"host '{host.name}'" for host in draft.hosts.values() for address in host.addresses}
    names = {name: f"a {what}" for what, things in _things(draft) for name in things}
    names |= {interface_name(name): f"a {what}" for what, things in _things(draft) for name in things}
    for floating in draft.floating.values():
        place = draft.declaration.floating[floating.name].at()
        holder = names.setdefault(floating.name, f"floating address '{floating.name}'")
        other = names.setdefault(interface_name(floating.name), holder)
        if other != f"floating address '{floating.name}'":
            message = f"'{floating.name}' is also the name of {other}, or of its interface"
            draft.problems.add("duplicate-name", place, message, "rename it")
        _check_hosts(draft, floating)
        _check_addresses(draft, floating, taken)
        _check_services(draft, floating)
        _check_signs(draft, floating)


def _things(draft: Draft) -> Iterator[tuple[str, list[str]]]:
    yield "host", list(draft.hosts)
    yield "router", list(draft.routers)
    things = (draft.hosts, draft.routers, draft.segments)
    yield "machine", [thing.machine for several in things for thing in several.values()]


def _place(draft: Draft, floating: Floating, *path: str | int) -> Place:
    return draft.declaration.floating[floating.name].at(*path)


def _check_hosts(draft: Draft, floating: Floating) -> None:
    place, problems = _place(draft, floating, "hosts"), draft.problems
    if len(floating.hosts) < 2 and not draft.declaration.broken.get("hosts"):
        message = f"'{floating.name}' has one host only, and nowhere to move"
        problems.add("floating-alone", place, message, "name a second host of the segment")
    for name in floating.hosts:
        host = draft.hosts[name]
        if host.segment != floating.segment:
            message = f"'{name}' is in segment {host.segment}, '{floating.hosts[0]}' in {floating.segment}"
            problems.add("floating-elsewhere", place, message, "an address moves inside one segment")
        shared = next(_on_machine(draft, host.machine, name), "")
        if shared or draft.host_entries[name].form.hypervisor:
            message = f"'{name}' shares its machine '{host.machine}' with {shared or 'its hypervisor'}"
            problems.add("floating-machine", place, message, "who holds a floating address has a machine for itself")


def _on_machine(draft: Draft, machine: str, besides: str) -> Iterator[str]:
    yield from (
        f"host '{host.name}'" for host in draft.hosts.values() if host.machine == machine != "" and host.name != besides
    )
    yield from (f"router '{router.name}'" for router in draft.routers.values() if router.machine == machine)
    yield from (f"the switch of {key}" for key, segment in draft.segments.items() if segment.machine == machine)


def _check_addresses(draft: Draft, floating: Floating, taken: dict[Address, str]) -> None:
    pools = [Pool(network) for network in draft.segments[floating.segment].networks]
    if all(address.version != 4 for address in floating.addresses):
        place = _place(draft, floating, "addresses")
        draft.problems.add("floating-without-ipv4", place, f"'{floating.name}' has no IPv4 address", "add one")
    for index, address in enumerate(floating.addresses):
        place, pool = _place(draft, floating, "addresses", index), pool_of(pools, address)
        holder = taken.setdefault(address, f"'{floating.name}'")
        without = next((n for n in floating.hosts if address.version not in _families(draft, n)), "")
        if pool is None:
            hint = f"the segment has {listed(str(one.network) for one in pools)}"
            draft.problems.add("address-outside", place, f"{address} lies outside segment {floating.segment}", hint)
        elif pool.reserved(address):
            message = f"{address} is {pool.reserved(address)} in segment {floating.segment}"
            draft.problems.add("address-reserved", place, message, "choose another")
        elif holder != f"'{floating.name}'":
            message = f"{address} is the address of {holder}"
            draft.problems.add("duplicate-address", place, message, "choose one that no host takes, far up the network")
        elif address.version in {other.version for other in floating.addresses[:index]}:
            message = f"a second IPv{address.version} address"
            draft.problems.add("two-addresses", place, message, "one of each family")
        elif without:
            message = f"'{without}' has no IPv{address.version} address"
            draft.problems.add("no-common-family", place, message, "leave this family out")


def _families(draft: Draft, name: str) -> set[int]:
    return {address.version for address in draft.hosts[name].addresses}


def _check_services(draft: Draft, floating: Floating) -> None:
    for index, name in enumerate(floating.services):
        service, place = draft.services[name], _place(draft, floating, "services", index)
        without = next((host for host in floating.hosts if host not in service.hosts), "")
        if name in floating.services[:index]:
            draft.problems.add("duplicate-service", place, f"'{name}' is listed twice", "remove one")
        elif without:
            message = f"'{without}' may hold '{floating.name}' and does not serve '{name}'"
            draft.problems.add("floating-unserved", place, message, f"write services: [{name}] at each of its hosts")
        elif service.tls is not Tls.NONE:
            message = f"the certificates of '{name}' are for the hosts' own addresses"
            draft.problems.add(
                "floating-tls", place, message, "only what has tls: none is reached at a floating address"
            )


def _check_signs(draft: Draft, floating: Floating) -> None:
    service, place = draft.services[floating.signs], _place(draft, floating, "signs")
    ports = [port for ports in service.ports for port in range(ports.first, ports.last + 1)]
    if service.protocol is not Protocol.TCP or service.tls is not Tls.MUTUAL or len(ports) != 1:
        message = f"'{service.name}' is not one port under mutual TLS: anybody could say who lives"
        hint = f"write {service.name}: {{protocol: tcp, ports: [9112], tls: mutual}}"
        draft.problems.add("floating-signs", place, message, hint)
    elif set(service.hosts) != set(floating.hosts) and not draft.declaration.broken.get("hosts"):
        message = f"'{service.name}' is served by {listed(service.hosts) or 'nobody'}"
        hint = f"exactly {listed(floating.hosts)} serve it"
        draft.problems.add("floating-signs", place, message, hint)
    elif len(draft.flow_entries) == len(draft.declaration.flows) and not any(
        flow.source == f"service:{service.name}" and flow.service == service.name for flow in draft.flows.values()
    ):
        message = f"the hosts of '{floating.name}' may not tell each other that they live"
        hint = f"add a flow: {{from: {service.name}, to: {service.name}}}"
        draft.problems.add("floating-signs", place, message, hint)
