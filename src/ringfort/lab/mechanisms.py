"""The names of mechanisms, as the proof, the drill and the command line write them."""

from __future__ import annotations

from dataclasses import dataclass

from ringfort.environment.model import Environment
from ringfort.environment.topology import Device, DeviceKind, devices
from ringfort.errors import RingfortError

ROUTER_FILTER, PORT_SECURITY, HOST_FIREWALL, IDENTITY = "router-filter", "port-security", "host-firewall", "identity"
SANDBOX_FILTER = "sandbox-filter"

_DEVICE_KINDS = {
    ROUTER_FILTER: DeviceKind.ROUTER,
    PORT_SECURITY: DeviceKind.SWITCH,
    HOST_FIREWALL: DeviceKind.HOST,
    SANDBOX_FILTER: DeviceKind.SANDBOX,
}


@dataclass(frozen=True, slots=True)
class Mechanism:
    """One enforcement point: rules on ``device``, or the identity check of ``service`` (on ``host``, or everywhere)."""

    name: str
    device: Device | None = None
    service: str = ""
    host: str = ""


def parse(environment: Environment, name: str) -> Mechanism:
    """``router-filter:ROUTER``, ``port-security:SITE/SEGMENT``, ``host-firewall:HOST``, ``sandbox-filter:INSTANCE``,
    ``identity:SERVICE`` or ``identity:SERVICE@HOST``.

    Raises:
        RingfortError: the environment has no such mechanism.
    """
    kind, _, subject = name.partition(":")
    if kind == IDENTITY:
        service, _, host = subject.partition("@")
        control = environment.control
        if control is not None and service in (control.controller, control.witness):
            message = f"{name!r} can't be switched off: {service} checks its callers for itself"
            raise RingfortError("mechanism-fixed", message)
        if service in environment.services and (not host or host in environment.services[service].hosts):
            return Mechanism(name, service=service, host=host)
    elif kind in _DEVICE_KINDS:
        device = Device(_DEVICE_KINDS[kind], subject)
        if device in devices(environment):
            return Mechanism(name, device)
    raise RingfortError("unknown-mechanism", f"there is no mechanism {name!r} in {environment.name!r}", _HINT)


def devices_of(environment: Environment, mechanism: Mechanism) -> tuple[Device, ...]:
    """The devices where a mechanism is enforced."""
    if mechanism.device is not None:
        return (mechanism.device,)
    hosts = (mechanism.host,) if mechanism.host else environment.services[mechanism.service].hosts
    return tuple(Device(DeviceKind.HOST, host) for host in hosts)


_HINT = (
    "mechanisms are router-filter:ROUTER, port-security:SITE/SEGMENT, host-firewall:HOST, "
    "sandbox-filter:INSTANCE, identity:SERVICE"
)
