"""What flows let one host take and send, for what guards it: its own firewall, or an instance's sandbox."""

from __future__ import annotations

from collections.abc import Sequence

from ringfort.environment.model import Host
from ringfort.network.entries import Entries
from ringfort.network.plan import Plan


def callers(plan: Plan, host: Host) -> dict[int, Entries]:
    """Who may call the host, also at floating addresses that it may hold, for each IP version."""
    entries = plan.entries()
    for end in (host, *plan.held_by(host)):
        # In the order of the flows' names, as everywhere: two services may share a port of this host.
        flows = [flow for service in end.services for flow in plan.flows_by_service[service]]
        for flow in sorted(flows, key=lambda flow: flow.name):
            _declare(plan, entries, flow.name, flow.callers, (end.name,))
    return entries


def callees(plan: Plan, host: Host) -> dict[int, Entries]:
    """Whom the host may call, for each IP version."""
    entries = plan.entries()
    services = plan.environment.services
    for flow in plan.flows_by_caller[host.name]:
        _declare(plan, entries, flow.name, (host.name,), services[flow.service].hosts)
    return entries


def _declare(plan: Plan, entries: dict[int, Entries], name: str, from_: Sequence[str], to: Sequence[str]) -> None:
    service = plan.environment.services[plan.environment.flows[name].service]
    for version, source, destination in plan.pairs(from_, to):
        entries[version].add(source, destination, service.protocol, service.ports, plan.chains[name])
