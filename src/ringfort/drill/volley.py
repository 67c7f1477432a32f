"""Fire probes and account for each of them: refused by a mechanism, as its own counter says, or got through.

A probe is one frame and nothing sends it again, so on its way exactly one device counts its refusal. What no counter
saw and no receiver got was stopped by port isolation, which the kernel does not count, or was fragments that never make
a packet; else it is reported as unexplained.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache

from ringfort.drill import fragments, frames
from ringfort.drill.attacks import Attack, Probe
from ringfort.drill.cells import NEVER_WHOLE, NOT_ROUTED
from ringfort.drill.counters import Counters
from ringfort.drill.declaration import Place, PlaceKind
from ringfort.drill.scanners import Scanners
from ringfort.drill.wire import Wire
from ringfort.environment.model import Environment
from ringfort.environment.topology import Device, DeviceKind, device_of, gateway_mac
from ringfort.lab.lab import Lab
from ringfort.network import reasons

SETTLE_SECONDS = 0.25
"""How long after the last sign of a probe the missing ones are waited for."""
SILENT_SECONDS = 0.01
"""How long one that no counter counts is waited for. A frame is handled while it is sent, or soon after."""
POLL_SECONDS = 0.0005
SHARE_OF_ATTEMPTS = 0.8
"""How much of what scan detection allows a source is used before it is made to forget."""

_MECHANISM = {
    DeviceKind.SWITCH: "port-security",
    DeviceKind.ROUTER: "router-filter",
    DeviceKind.HOST: "host-firewall",
    DeviceKind.SANDBOX: "sandbox-filter",
}
_REASONS = {
    DeviceKind.ROUTER: frozenset(reason.name for reason in reasons.ROUTER_REASONS),
    DeviceKind.SWITCH: frozenset(reason.name for reason in reasons.SWITCH_REASONS),
    DeviceKind.HOST: frozenset(reason.name for reason in reasons.HOST_REASONS),
    # The reports of multicast listeners that the sandbox's own kernel would send are no probes.
    DeviceKind.SANDBOX: frozenset(
        reason.name for reason in reasons.SANDBOX_REASONS if reason != reasons.SANDBOX_ITSELF
    ),
}
_NOT_OURS = {
    reasons.INVALID.name,  # answers to probes, which go to the true owner of a borrowed address
    reasons.UNDECLARED_OUT.name,
    reasons.FROM_ROUTER.name,
    reasons.UNDELIVERABLE.name,  # multicast listener reports of a router whose links have gone up
    reasons.SWITCH_ITSELF.name,
    reasons.DISCOVERY.name,
}
"""Refusals that other packets than probes cause, and that no opening probe can meet: these are sent as a host sends
them, to the right next hop, and are no neighbour discovery. (A piece of no connection is refused as invalid.)"""

Tags = dict[tuple[bytes, int], tuple[int, Probe]]
"""(claimed source, source port) -> tag and probe: how a probe is known again where it arrives."""


def mechanism_of(device: Device) -> str:
    """The mechanism that a device's rules are."""
    return f"{_MECHANISM[device.kind]}:{device.name}"


@dataclass(slots=True)
class Outcome:
    """What became of some probes of one attack.

    ``reasons`` says in the rules' own words why they were refused. ``background`` counts packets of others (the kernel
    sends some now and then) that met the same counters meanwhile; they are taken out.
    """

    sent: int = 0
    refused_by: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    delivered: list[tuple[Probe, Device]] = field(default_factory=list)
    background: int = 0

    def add(self, other: Outcome) -> None:
        """Add another outcome to this one."""
        self.sent += other.sent
        self.refused_by.update(other.refused_by)
        self.reasons.update(other.reasons)
        self.delivered += other.delivered
        self.background += other.background

    @property
    def missing(self) -> int:
        """Probes of which nothing was seen."""
        return self.sent - len(self.delivered) - self.refused_by.total()


class Range:
    """The firing range: a lab, its raw sockets and its counters, for the routers that are active now."""

    def __init__(self, lab: Lab, wire: Wire, counters: Counters, scanners: Scanners) -> None:
        self._lab, self._wire, self._counters, self._scanners = lab, wire, counters, scanners
        self._environment: Environment = lab.environment
        self._active = lab.active()
        self._tag = secrets.randbelow(frames.PORTS)  # not the same as in a drill a minute ago
        self.isolated: dict[str, bool] = dict.fromkeys(self._environment.segments, True)
        self._ways: dict[tuple[int, str], tuple[Place, frozenset[Device]]] = {}
        self._gateways = {
            name: gateway_mac(self._environment, host.segment)
            for name, host in self._environment.hosts.items()
            if host.hypervisor
        }
        self._served = {
            (name, frames.Kind(service.protocol), port)
            for name, host in self._environment.hosts.items()
            for service in (self._environment.services[served] for served in host.services)
            for ports in service.ports
            for port in range(ports.first, ports.last + 1)
        }

    def situation_changed(self) -> None:
        """To be called whenever a mechanism or an active router has changed."""
        self._active = self._lab.active()
        self._wire.activate(self._active)
        self._scanners.rules_changed()
        self._ways.clear()
        self.forget_scanners()

    def fire(self, probes: Sequence[Probe]) -> Outcome:
        """Fire probes of one attack, in volleys small enough that scan detection does not answer for the flows."""
        total = Outcome()
        for volley in self._volleys(probes):
            outcome = self._fire(volley)
            total.add(outcome)
            refusing = {name.partition(":")[2] for name in outcome.refused_by if name.startswith("router-filter:")}
            self.forget_scanners(refusing)
        return total

    def send(self, probes: Sequence[Probe]) -> int:
        """Send probes whatever scan detection makes of them; how many arrived.

        Openings that arrived are taken back.
        """
        self._wire.forget()
        tags = self._send(probes)
        arrived: dict[int, tuple[Probe, Device]] = {}
        deadline = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < deadline:
            arrived.update(self._arrived(tags))
            time.sleep(POLL_SECONDS)
        self._take_back(arrived)
        return len(arrived)

    def counted(self, site: str, reason: str) -> int:
        """How often the active router of a site has refused for a reason since its rules were loaded."""
        return self._counters.read(Device(DeviceKind.ROUTER, self._active[site])).get(reason, 0)

    def _volleys(self, probes: Iterable[Probe]) -> Iterator[list[Probe]]:
        most = max(1, int(self._environment.scan_detection.attempts * SHARE_OF_ATTEMPTS))
        waiting = list(probes)
        while waiting:
            used: Counter[object] = Counter()
            now: list[Probe] = []
            later: list[Probe] = []
            for probe in waiting:
                if used[probe.packed] < most and len(now) < frames.PORTS // 4:
                    used[probe.packed] += 1
                    now.append(probe)
                else:
                    later.append(probe)
            yield now
            waiting = later

    def _fire(self, volley: list[Probe]) -> Outcome:
        devices = self._on_the_way(volley)
        self._wire.forget()
        before = self._refusals(devices, volley[0].attack)
        tags = self._send(volley)
        outcome = self._settle(volley, devices, before, tags)
        self._explain_silence(volley, outcome)
        return outcome

    def _send(self, volley: Iterable[Probe]) -> Tags:
        tags: Tags = {}
        for probe in volley:
            self._tag += 1
            tags[probe.packed, frames.tag_port(self._tag)] = (self._tag, probe)
            self._wire.send(self._tag, probe)
        return tags

    def _arrived(self, tags: Tags) -> dict[int, tuple[Probe, Device]]:
        """By tag, the probes that have arrived since the last look, and where."""
        found = {}
        for arrival in self._wire.arrivals():
            sent = tags.get((arrival.source, arrival.port))
            if sent is not None:
                found[sent[0]] = (sent[1], arrival.receiver)
        return found

    def _settle(
        self,
        volley: list[Probe],
        devices: list[Device],
        before: Counter[tuple[Device, str]],
        tags: Tags,
    ) -> Outcome:
        """Wait until every probe is accounted for, or nothing more happens."""
        silent = sum(_is_never_whole(probe) or self._is_ignored(probe) or self._is_isolated(probe) for probe in volley)
        arrived: dict[int, tuple[Probe, Device]] = {}
        accounted, deadline = -1, time.monotonic() + SETTLE_SECONDS
        while True:
            arrived.update(self._arrived(tags))
            refused = self._refusals(devices, volley[0].attack) - before
            now = len(arrived) + refused.total()
            if now >= len(volley) - silent or time.monotonic() > deadline:
                break
            if now > accounted:
                accounted, deadline = now, time.monotonic() + SETTLE_SECONDS
            time.sleep(POLL_SECONDS)
        if now > len(volley) - silent:  # something else was counted too, and may have ended the wait too early
            time.sleep(SETTLE_SECONDS / 4)
            arrived.update(self._arrived(tags))
        elif any(map(_is_never_whole, volley)):  # nothing tells when the last of these has been seen
            time.sleep(SILENT_SECONDS)
            arrived.update(self._arrived(tags))
        self._take_back(arrived)
        return _outcome(len(volley), refused, list(arrived.values()))

    def _take_back(self, arrived: dict[int, tuple[Probe, Device]]) -> None:
        for tag, (probe, receiver) in arrived.items():
            if probe.kind is frames.Kind.TCP and (receiver.name, probe.kind, probe.port) in self._served:
                self._wire.take_back(tag, probe)

    def _refusals(self, devices: list[Device], attack: Attack) -> Counter[tuple[Device, str]]:
        found: Counter[tuple[Device, str]] = Counter()
        for device in devices:
            for name, packets in self._counters.among(device, _counted(device.kind, attack is Attack.HOST_NOT_NEW)):
                found[device, name] = packets
        return found

    def _is_isolated(self, probe: Probe) -> bool:
        """Whether a probe goes to a neighbour with the sender's true MAC address, so that isolation stops it first."""
        if probe.attack is not Attack.HOST_NEIGHBOUR:
            return False
        return self.isolated[self._environment.hosts[probe.place.name].segment]

    def _is_ignored(self, probe: Probe) -> bool:
        """Whether a guest's frame is for another station than its gateway: its sandbox takes no notice of it."""
        if probe.place.kind is not PlaceKind.HOST or probe.place.name not in self._gateways:
            return False
        return probe.place.name not in self._wire.escaped and (
            probe.destination_mac != self._gateways[probe.place.name]
        )

    def _explain_silence(self, volley: list[Probe], outcome: Outcome) -> None:
        """Ascribe what nobody counted to isolation and to reassembly, as many as they must have stopped."""
        for probe in volley:
            if outcome.missing <= 0:
                return
            if self._is_ignored(probe):
                outcome.refused_by[f"{NOT_ROUTED}:{probe.place.name}"] += 1
                outcome.reasons[NOT_ROUTED] += 1
            elif self._is_isolated(probe):
                segment = self._environment.hosts[probe.place.name].segment
                outcome.refused_by[f"port-security:{segment}"] += 1
                outcome.reasons["isolated"] += 1
            elif _is_never_whole(probe):
                outcome.refused_by[NEVER_WHOLE] += 1
                outcome.reasons[NEVER_WHOLE] += 1

    def _on_the_way(self, volley: list[Probe]) -> list[Device]:
        """The devices that may refuse one of the probes."""
        found: set[Device] = set()
        for key, probe in {(id(probe.place), probe.target): probe for probe in volley}.items():
            known = self._ways.get(key)
            if known is None:
                known = self._ways[key] = probe.place, frozenset(self._way(probe.place, probe.target))
            found |= known[1]
        return sorted(found)

    def _way(self, place: Place, target: str) -> Iterator[Device]:
        environment = self._environment
        if place.kind is PlaceKind.HOST:
            host = environment.hosts[place.name]
            if host.hypervisor and host.name not in self._wire.escaped:
                yield device_of(host)
            yield Device(DeviceKind.SWITCH, host.segment)
            yield Device(DeviceKind.ROUTER, self._active[host.site])
        elif place.kind is PlaceKind.INTERNET:
            yield Device(DeviceKind.ROUTER, self._active[environment.providers[place.name].site])
        if target.startswith("router:"):
            yield Device(DeviceKind.ROUTER, self._active[target.partition(":")[2]])
            return
        receiver = environment.hosts[target]
        if place.kind is not PlaceKind.ROUTER or environment.routers[place.name].site != receiver.site:
            yield Device(DeviceKind.ROUTER, self._active[receiver.site])
        yield Device(DeviceKind.SWITCH, receiver.segment)
        yield device_of(receiver)

    def forget_scanners(self, among: Collection[str] | None = None) -> None:
        """Make the active routers (or some of them) forget whom they refused."""
        for router in self._active.values():
            if among is not None and router not in among:
                continue
            self._scanners.forget(Device(DeviceKind.ROUTER, router))


@cache
def _counted(kind: DeviceKind, of_no_connection: bool) -> frozenset[str]:
    """The refusals of a kind of device that probes can meet, those of no connection or all others."""
    known = _REASONS[kind] - (_NOT_OURS - {reasons.INVALID.name} if of_no_connection else _NOT_OURS)
    # A sandbox judges what a guest sends, which owns no other firewall.
    return known | {reasons.UNDECLARED_OUT.name} if kind is DeviceKind.SANDBOX else known


def _is_never_whole(probe: Probe) -> bool:
    return probe.kind in fragments.CUTS and fragments.never_whole(probe.kind, probe.source.version)


def _outcome(sent: int, refused: Counter[tuple[Device, str]], delivered: list[tuple[Probe, Device]]) -> Outcome:
    outcome = Outcome(sent, delivered=delivered)
    outcome.background = refused.total() + len(delivered) - sent
    for (device, reason), number in refused.most_common():
        # A counter saw a packet that was not a probe: the largest number bears it, since one in thousands is not ours.
        own = number - max(0, outcome.background) if not outcome.refused_by else number
        outcome.refused_by[mechanism_of(device)] += own
        outcome.reasons[reason] += own
    outcome.background = max(0, outcome.background)
    return outcome
