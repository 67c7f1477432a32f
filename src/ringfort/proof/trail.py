"""The way of one packet through an environment, stage by stage, as the rules that are loaded decide it.

`stages` lays the way out from the topology; `follow` walks it, one device after the other, with the packet as the
device before leaves it. It does not share the engine's boxes: what the engine found is told again by the rules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_address

from ringfort.environment.floating import interface_of
from ringfort.environment.identity import IdentityCheck
from ringfort.environment.model import Address, Environment, Held, Host, Tls
from ringfort.environment.topology import (
    BACKBONE,
    HOST_INTERFACE,
    SANDBOX_GUEST,
    SANDBOX_UPLINK,
    Device,
    DeviceKind,
    backbone_mac,
    device_of,
    gateway_mac,
    interface_name,
    internal_networks,
    ports,
    provider_mac,
)
from ringfort.proof.boxes import ICMP, ICMPV6, PROTOCOLS
from ringfort.proof.declared import identity_holders
from ringfort.proof.execute import Result
from ringfort.proof.fields import (
    CT_STATE,
    DPORT,
    ETHER_DADDR,
    ETHER_SADDR,
    IIFNAME,
    IIFTYPE,
    OIFNAME,
    OIFTYPE,
    SPORT,
    CtState,
    Field,
    Universe,
    name_value,
)
from ringfort.proof.hooks import ETHER, Hook, Layer
from ringfort.proof.layers import number_of
from ringfort.proof.packets import PacketSet, everything, where
from ringfort.proof.ruleset import Doubt, Ruleset
from ringfort.proof.trace import Step, trace
from ringfort.proof.variables import Space
from ringfort.proof.verdict import Decision, Hop, Packet

NUMBERS = {name: number for number, name in PROTOCOLS.items()}
DIRECT = "direct"
"""In place of a router: straight from one port of a switch to another."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One device on a way: the hooks it meets the packet with, by which interfaces, under which MAC addresses."""

    device: Device
    mechanism: str
    hooks: tuple[Hook, ...]
    iif: str = ""
    oif: str = ""
    source_mac: str = ""
    destination_mac: str = ""


@dataclass(frozen=True, slots=True)
class Trail:
    """A followed packet: its hops, whether it arrived, and whether a rule that was not understood decided."""

    hops: tuple[Hop, ...]
    arrived: bool
    certain: bool
    refusing: tuple[str, ...]


def host_of(environment: Environment, address: Address) -> Host | None:
    """The host that has an address."""
    return next((host for host in environment.hosts.values() if address in host.addresses), None)


def service_at(environment: Environment, host: Host, protocol: str, port: int) -> str:
    """The declared service of a host at a port (for ``icmp`` at any); "" if it serves none there."""
    kind = protocol.replace("icmpv6", "icmp")
    for name in host.services:
        service = environment.services[name]
        inside = kind == "icmp" or any(ports_.first <= port <= ports_.last for ports_ in service.ports)
        if service.protocol.value == kind and inside:
            return name
    return ""


def translated_host(environment: Environment, packet: Packet) -> tuple[Host, Address, int] | None:
    """Where a published address leads, as declared: host, its address and port."""
    wanted = ip_address(packet.destination)
    for one in environment.published:
        service = environment.services[one.service]
        kind = packet.protocol.replace("icmpv6", "icmp")
        if one.address == wanted and kind == service.protocol.value and one.port in (0, packet.port):
            host = environment.hosts[one.host]
            target = next(a for a in host.addresses if a.version == wanted.version)
            return host, target, one.target_port or packet.port
    return None


def stages(
    environment: Environment, packet: Packet, receiver: Host, routers: Mapping[str, str], *, direct: bool = False
) -> tuple[Stage, ...]:
    """The devices on a packet's way to ``receiver``, in order.

    Args:
        routers: site -> the active router.
        direct: straight from port to port inside a segment.
    """
    kind, _, name = packet.place.partition(":")
    if kind == "host":
        sender = environment.hosts[name]
        if direct:
            return (
                _port_to_port(environment, sender, receiver, packet),
                *_at_host(environment, receiver, packet.source_mac),
            )
        first = routers[sender.site]
        way = [_host_out(sender, packet.source_mac), _into_router(environment, sender, first, packet)]
        way += _routed(
            environment, receiver, sender.site, interface_name(sender.segment.split("/")[1]), packet, routers
        )
        return (*way, *_arrival(environment, receiver, routers[receiver.site]))
    if kind == "internet":
        site, provider = name.split("/")
        entering = replace(packet, source_mac=provider_mac(environment, name))
        way = _routed(environment, receiver, site, interface_name(provider), entering, routers)
        return (*way, *_arrival(environment, receiver, routers[receiver.site]))
    site = environment.routers[name].site
    if site == receiver.site:
        return _arrival(environment, receiver, name)
    entering = replace(packet, source_mac=backbone_mac(environment, site))
    way = _routed(environment, receiver, receiver.site, BACKBONE, entering, routers)
    return (*way, *_arrival(environment, receiver, routers[receiver.site]))


BRIDGE = tuple(Hook(name, Layer.BRIDGE) for name in ("prerouting", "forward", "postrouting"))
FORWARD = tuple(Hook(name) for name in ("prerouting", "forward", "postrouting"))
INPUT = tuple(Hook(name) for name in ("prerouting", "input"))
OUTPUT = tuple(Hook(name) for name in ("output", "postrouting"))


def guard_of(host: Host) -> str:
    """The mechanism that guards a host: its own firewall, or an instance's sandbox."""
    name = host.holder if isinstance(host, Held) else host.name
    return f"{'sandbox-filter' if host.hypervisor else 'host-firewall'}:{name}"


def owner(environment: Environment, mechanism: str, receiver: Host) -> str:
    """The machine that a mechanism on the way to ``receiver`` is lost with."""
    kind, _, name = mechanism.partition(":")
    if kind == "router-filter":
        return environment.routers[name].machine
    if kind == "port-security":
        return environment.segments[name].machine
    return environment.hosts[name].machine if kind in ("host-firewall", "sandbox-filter") else receiver.machine


def _host_out(sender: Host, mac: str) -> Stage:
    if sender.hypervisor:
        out = SANDBOX_GUEST, SANDBOX_UPLINK
        return Stage(device_of(sender), guard_of(sender), FORWARD, *out, source_mac=mac or sender.mac)
    return Stage(device_of(sender), guard_of(sender), OUTPUT, oif=_interface(sender))


def _interface(host: Host) -> str:
    return interface_of(host) if isinstance(host, Held) else HOST_INTERFACE


def _into_router(environment: Environment, sender: Host, router: str, packet: Packet) -> Stage:
    mac = packet.source_mac or sender.mac
    return _switch(
        sender.segment, _port(environment, sender.segment, sender.name),
        interface_name(router), mac, gateway_mac(environment, sender.segment),
    )  # fmt: skip


def _port_to_port(environment: Environment, sender: Host, receiver: Host, packet: Packet) -> Stage:
    key = sender.segment
    return _switch(
        key, _port(environment, key, sender.name), _port(environment, key, receiver.name),
        packet.source_mac or sender.mac, receiver.mac,
    )  # fmt: skip


def _switch(key: str, iif: str, oif: str, source_mac: str, destination_mac: str) -> Stage:
    return Stage(Device(DeviceKind.SWITCH, key), f"port-security:{key}", BRIDGE, iif, oif, source_mac, destination_mac)


def _port(environment: Environment, segment: str, host: str) -> str:
    there = environment.hosts[host]
    name = there.holder if isinstance(there, Held) else host
    return next(port.interface for port in ports(environment, segment) if port.host == name)


def _routed(
    environment: Environment, receiver: Host, site: str, iif: str, packet: Packet, routers: Mapping[str, str]
) -> list[Stage]:
    last = interface_name(receiver.segment.split("/")[1])
    mac = packet.source_mac
    if packet.place.startswith("host:"):
        mac = mac or environment.hosts[packet.place[5:]].mac
    if site == receiver.site:
        return [_router(routers[site], iif, last, mac)]
    second = _router(routers[receiver.site], BACKBONE, last, backbone_mac(environment, site))
    return [_router(routers[site], iif, BACKBONE, mac), second]


def _router(name: str, iif: str, oif: str, mac: str) -> Stage:
    return Stage(Device(DeviceKind.ROUTER, name), f"router-filter:{name}", FORWARD, iif, oif, mac)


def _arrival(environment: Environment, receiver: Host, router: str) -> tuple[Stage, ...]:
    key = receiver.segment
    gateway = gateway_mac(environment, key)
    port = _port(environment, key, receiver.name)
    return (
        _switch(key, interface_name(router), port, gateway, receiver.mac),
        *_at_host(environment, receiver, gateway),
    )


def _at_host(environment: Environment, receiver: Host, mac: str) -> tuple[Stage, ...]:
    mac = mac or gateway_mac(environment, receiver.segment)
    device, mechanism = device_of(receiver), guard_of(receiver)
    if receiver.hypervisor:
        return (Stage(device, mechanism, FORWARD, SANDBOX_UPLINK, SANDBOX_GUEST, source_mac=mac),)
    return (Stage(device, mechanism, INPUT, iif=_interface(receiver), source_mac=mac),)


@dataclass(slots=True)
class Follower:
    """Follows packets through an environment's rulesets."""

    environment: Environment
    rulesets: Mapping[Device, Ruleset]
    checks: Mapping[str, Sequence[IdentityCheck]]
    _spaces: dict[Universe, Space] = field(default_factory=dict)
    """One for every packet: it remembers the sets that the rules name, and they are the same for each."""

    def follow(
        self, packet: Packet, way: Sequence[Stage], receiver: Host, failed: frozenset[str], *, known: bool
    ) -> Trail:
        """Walk the way to its end, past refusals, so that every mechanism says what it would do.

        Args:
            failed: mechanisms that are gone.
            known: whether the sender has keys of the source's true holder.
        """
        hops: list[Hop] = []
        refusing: list[str] = []
        certain = True
        present = packet
        for stage in way:
            if stage.mechanism in failed:
                hops.append(Hop(str(stage.device), stage.mechanism, Decision.FAILED))
                present = self._declared_translation(present)
                continue
            hop, sure, present = self._through(stage, present)
            hops.append(hop)
            certain &= sure
            if hop.decision is Decision.REFUSES:
                refusing.append(stage.mechanism)
                present = self._declared_translation(present)
        for hop in self._identity(present, receiver, failed, known=known):
            hops.append(hop)
            if hop.decision is Decision.REFUSES:
                refusing.append(hop.mechanism)
        return Trail(tuple(hops), not refusing, certain, tuple(refusing))

    def _declared_translation(self, packet: Packet) -> Packet:
        found = translated_host(self.environment, packet)
        return packet if found is None else replace(packet, destination=str(found[1]), port=found[2])

    def _through(self, stage: Stage, packet: Packet) -> tuple[Hop, bool, Packet]:
        space = self._space(Universe.IP if ip_address(packet.source).version == 4 else Universe.IP6)
        packets = self._set(space, stage, packet)
        steps, result = trace(self.rulesets[stage.device], stage.hooks, packets)
        sure = not any(doubt.doubt is Doubt.UNKNOWN for doubt in result.doubts)
        if not result.may:
            return self._hop(stage, Decision.REFUSES, steps, "drop"), sure, packet
        left = self._translated(result, packet)
        decision = Decision.ACCEPTS if left == packet else Decision.TRANSLATES
        return self._hop(stage, decision, steps, "accept"), sure, left

    def _space(self, universe: Universe) -> Space:
        if universe not in self._spaces:
            self._spaces[universe] = Space(universe)
        return self._spaces[universe]

    def _set(self, space: Space, stage: Stage, packet: Packet) -> PacketSet:
        names = space.fields
        protocol = protocol_number(packet)
        wanted: list[tuple[Field, int]] = [
            (names["saddr"], int(ip_address(packet.source))),
            (names["daddr"], int(ip_address(packet.destination))),
            (names["l4proto"], protocol),
        ]
        for name, end, kind in ((stage.iif, IIFNAME, IIFTYPE), (stage.oif, OIFNAME, OIFTYPE)):
            if name:
                wanted += [(end, name_value(name)), (kind, ETHER)]
        for mac, end in ((stage.source_mac, ETHER_SADDR), (stage.destination_mac, ETHER_DADDR)):
            if mac:
                wanted.append((end, number_of(mac)))
        packets = everything(space)
        for one, value in wanted:
            packets = packets & where(space, one, (value, value))
        if protocol in (ICMP, ICMPV6):
            packets = packets & where(space, SPORT, (packet.port << 8, packet.port << 8 | 255))
        else:
            packets = packets & where(space, DPORT, (packet.port, packet.port))
        if stage.hooks is not BRIDGE:
            packets = packets & where(space, CT_STATE, (CtState.NEW, CtState.NEW))
        return packets

    def _translated(self, result: Result, packet: Packet) -> Packet:
        """The packet as it leaves; only a change to an address of a host is told."""
        destination = result.space.fields["daddr"]
        if result.unchanged(destination) == result.may:
            return packet
        version = ip_address(packet.destination).version
        for host in self.environment.hosts.values():
            for address in host.addresses:
                if address.version == version and result.leaving_with(destination, (int(address),) * 2):
                    return replace(packet, destination=str(address), port=self._port_after(result, packet, host))
        return packet

    def _port_after(self, result: Result, packet: Packet, host: Host) -> int:
        if packet.protocol.startswith("icmp") or result.unchanged(DPORT) == result.may:
            return packet.port
        for name in host.services:
            for ports_ in self.environment.services[name].ports:
                if result.leaving_with(DPORT, (ports_.first, ports_.last)):
                    return ports_.first
        return packet.port

    def _hop(self, stage: Stage, decision: Decision, steps: Sequence[Step], verdict: str) -> Hop:
        device = str(stage.device)
        named = next((s for s in reversed(steps) if self._flow(s)), None)
        deciding = next((s for s in reversed(steps) if verdict in s.verdict), steps[-1] if steps else None)
        if deciding is None:
            return Hop(device, stage.mechanism, decision, "no rule looks at it")
        flow = self._flow(named) if named else ""
        shown = named if named and decision is not Decision.REFUSES else deciding
        comment = f" ({shown.comment})" if shown.comment else ""
        origin = str(self.environment.flows[flow].origin) if flow else ""
        return Hop(device, stage.mechanism, decision, f"{shown.text}{comment}", str(shown.place), flow, origin)

    def _flow(self, step: Step) -> str:
        """The flow a rule says it serves, by the name of its chain; "" if it names none of this environment."""
        name = step.place.chain.removeprefix("flow-")
        return name if step.place.chain.startswith("flow-") and name in self.environment.flows else ""

    def _identity(self, packet: Packet, receiver: Host, failed: frozenset[str], *, known: bool) -> list[Hop]:
        """What the service behind the port says; nothing when no service is there or it asks for nothing."""
        protocol = packet.protocol.replace("icmpv6", "icmp")
        for check in self.checks.get(receiver.name, ()):
            in_range = any(one.first <= packet.port <= one.last for one in check.ports)
            if check.tls is not Tls.MUTUAL or check.protocol.value != protocol or not in_range:
                continue
            mechanism = f"identity:{check.service}"
            device = f"service:{check.service}@{receiver.name}"
            if mechanism in failed:
                return [Hop(device, mechanism, Decision.FAILED)]
            if known and self._is_caller(packet, check):
                return [Hop(device, mechanism, Decision.ACCEPTS, "the caller's certificate names it and its address")]
            reason = "the caller's certificate names nobody who may call" if known else "the caller has no such keys"
            return [Hop(device, mechanism, Decision.REFUSES, reason)]
        return []

    def _is_caller(self, packet: Packet, check: IdentityCheck) -> bool:
        holder = host_of(self.environment, ip_address(packet.source))
        holders = identity_holders(self.environment)
        return holder is not None and any(holder.name in holders.get(caller, ()) for caller in check.callers)


SOMEBODY = {
    4: ("192.0.2.77", "203.0.113.77", "198.51.100.77", "9.9.9.77", "128.0.2.77"),
    6: ("2001:db8:ffff::77", "2620:fe::77"),
}
"""Sources for examples: documentation networks (RFC 5737, RFC 3849) where they are no bogons, else any."""


def somebody(environment: Environment, version: int) -> Address:
    """An address that may be true on the internet."""
    taken = [*environment.bogons, *internal_networks(environment)]
    for text in SOMEBODY[version]:
        address = ip_address(text)
        if not any(address in network for network in taken if network.version == version):
            return address
    return ip_address(SOMEBODY[version][-1])


def protocol_number(packet: Packet) -> int:
    """The IANA number of a packet's protocol."""
    return NUMBERS[packet.protocol] if packet.protocol in NUMBERS else int(packet.protocol)


def is_inside(environment: Environment, address: Address) -> bool:
    """Whether an address is one of the environment's own."""
    return any(address in network for network in internal_networks(environment) if network.version == address.version)
