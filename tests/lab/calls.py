"""Every declared call of an environment, made honestly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ringfort.environment.model import Environment, Service
from ringfort.environment.topology import Device, DeviceKind
from ringfort.lab.authority import holder_of
from ringfort.lab.client import Answer, Outcome, call
from ringfort.lab.lab import Lab


def host(name: str) -> Device:
    return Device(DeviceKind.HOST, name)


@dataclass(frozen=True)
class Call:
    """One declared call: from a place, to an address and port, showing the certificate of a holder."""

    flow: str
    place: Device | str
    address: str
    port: int
    service: Service
    holder: str

    def make(self, lab: Lab, **changes: object) -> Answer:
        wanted = {"protocol": self.service.protocol, "tls": self.service.tls, "holder": self.holder} | changes
        return call(lab, self.place, self.address, self.port, timeout_seconds=1.0, **wanted)  # type: ignore[arg-type]


def declared(environment: Environment) -> Iterator[Call]:
    """Every pair of every flow in every family, on the first port; and every published service for the internet."""
    for flow in environment.flows.values():
        service = environment.services[flow.service]
        for caller in flow.callers:
            holder = holder_of(flow, caller)
            versions = {address.version for address in environment.hosts[caller].addresses}
            for server in service.hosts:
                for address in environment.hosts[server].addresses if server != caller else ():
                    if address.version in versions:
                        port = service.ports[0].first if service.ports else 0
                        yield Call(flow.name, host(caller), str(address), port, service, holder)
    for entry in environment.published:
        service = environment.services[entry.service]
        yield Call("internet", "visitor", str(entry.address), entry.port, service, "")


def failures(lab: Lab) -> list[str]:
    """The declared calls that don't work, with what came of them.

    Not the customers' door: it hands on to a controller, which `Lab.up` alone does not run (tests/lab/test_door.py).
    """
    found = []
    control = lab.environment.control
    for attempt in declared(lab.environment):
        if control is not None and attempt.service.name == control.door:
            continue
        answer = attempt.make(lab)
        if answer.outcome is not Outcome.ADMITTED:
            found.append(f"{attempt.flow}: {attempt.place} -> {attempt.address}:{attempt.port}: {answer}")
    return found
