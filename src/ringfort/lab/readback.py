"""What a lab really enforces, read back from the kernel and from the processes that check callers; it changes nothing.

It needs little: `ringfort verify --live` waits for this module's imports each time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ringfort.environment.identity import IdentityCheck
from ringfort.environment.model import Environment, PortRange, Protocol, Tls
from ringfort.environment.topology import Device, devices
from ringfort.kernel import nft
from ringfort.lab import client, control, door, gates, probing, processes, state
from ringfort.lab.authority import Authority
from ringfort.lab.plane import Plane
from ringfort.lab.shapes import namespace_name


def read_back(
    environment: Environment,
) -> tuple[dict[Device, dict[str, Any]], dict[str, tuple[IdentityCheck, ...]]]:
    """Every device's ruleset as ``nft --json list ruleset`` gives it, and by host the identity checks that its services
    make.

    A device whose rules are gone has a document without tables. Isolation of a switch's ports is not in it (the rules
    say the same once more); see `ringfort.lab.lab.Lab.isolated_ports`.

    Raises:
        RingfortError: a namespace is gone, or the services don't answer.
    """
    documents = {device: nft.ruleset(namespace_name(environment, device)) for device in devices(environment)}
    return documents, identity_checks(environment)


def identity_checks(environment: Environment) -> dict[str, tuple[IdentityCheck, ...]]:
    """By host (every host, in file order), the checks that are really made now, in the order of its services.

    Raises:
        RingfortError: the services or an enforcement point don't answer.
    """
    found: dict[str, tuple[IdentityCheck, ...]] = {}
    if any(host.services for host in environment.hosts.values()):
        plain, (behind, _) = (
            control.read(environment.name).checks,
            gates.read(environment, state.keys(environment.name)),
        )
        plane = Plane.of(environment)
        for host, own in [
            *(_control_checks(plane).items() if plane is not None else ()),
            *_gateway_checks(environment),
        ]:
            plain = {**plain, host: (*plain.get(host, ()), *own)}
        for host in environment.hosts:
            by_service = {check.service: check for check in (*plain.get(host, ()), *behind.get(host, ()))}
            order = [name for name in environment.hosts[host].services if name in by_service]
            found[host] = tuple(by_service[name] for name in dict.fromkeys([*order, *by_service]))
    return {host: found.get(host, ()) for host in environment.hosts}


def _gateway_checks(environment: Environment) -> Iterator[tuple[str, tuple[IdentityCheck, ...]]]:
    """By host, the gateway's services where they are served: of visitors it asks nothing."""
    gateway = environment.gateway
    for host in gates.gateway_hosts(environment):
        if gateway is not None and gates.is_edge_running(environment, host):
            services = [environment.services[name] for name in gateway.services.values()]
            yield (
                host,
                tuple(IdentityCheck(one.name, one.protocol, one.ports, one.tls, frozenset()) for one in services),
            )


def _control_checks(plane: Plane) -> dict[str, tuple[IdentityCheck, ...]]:
    """By host, what the controller and the witness that run ask of their callers.

    A controller hears every node of the trust domain and the operators in its configuration, each from its own
    addresses; a witness hears controllers. Whom they hear is told from that; that they refuse everybody else they are
    asked: a caller without a certificate, and one in a wrong role. One that doesn't run asks nothing.
    """
    wanted: list[tuple[str, IdentityCheck]] = []
    targets: list[probing.Target] = []
    services, prefix = plane.environment.services, f"spiffe://{plane.environment.trust_domain}"
    machines = {host.identity for host in plane.environment.hosts.values()}
    operators = {f"{prefix}/operator/{name}" for name in plane.operators}
    for name, process, callers in (
        (plane.control.controller, processes.CONTROLLER, machines | operators),
        (plane.control.witness, processes.first_witness(plane), {services[plane.control.controller].identity}),
    ):
        if name and processes.running(plane, process) is not None:
            service = services[name]
            check = IdentityCheck(name, service.protocol, service.ports, service.tls, frozenset(callers))
            host, port = plane.serving(name)
            wanted.append((host, check))
            first = client.opening(plane.environment, name)
            targets.append(probing.Target(plane.place(host), plane.addresses(name), port, service.identity, first))
    found: dict[str, tuple[IdentityCheck, ...]] = {
        host: (IdentityCheck(plane.control.door, Protocol.TCP, _ports(plane), Tls.NONE, frozenset()),)
        for host in door.hosts(plane)
        if processes.running(plane, door.name(host)) is not None
    }
    for (host, check), heard in zip(wanted, probing.ask(Authority(plane.keys), targets), strict=True):
        enforced = probing.enforced(check, heard, plane.environment.trust_domain)
        if enforced is not None:
            found[host] = (*found.get(host, ()), enforced)
    return found


def _ports(plane: Plane) -> tuple[PortRange, ...]:
    return plane.environment.services[plane.control.door].ports
