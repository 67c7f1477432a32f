"""The control plane: its services can be trusted and reached, and hosts that manage devices do nothing else."""

from __future__ import annotations

from collections.abc import Iterator

from ringfort.environment.draft import Draft
from ringfort.environment.model import Control, OperatorRole, Protocol, Tier, Tls
from ringfort.environment.nodes import Place


def check_control(draft: Draft) -> None:
    """Refuse a control plane that could be called without a certificate, or that some node could not reach."""
    _check_management(draft)
    if draft.control is None:
        return
    for key, name in draft.control.services.items():
        if key != "door":
            _check_service(draft, key, name)
    _check_door(draft, draft.control)
    _check_operators(draft)
    if not draft.declaration.broken.get("hosts"):  # else callers may be missing that were refused
        _check_nodes(draft, draft.control.controller)


def _check_door(draft: Draft, control: Control) -> None:
    """A door leads to where customers are heard, on one port, and reads nothing: whose TLS it is, it can't know."""
    if not control.door:
        return
    door, place = draft.services[control.door], draft.declaration.at("control", "door")
    flows = {(flow.source, flow.service) for flow in draft.flows.values()}
    if not control.customers or (f"service:{control.door}", control.customers) not in flows:
        message = f"'{control.door}' leads nowhere"
        hint = f"name 'customers', and add a flow {{from: {control.door}, to: {control.customers or 'customers'}}}"
        draft.problems.add("door-leads-nowhere", place, message, hint)
    ports = [port for ports in door.ports for port in range(ports.first, ports.last + 1)]
    if door.protocol is not Protocol.TCP or door.tls is not Tls.NONE or len(ports) != 1:
        message = f"'{control.door}' is not one port of tcp that hands on unread"
        draft.problems.add("door-reads", place, message, f"write {control.door}: {{protocol: tcp, ports: [9442]}}")


def _check_operators(draft: Draft) -> None:
    assert draft.control is not None
    operators = draft.control.operators
    if operators and not any(OperatorRole.NETWORK_OPERATOR in operator.roles for operator in operators):
        message = "no operator is network-operator: once this is in force nobody could publish anything else"
        hint = "give the role to somebody, or leave 'operators' out"
        draft.problems.add("nobody-publishes", draft.declaration.at("control", "operators"), message, hint)


def _check_service(draft: Draft, key: str, name: str) -> None:
    service, place = draft.services[name], draft.declaration.at("control", key)
    ports = [port for ports in service.ports for port in range(ports.first, ports.last + 1)]
    if service.protocol is not Protocol.TCP or service.tls is not Tls.MUTUAL or len(ports) != 1:
        message = f"'{name}' is not one port under mutual TLS"
        hint = f"write {name}: {{protocol: tcp, ports: [9443], tls: mutual}}"
        draft.problems.add("control-without-mutual-tls", place, message, hint)
    if not service.hosts and not draft.declaration.broken.get("hosts"):
        message = f"no host serves '{name}'"
        draft.problems.add("service-without-hosts", place, message, f"write services: [{name}] at a host")
    for host in service.hosts:
        tier = draft.segments[draft.hosts[host].segment].tier
        if tier is not Tier.ADMINISTRATION:
            message = f"'{host}' serves '{name}' in a segment of tier {tier}"
            hint = "what controls everything belongs into a segment of tier administration"
            draft.problems.add("control-outside-administration", draft.host_place(host, "segment"), message, hint)
            return


def _check_management(draft: Draft) -> None:
    for host in draft.hosts.values():
        if not host.management:
            continue
        place = draft.host_place(host.name, "manages")
        if host.services or host.customer:
            key = "services" if host.services else "customer"
            message = f"'{host.name}' manages devices and has {key}"
            hint = "whoever breaks in there owns the devices: use another host for it"
            draft.problems.add("management-shared", draft.host_place(host.name, key), message, hint)
        if draft.segments[host.segment].tier is not Tier.ADMINISTRATION:
            message = f"'{host.name}' manages devices from a segment of tier {draft.segments[host.segment].tier}"
            draft.problems.add("management-outside", place, message, "use a segment of tier administration")


def _check_nodes(draft: Draft, controller: str) -> None:
    """Every machine that has rules has a host from which its node reaches the controllers."""
    callers = {caller for flow in draft.flows.values() if flow.service == controller for caller in flow.callers}
    callers |= set(draft.services[controller].hosts)
    reached = {draft.hosts[name].machine for name in callers}
    for what, machine, place in _machines(draft):
        if machine not in reached:
            hosts = [host.name for host in draft.hosts.values() if host.machine == machine]
            if hosts:
                hint = f"add a flow: {{from: host:{hosts[0]}, to: {controller}}}, or {{from: group:all, ...}}"
            else:
                hint = f"declare a host with manages: [{what.rpartition(' ')[2]}], and a flow from it"
            message = f"the node of {what}, on machine '{machine}', can't reach service '{controller}'"
            draft.problems.add("node-unreachable", place, message, hint)


def _machines(draft: Draft) -> Iterator[tuple[str, str, Place]]:
    """What has rules, its machine and its place; each machine once."""
    seen: set[str] = set()
    things = [
        *(
            (f"router {r.name}", r.machine, draft.declaration.sites[r.site].at("routers"))
            for r in draft.routers.values()
        ),
        *((f"segment {s.key}", s.machine, draft.segment_place(s.key)) for s in draft.segments.values()),
        *((f"host {h.name}", h.machine, draft.host_place(h.name)) for h in draft.hosts.values()),
    ]
    for thing in things:
        if thing[1] not in seen:
            seen.add(thing[1])
            yield thing
