"""The gateway: edge hosts that the internet reaches, that reach instances, and that somebody tells what is public."""

from __future__ import annotations

from ringfort.environment.draft import Draft
from ringfort.environment.model import Gateway, Protocol, Tier, Tls


def check_gateway(draft: Draft) -> None:
    """Refuse a gateway that could not do what it is for, or that would do it in the wrong place."""
    gateway = draft.gateway
    if gateway is None:
        return
    if draft.declaration.header.control is None:
        message = "nobody tells the gateway what is public"
        draft.problems.add("gateway-untold", draft.declaration.at("gateway"), message, "declare 'control'")
    for key, name in gateway.services.items():
        _check_service(draft, key, name)
    if not draft.declaration.broken.get("hosts"):  # else hosts may be missing that were refused
        _check_hosts(draft, gateway)
    _check_way_in(draft, gateway)
    _check_acme(draft, gateway)


def _check_acme(draft: Draft, gateway: Gateway) -> None:
    """It is reached by its public name, and proves names at the gateway; both ways have to be open."""
    if not (gateway.acme or gateway.acme_name):
        return
    place = draft.declaration.at("gateway", "acme" if gateway.acme else "acme-name")
    if not (gateway.acme and gateway.acme_name and gateway.plain):
        hint = "write gateway: {service: ..., plain: ..., acme: SERVICE, acme-name: acme.example.org}"
        draft.problems.add("acme-half", place, "an ACME server needs a service, a public name, and plain HTTP", hint)
        return
    if len(draft.flow_entries) < len(draft.declaration.flows):
        return
    flows = {(flow.source, flow.service) for flow in draft.flows.values()}
    for source, service in ((gateway.service, gateway.acme), (gateway.acme, gateway.plain)):
        if (f"service:{source}", service) not in flows:
            message = f"'{source}' may not call '{service}': the ACME server could not do its work"
            draft.problems.add("acme-unreachable", place, message, f"add a flow: {{from: {source}, to: {service}}}")


def _check_service(draft: Draft, key: str, name: str) -> None:
    """Its TLS is the customers', and ends in the gateway: no certificate of the platform's belongs there."""
    service, place = draft.services[name], draft.declaration.at("gateway", key)
    ports = [port for ports in service.ports for port in range(ports.first, ports.last + 1)]
    if service.protocol is not Protocol.TCP or service.tls is not Tls.NONE or len(ports) != 1:
        message = f"'{name}' is not one port of tcp with tls: none"
        port = 443 if key == "service" else 80
        hint = f"write {name}: {{protocol: tcp, ports: [{port}]}}; the certificates there are the customers'"
        draft.problems.add("gateway-form", place, message, hint)


def _check_hosts(draft: Draft, gateway: Gateway) -> None:
    place = draft.declaration.at("gateway", "service")
    hosts = draft.services[gateway.service].hosts
    if not hosts:
        hint = f"write services: [{', '.join(gateway.services.values())}] at an edge host"
        draft.problems.add("service-without-hosts", place, f"no host serves '{gateway.service}'", hint)
    if gateway.plain:
        halves = sorted({*hosts} ^ {*draft.services[gateway.plain].hosts})
        if halves:
            message = f"'{halves[0]}' serves one of '{gateway.service}' and '{gateway.plain}', and not the other"
            draft.problems.add(
                "gateway-half", draft.host_place(halves[0], "services"), message, "let every gateway host serve both"
            )
    for name in hosts:
        host = draft.hosts[name]
        tier = draft.segments[host.segment].tier
        if tier is not Tier.EDGE:
            message = f"'{name}' serves '{gateway.service}' in a segment of tier {tier}"
            hint = "what the internet reaches belongs into a segment of tier edge"
            draft.problems.add("gateway-outside-edge", draft.host_place(name, "segment"), message, hint)
        if host.customer:
            message = f"'{name}' is {host.customer}'s and serves '{gateway.service}'"
            hint = "all customers' certificates are there: it is the platform's"
            draft.problems.add("gateway-of-customer", draft.host_place(name, "customer"), message, hint)


def _check_way_in(draft: Draft, gateway: Gateway) -> None:
    if len(draft.flow_entries) < len(draft.declaration.flows):  # the one that is missed may have been refused
        return
    for key, name in gateway.services.items():
        if not any(flow.internet and flow.service == name for flow in draft.flows.values()):
            message = f"the internet may not call '{name}'"
            hint = f"add a flow: {{from: internet, to: {name}}}"
            draft.problems.add("gateway-unreachable", draft.declaration.at("gateway", key), message, hint)
    called = [flow.service for flow in draft.flows.values() if flow.source == f"service:{gateway.service}"]
    for name in dict.fromkeys(called):
        if draft.services[name].tls is not Tls.MUTUAL:
            message = f"'{name}' could not tell the gateway from others"
            hint = f"write {name}: {{protocol: tcp, ports: [...], tls: mutual}}; applications notice nothing of it"
            place = draft.declaration.services[name].at("tls")
            draft.problems.add("gateway-unproved", place, message, hint)
    if not called:
        message = f"'{gateway.service}' may call nothing: there is nobody to answer for"
        hint = f"add a flow at each site: {{from: {gateway.service}, to: SERVICE}}, to what instances serve"
        draft.problems.add("gateway-leads-nowhere", draft.declaration.at("gateway", "service"), message, hint)
