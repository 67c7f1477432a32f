"""From an environment to one ruleset for each device."""

from __future__ import annotations

from collections.abc import Iterator

from ringfort.environment.model import Environment
from ringfort.environment.topology import Device, DeviceKind, devices
from ringfort.network.host import host_table
from ringfort.network.nft import Json
from ringfort.network.plan import Plan
from ringfort.network.router import router_table
from ringfort.network.ruleset import Ruleset
from ringfort.network.sandbox import sandbox_table
from ringfort.network.switch import switch_table


def compile_device(environment: Environment, device: Device) -> Ruleset:
    """The ruleset of one device. To compile several, `compile_environment` or `Compiler` indexes the file once."""
    return Compiler(environment).device(device)


def compile_environment(environment: Environment) -> dict[Device, Ruleset]:
    """The ruleset of every device, in the order of `ringfort.environment.topology.devices`."""
    return {ruleset.device: ruleset for ruleset in Compiler(environment)}


class Compiler:
    """Compiles the devices of one environment, one at a time; iterate over it to get all of them."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self._plan = Plan(environment)
        self._sites: dict[str, Json] = {}

    def __iter__(self) -> Iterator[Ruleset]:
        for device in devices(self.environment):
            yield self.device(device)

    def device(self, device: Device) -> Ruleset:
        """The ruleset of ``device``, which must be one of the environment's."""
        plan, name = self._plan, self.environment.name
        match device.kind:
            case DeviceKind.ROUTER:
                site = self.environment.routers[device.name].site
                if site not in self._sites:
                    self._sites[site] = router_table(plan, site)
                routers = ", ".join(self.environment.sites[site].routers)
                return Ruleset(device, f"routers of site {site} ({routers}) in {name}", self._sites[site])
            case DeviceKind.SWITCH:
                return Ruleset(device, f"switch of segment {device.name} in {name}", switch_table(plan, device.name))
            case DeviceKind.HOST:
                return Ruleset(device, f"host {device.name} in {name}", host_table(plan, device.name))
            case DeviceKind.SANDBOX:
                hypervisor = self.environment.hosts[device.name].hypervisor
                title = f"sandbox of instance {device.name} on {hypervisor} in {name}"
                return Ruleset(device, title, sandbox_table(plan, device.name))
