"""The control plane of a lab as a whole: brought to what is declared, and what it asks of its callers.

What people do elsewhere - approving an environment, handing out tokens - `ringfort up` does in their place, with keys
that it made.
"""

from __future__ import annotations

from collections.abc import Mapping

from ringfort.environment.identity import IdentityCheck
from ringfort.lab import approvers, controller, nodes, processes, publishing, witness
from ringfort.lab.plane import Plane, Progress


def converge(plane: Plane, progress: Progress) -> int:
    """Bring the control plane to what is declared: controller and witness run, the environment is published, every
    machine is enrolled, and every node has confirmed the version.

    Returns:
        The version.

    Raises:
        RingfortError: something of it doesn't come about in time; it is said what.
    """
    approvers.ensure(plane.directory / "approvers")
    if plane.control.witness:
        witness.start(plane)
    controller.start(plane, progress)
    with plane.calling() as client:
        version = publishing.publish(plane, client, progress)
        nodes.enrol(plane, client, progress)
    nodes.confirmed(plane, version, progress)
    return version


def checks(plane: Plane) -> dict[str, tuple[IdentityCheck, ...]]:
    """By host, what the controller and the witness that run ask of their callers.

    A controller hears every node of the trust domain and the operators in its configuration, each from its own
    addresses; a witness hears controllers. One that doesn't run asks nothing. This is told from their being there and
    from the configuration they were started with: unlike an enforcement point, they are not asked.
    """
    found: dict[str, tuple[IdentityCheck, ...]] = {}
    services, prefix = plane.environment.services, f"spiffe://{plane.environment.trust_domain}"
    machines = {host.identity for host in plane.environment.hosts.values()}
    operators = {f"{prefix}/operator/{name}" for name in plane.operators}
    for name, process, callers in (
        (plane.control.controller, controller.NAME, machines | operators),
        (plane.control.witness, witness.first(plane), {services[plane.control.controller].identity}),
    ):
        if name and processes.running(plane, process) is not None:
            service = services[name]
            check = IdentityCheck(name, service.protocol, service.ports, service.tls, frozenset(callers))
            found[service.hosts[0]] = (*found.get(service.hosts[0], ()), check)
    return found


def counts(plane: Plane) -> dict[tuple[str, str], Mapping[str, int]]:
    """By (service, host), how many callers the controller and the witness have refused, as their logs tell."""
    found: dict[tuple[str, str], Mapping[str, int]] = {}
    for name, logs, words in (
        (plane.control.controller, (controller.NAME,), "refused a connection from "),
        (plane.control.witness, witness.NAMES, "witness:caller:refused"),
    ):
        if name:
            refused = sum(processes.log(plane, process).count(words) for process in logs)
            found[name, plane.serving(name)[0]] = {"caller-not-allowed": refused}
    return found
