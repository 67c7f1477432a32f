"""Names and addresses that follow from an environment: devices, interfaces, MAC addresses, gateways.

The compiler, the lab and the proof share this vocabulary and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Interface, IPv6Interface, ip_interface

from ringfort.environment.model import Address, Environment, Held, Host, Network

INTERFACE_NAME_LIMIT = 15
"""Characters in a Linux interface name: IFNAMSIZ less the closing NUL (linux/if.h)."""

HOST_INTERFACE = "eth0"
BACKBONE = "backbone"
SANDBOX_GUEST, SANDBOX_UPLINK = "guest", "uplink"
"""The interfaces of a sandbox: towards its guest, and to the guest's port of the segment's switch."""

RESERVED_INTERFACES = frozenset({"lo", "all", "default", BACKBONE, "bridge", HOST_INTERFACE})
"""Interface names that no segment, provider, host or router may take."""


class DeviceKind(StrEnum):
    """What a device is."""

    ROUTER = "router"
    SWITCH = "switch"
    HOST = "host"
    SANDBOX = "sandbox"


@dataclass(frozen=True, slots=True, order=True)
class Device:
    """Anything that holds rules. ``name`` is a router's or host's name, or a segment's key for its switch; a sandbox is
    called after the instance that it guards."""

    kind: DeviceKind
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


@dataclass(frozen=True, slots=True)
class Leg:
    """One interface of a site's routers; both routers of the pair have the same legs.

    ``peer`` is the key of the segment or provider, or ``backbone``. ``mac`` and ``addresses`` are virtual: the active
    router of the pair holds them.
    """

    interface: str
    kind: str  # "segment", "provider" or "backbone"
    peer: str
    mac: str
    addresses: tuple[IPv4Interface | IPv6Interface, ...]


@dataclass(frozen=True, slots=True)
class Port:
    """One port of a segment's switch: exactly one of ``host`` and ``router`` is set."""

    interface: str
    host: str = ""
    router: str = ""


def interface_name(name: str) -> str:
    """The interface called after ``name``: itself if it fits, else its start and 40 bits of its SHA-256.

    40 bits, because a segment may have thousands of hosts whose names begin alike: 16 bits would collide at a few
    hundred. The loader refuses an environment in which two names on one device still meet.
    """
    if len(name) <= INTERFACE_NAME_LIMIT and name not in RESERVED_INTERFACES:
        return name
    digest = base64.b32encode(hashlib.sha256(name.encode()).digest()[:5]).decode().lower()
    return f"{name[:6].rstrip('-')}-{digest}"


def mac_address(*words: str) -> str:
    """A locally administered unicast MAC address (IEEE 802-2014, 8.2) derived from ``words``."""
    digest = hashlib.sha256("\0".join(words).encode()).digest()
    first = digest[0] & 0xFC | 0x02  # locally administered, not a group; 46 bits remain
    return ":".join(f"{byte:02x}" for byte in (first, *digest[1:6]))


def host_address(network: Network, number: int) -> Address:
    """The ``number``-th host address of ``network``, from 1."""
    return network.network_address + number


def gateway_addresses(environment: Environment, segment: str) -> tuple[Address, ...]:
    """The addresses of a segment's gateway, one for each network."""
    return tuple(host_address(network, 1) for network in environment.segments[segment].networks)


def gateway_mac(environment: Environment, segment: str) -> str:
    """The virtual MAC address of a segment's gateway."""
    return mac_address(environment.name, "gateway", segment)


def backbone_addresses(environment: Environment, site: str) -> tuple[Address, ...]:
    """The addresses that a site's active router holds on the backbone."""
    if environment.backbone is None:
        return ()
    number = list(environment.sites).index(site) + 1
    return tuple(host_address(network, number) for network in environment.backbone.networks)


def backbone_mac(environment: Environment, site: str) -> str:
    """The virtual MAC address of a site's routers on the backbone."""
    return mac_address(environment.name, BACKBONE, site)


def floating_mac(environment: str, name: str) -> str:
    """The virtual MAC address of floating addresses; ``environment`` is its name."""
    return mac_address(environment, "floating", name)


def provider_mac(environment: Environment, provider: str) -> str:
    """The MAC address of the provider's own router, as a site's routers see it."""
    return mac_address(environment.name, "provider", provider)


def legs(environment: Environment, site: str) -> tuple[Leg, ...]:
    """The legs of a site's routers: segments, providers, then the backbone if there is one."""
    return tuple(_legs(environment, site))


def _legs(environment: Environment, site: str) -> Iterator[Leg]:
    for key in environment.sites[site].segments:
        segment = environment.segments[key]
        yield Leg(
            interface_name(segment.name),
            "segment",
            key,
            gateway_mac(environment, key),
            _interfaces(segment.networks, gateway_addresses(environment, key)),
        )
    for key in environment.sites[site].providers:
        provider = environment.providers[key]
        own = tuple(host_address(network, 2) for network in provider.networks)
        mac = mac_address(environment.name, "provider-leg", key)
        yield Leg(interface_name(provider.name), "provider", key, mac, _interfaces(provider.networks, own))
    if environment.backbone is not None:
        own = backbone_addresses(environment, site)
        mac = backbone_mac(environment, site)
        yield Leg(BACKBONE, BACKBONE, BACKBONE, mac, _interfaces(environment.backbone.networks, own))


def _interfaces(
    networks: tuple[Network, ...], addresses: tuple[Address, ...]
) -> tuple[IPv4Interface | IPv6Interface, ...]:
    return tuple(ip_interface(f"{a}/{n.prefixlen}") for n, a in zip(networks, addresses, strict=True))


def ports(environment: Environment, segment: str) -> tuple[Port, ...]:
    """The ports of a segment's switch: the routers', then the hosts'. Floating addresses are at their holders'."""
    site = environment.sites[environment.segments[segment].site]
    routers = tuple(Port(interface_name(name), router=name) for name in site.routers)
    hosts = (name for name in environment.hosts_by_segment[segment] if not isinstance(environment.hosts[name], Held))
    return routers + tuple(Port(interface_name(name), host=name) for name in hosts)


def devices(environment: Environment) -> tuple[Device, ...]:
    """Every device of the environment: routers, switches, hosts, in file order. An instance is its sandbox: what
    stands inside the guest is the customer's, and guards nobody else."""
    return (
        *(Device(DeviceKind.ROUTER, name) for name in environment.routers),
        *(Device(DeviceKind.SWITCH, key) for key in environment.segments),
        *(device_of(host) for host in environment.hosts.values() if not isinstance(host, Held)),
    )


def device_of(host: Host) -> Device:
    """What guards a host: its own firewall, an instance's sandbox, or the firewall of who holds floating addresses."""
    if isinstance(host, Held):
        return Device(DeviceKind.HOST, host.holder)
    return Device(DeviceKind.SANDBOX if host.hypervisor else DeviceKind.HOST, host.name)


def machine_of(environment: Environment, device: Device) -> str:
    """The machine a device runs on, and with which it is lost."""
    match device.kind:
        case DeviceKind.ROUTER:
            return environment.routers[device.name].machine
        case DeviceKind.SWITCH:
            return environment.segments[device.name].machine
        case DeviceKind.HOST | DeviceKind.SANDBOX:
            return environment.hosts[device.name].machine


def instances(environment: Environment) -> dict[str, tuple[str, ...]]:
    """Hypervisor -> the instances on it, in file order."""
    found: dict[str, list[str]] = {}
    for host in environment.hosts.values():
        if host.hypervisor:
            found.setdefault(host.hypervisor, []).append(host.name)
    return {hypervisor: tuple(names) for hypervisor, names in found.items()}


def devices_by_machine(environment: Environment) -> dict[str, tuple[Device, ...]]:
    """Machine -> the devices on it, in the order of `devices`: what the machine's node enforces."""
    found: dict[str, list[Device]] = {}
    for device in devices(environment):
        found.setdefault(machine_of(environment, device), []).append(device)
    return {machine: tuple(several) for machine, several in found.items()}


def node_host(environment: Environment, machine: str) -> str:
    """The host where a machine's node runs: the first on it that may call the controllers or is one; "" if none is.

    Never an instance: a node guards it.
    """
    if environment.control is None:
        return ""
    controller = environment.control.controller
    callers = {c for flow in environment.flows.values() if flow.service == controller for c in flow.callers}
    callers |= set(environment.services[controller].hosts)
    hosts = (host for host in environment.hosts.values() if host.machine == machine and not host.hypervisor)
    return next((host.name for host in hosts if host.name in callers), "")


def internal_networks(environment: Environment) -> tuple[Network, ...]:
    """Every network that is inside: the sites' blocks and the backbone."""
    blocks = tuple(block for site in environment.sites.values() for block in site.blocks)
    return blocks + (environment.backbone.networks if environment.backbone else ())
