"""What each host's services check of their callers, and which of these checks an enforcement point makes for them."""

from __future__ import annotations

from ringfort.environment.identity import IdentityCheck
from ringfort.environment.model import Environment, Protocol, Tls


def identity_checks(environment: Environment) -> dict[str, tuple[IdentityCheck, ...]]:
    """Name of each host -> one check for each service it serves, in the order of the host's services.

    A ``mutual`` service accepts exactly the identities of the flows that lead to it; without a flow, nobody.
    """
    callers: dict[str, set[str]] = {name: set() for name in environment.services}
    for flow in environment.flows.values():
        callers[flow.service].update(flow.identities)
    checks = {
        name: IdentityCheck(
            name,
            service.protocol,
            service.ports,
            service.tls,
            frozenset(callers[name]) if service.tls is Tls.MUTUAL else frozenset(),
        )
        for name, service in environment.services.items()
    }
    return {host.name: tuple(checks[name] for name in host.services) for host in environment.hosts.values()}


def guarded(environment: Environment, checks: tuple[IdentityCheck, ...]) -> tuple[IdentityCheck, ...]:
    """Of a host's checks, those of the enforcement point in front of its services: of everything under TLS, less the
    control plane's own services, which check for themselves."""
    control = environment.control
    themselves = {control.controller, control.witness} if control is not None else set()
    return tuple(
        check
        for check in checks
        if check.tls is not Tls.NONE and check.protocol is Protocol.TCP and check.service not in themselves
    )
