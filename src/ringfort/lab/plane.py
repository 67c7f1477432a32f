"""Where a lab's control plane is: a witness, a controller, and a node for every machine, each in its host's namespace.

Everything they say to each other crosses the lab's own network, as flows of its declaration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ringfort.environment.model import Address, Control, Environment, OperatorRole
from ringfort.environment.topology import Device, DeviceKind, devices_by_machine, machine_of, node_host
from ringfort.errors import RingfortError
from ringfort.kernel import netns
from ringfort.lab import keyring, state
from ringfort.lab.shapes import namespace_name

if TYPE_CHECKING:
    from ringfort.control.client import Client

REASON = "ringfort up"
"""Why the lab does what an operator would."""

ROLES = (OperatorRole.NETWORK_OPERATOR, OperatorRole.SECURITY_OFFICER, OperatorRole.AUDITOR)
"""Of the first, the second and all other operators, where the declaration says nothing of it."""

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plane:
    """Where the control plane of an environment is. Made by `of`, for environments that declare one."""

    environment: Environment
    control: Control
    directory: Path
    keys: Path

    @classmethod
    def of(cls, environment: Environment) -> Plane | None:
        """The control plane, if the environment declares one."""
        if environment.control is None:
            return None
        base = state.directory(environment.name)
        return cls(environment, environment.control, base / "control", base / "keys")

    # -- who is where ----------------------------------------------------------------------------------------------

    @property
    def nodes(self) -> dict[str, tuple[Device, ...]]:
        """Host where a node runs -> the devices it enforces: those of its machine."""
        found = {}
        for machine, devices in devices_by_machine(self.environment).items():
            found[node_host(self.environment, machine)] = devices
        return found

    def node_of(self, device: Device) -> str:
        """The host where the node of a device runs."""
        return node_host(self.environment, machine_of(self.environment, device))

    def place(self, host: str) -> str:
        """The namespace of a host."""
        return namespace_name(self.environment, Device(DeviceKind.HOST, host))

    def serving(self, service: str) -> tuple[str, int]:
        """The first host that serves a service of the control plane, and its port."""
        found = self.environment.services[service]
        return found.hosts[0], found.ports[0].first

    def addresses(self, service: str) -> tuple[Address, ...]:
        """Where the first host of a service of the control plane is."""
        return self.environment.hosts[self.serving(service)[0]].addresses

    def node_directory(self, host: str) -> Path:
        """The state directory of a node."""
        return self.directory / "nodes" / host

    def credential(self, service: str) -> str:
        """The file with key and certificate of a service of the control plane."""
        host, _ = self.serving(service)
        return str(keyring.key_file(self.keys, keyring.service_holder(service, host)))

    @property
    def bundle(self) -> str:
        """The file with the trust bundle."""
        return str(self.keys / keyring.AUTHORITY / "bundle.pem")

    @property
    def operators(self) -> list[str]:
        """Who may call the controller, by the flows that lead to it."""
        flows = (flow for flow in self.environment.flows.values() if flow.service == self.control.controller)
        return list(dict.fromkeys(name for flow in flows for name in flow.operators))

    def states(self) -> dict[str, Path]:
        """Every host -> the state directory of the node that enforces it. Not of instances: no node is in a guest."""
        nodes = {machine: node_host(self.environment, machine) for machine in devices_by_machine(self.environment)}
        return {
            host.name: self.node_directory(nodes[host.machine]) / "state"
            for host in self.environment.hosts.values()
            if not host.hypervisor
        }

    @property
    def roles(self) -> dict[str, tuple[OperatorRole, ...]]:
        """What each of `operators` may act as."""
        declared = {one.name: one.roles for one in self.control.operators}
        return declared or {name: (ROLES[min(number, 2)],) for number, name in enumerate(self.operators)}

    def operator(self, role: OperatorRole = OperatorRole.NETWORK_OPERATOR) -> tuple[str, str]:
        """An operator who may act as that, and a host from where he may call the controller.

        Raises:
            RingfortError: no flow lets one.
        """
        roles = self.roles
        for flow in self.environment.flows.values():
            for name in flow.operators if flow.service == self.control.controller else ():
                if role in roles.get(name, ()):
                    return name, flow.callers[0]
        hint = f"add a flow {{from: group:administrators, to: {self.control.controller}, as: [alice, bob]}}"
        raise RingfortError("no-operator", f"nobody who may act as {role} may call the controller", hint)

    @contextmanager
    def calling(self, role: OperatorRole = OperatorRole.NETWORK_OPERATOR) -> Iterator[Client]:
        """Calls to the controller as an operator who may act as that, from the operator's host."""
        # What can call is heavy, and most who ask where the control plane is call nobody.
        from ringfort.control.client import Client, Endpoint
        from ringfort.identity.store import read_credential
        from ringfort.lab.authority import Authority

        name, host = self.operator(role)
        credential = read_credential(keyring.key_file(self.keys, keyring.operator_holder(name, host)))
        bundle = Authority(self.keys).bundle
        own = {address.version for address in self.environment.hosts[host].addresses}
        there = next(address for address in self.addresses(self.control.controller) if address.version in own)
        endpoint = Endpoint(str(there), self.serving(self.control.controller)[1])
        with netns.inside(self.place(host)), Client.platform(endpoint, credential, bundle, 5.0) as client:
            yield client


def literal(address: Address) -> str:
    """An address as it stands before a port."""
    return f"[{address}]" if address.version == 6 else str(address)
