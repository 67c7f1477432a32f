"""Instances and their hypervisors: a customer's code is taken for hostile, and what it could get hold of is little.

A guest that breaks out owns its hypervisor's machine: so nothing that guards others is there, and nothing that many
trust. Inside the guest nothing of the platform runs.
"""

from __future__ import annotations

from collections.abc import Iterator

from ringfort.environment.draft import Draft
from ringfort.environment.model import Host, Tier


def check_instances(draft: Draft) -> None:
    """Refuse instances that the platform would trust, and hypervisors whose loss would cost more than their guests."""
    instances = [host for host in draft.hosts.values() if draft.host_entries[host.name].form.hypervisor]
    for host in _one_of_each_entry(draft, instances):
        _check_instance(draft, host)
    for name in dict.fromkeys(host.hypervisor for host in instances if host.hypervisor):
        _check_hypervisor(draft, draft.hosts[name])
    _check_hypervisor_segments(draft, {host.hypervisor for host in instances if host.hypervisor})
    _check_flows(draft, {host.name for host in instances})


def _one_of_each_entry(draft: Draft, hosts: list[Host]) -> Iterator[Host]:
    """The first host of each entry in each segment: the others are like it."""
    seen: set[tuple[str, str]] = set()
    for host in hosts:
        key = (draft.host_entries[host.name].name, host.segment)
        if key not in seen:
            seen.add(key)
            yield host


def _check_instance(draft: Draft, host: Host) -> None:
    form = draft.host_entries[host.name].form
    problems = draft.problems
    place = draft.host_place(host.name, "hypervisor")
    if not host.customer:
        hint = "write customer: NAME; what belongs to the platform runs on hosts of its own"
        problems.add("instance-without-customer", place, f"'{host.name}' is an instance of nobody", hint)
    tier = draft.segments[host.segment].tier
    if tier is not Tier.CUSTOMER:
        message = f"'{host.name}' is an instance in a segment of tier {tier}"
        hint = "instances run customers' code: use a segment of tier customer"
        problems.add("instance-outside-customer", draft.host_place(host.name, "segment"), message, hint)
    if form.machine:
        message = f"'{host.name}' is on its hypervisor's machine"
        problems.add("instance-machine", draft.host_place(host.name, "machine"), message, "remove 'machine'")
    if form.manages:
        message = f"'{host.name}' is an instance and manages devices"
        hint = "whoever breaks in there owns the devices: use another host for it"
        problems.add("instance-manages", draft.host_place(host.name, "manages"), message, hint)
    control = draft.control
    for index, name in enumerate(form.services):
        if control is not None and name in control.services.values():
            message = f"'{host.name}' is a customer's instance and serves '{name}', which controls everything"
            hint = "use a host in a segment of tier administration"
            problems.add("instance-controls", draft.host_place(host.name, "services", index), message, hint)


def _check_hypervisor(draft: Draft, host: Host) -> None:
    tier = draft.segments[host.segment].tier
    if tier is not Tier.HYPERVISOR:
        message = f"'{host.name}' has guests and is in a segment of tier {tier}"
        hint = "who breaks out of a guest is its neighbours' neighbour: use a segment of tier hypervisor"
        draft.problems.add("hypervisor-segment", draft.host_place(host.name, "segment"), message, hint)
    if host.customer:
        message = f"'{host.name}' has guests and belongs to customer {host.customer}"
        hint = "hypervisors are the platform's: remove 'customer'"
        draft.problems.add("hypervisor-of-customer", draft.host_place(host.name, "customer"), message, hint)
    for what in _guarded(draft, host):
        message = f"'{host.name}' has guests, and {what} is on its machine '{host.machine}'"
        hint = "who breaks out of a guest would own it: put it on another machine"
        draft.problems.add("hypervisor-guards", draft.host_place(host.name), message, hint)
        break


def _guarded(draft: Draft, hypervisor: Host) -> Iterator[str]:
    """What would be lost with a hypervisor besides its guests and other hypervisors."""
    machine = hypervisor.machine
    yield from (f"router {router.name}" for router in draft.routers.values() if router.machine == machine)
    yield from (f"the switch of {key}" for key, segment in draft.segments.items() if segment.machine == machine)
    for host in draft.hosts.values():
        tier = draft.segments[host.segment].tier
        if host.machine == machine and tier is not Tier.HYPERVISOR and not host.hypervisor and host is not hypervisor:
            yield f"host {host.name} of tier {tier}"


def _check_hypervisor_segments(draft: Draft, told: set[str]) -> None:
    entries = {draft.host_entries[name].name for name in told}
    for host in draft.hosts.values():
        elsewhere = host.hypervisor or draft.host_entries[host.name].name in entries
        if host.customer and not elsewhere and draft.segments[host.segment].tier is Tier.HYPERVISOR:
            message = f"'{host.name}' of customer {host.customer} is in a segment of hypervisors"
            hint = "use a segment of tier customer"
            draft.problems.add("customer-among-hypervisors", draft.host_place(host.name, "segment"), message, hint)


def _check_flows(draft: Draft, instances: set[str]) -> None:
    for flow in draft.flows.values():
        caller = next((name for name in flow.callers if name in instances), "")
        if not caller:
            continue
        entry = draft.flow_entries[flow.name]
        if flow.operators:
            message = f"operators would call from '{caller}', a customer's instance"
            hint = "its owner would hold their certificates: let them call from hosts of the platform"
            draft.problems.add("instance-operators", entry.at("as"), message, hint)
        for name in draft.services[flow.service].hosts:
            tier = draft.segments[draft.hosts[name].segment].tier
            if tier in (Tier.ADMINISTRATION, Tier.HYPERVISOR):
                message = f"'{caller}', a customer's instance, may not call '{name}' of tier {tier}"
                hint = "leave instances out of the flow's source; group:all holds none"
                draft.problems.add("instance-calls-platform", entry.at(), message, hint)
                break
