"""Findings told: the packet, its way past every mechanism, who let it through, what it needs, what closes it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address

from ringfort.environment.model import Environment, Host, Tls
from ringfort.proof.addresses import address_of
from ringfort.proof.boxes import protocol_and_port
from ringfort.proof.findings import Finding
from ringfort.proof.sandboxes import ROLES
from ringfort.proof.sweep import HOST_IN, MUTUAL
from ringfort.proof.trail import Follower, Stage, Trail, host_of, owner, service_at, stages
from ringfort.proof.verdict import Decision, Hop, Packet, Refutation

REPAIR = "run `ringfort up`, which loads the rules of the declaration again"


@dataclass(frozen=True, slots=True)
class Told:
    """A refutation, and whether rules that were not understood decide it."""

    refutation: Refutation
    certain: bool


class Teller:
    """Tells findings, by the rules that are loaded."""

    def __init__(self, environment: Environment, follower: Follower) -> None:
        self.environment = environment
        self.follower = follower

    def tell(self, finding: Finding) -> Told:
        """One finding."""
        packet, receiver = self.packet(finding)
        if packet is None:
            return Told(self._bare(finding, None, ()), certain=True)
        if receiver is None:
            return Told(self._bare(finding, packet, ()), certain=True)
        if finding.kind in ROLES:
            return Told(self._role(finding, packet, self.walk(finding, packet, receiver)), certain=True)
        if finding.kind == "shared-machine":
            trail = self.walk(finding, packet, receiver)
            return Told(self._shared(finding, packet, trail), certain=True)
        trail = self.walk(finding, packet, receiver)
        tell = self._not_open if finding.claim == "open" else self._exposed
        return Told(tell(finding, packet, receiver, trail), trail.certain)

    def packet(self, finding: Finding) -> tuple[Packet | None, Host | None]:
        """The finding's packet as its sender makes it, and who is to get it; None if it is not about one."""
        if not finding.destination:
            return None, None
        protocol, port = protocol_and_port(finding.service)
        source, destination = address_of(finding.source), address_of(finding.destination)
        kind, _, name = finding.place.partition(":")
        holder = host_of(self.environment, source)
        own = kind == "host" and holder is not None and holder.name == name
        mac = "" if kind != "host" or own or holder is None else holder.mac
        identity = "own" if own else "none"
        packet = Packet(finding.place, str(source), str(destination), protocol, port, mac, identity)
        receiver = host_of(self.environment, destination)
        return self._published(finding, packet), receiver

    def _published(self, finding: Finding, packet: Packet) -> Packet:
        """What must be open from the internet is sent to the published address."""
        if finding.claim != "open" or not packet.place.startswith("internet"):
            return packet
        for one in self.environment.published:
            host = self.environment.hosts[one.host]
            same = address_of(finding.destination) in host.addresses and one.address.version == (
                address_of(finding.destination).version
            )
            if same and one.target_port in (0, packet.port):
                place = f"internet:{one.provider}"
                return replace(packet, place=place, destination=str(one.address), port=one.port or packet.port)
        return packet

    def walk(self, finding: Finding, packet: Packet, receiver: Host) -> Trail:
        """The packet's weakest way: over the routers that refuse least, or straight to a neighbour."""
        known = packet.identity == "own"
        trails = []
        for way in self.ways(finding, packet, receiver):
            trail = self.follower.follow(packet, way, receiver, frozenset(), known=known)
            trails.append(trail)
        if finding.claim == "open":
            return max(trails, key=lambda trail: len(trail.refusing))
        return min(trails, key=lambda trail: len(trail.refusing))

    def ways(self, finding: Finding, packet: Packet, receiver: Host) -> Iterable[Sequence[Stage]]:
        """Every way of the packet, over each choice of active routers."""
        sites = self.environment.sites
        choices: list[dict[str, str]] = [{}]
        for name, site in sites.items():
            if name in self._sites(packet, receiver):
                choices = [{**choice, name: router} for choice in choices for router in site.routers]
        direct = finding.kind in ("direct-path", "isolation-gone") or (
            finding.kind == "neighbour-spoofing" and finding.zone == finding.segment
        )
        for choice in choices:
            way = stages(self.environment, packet, receiver, choice)
            if finding.claim != "open" and packet.place.startswith("host:") and not self._inside(finding, receiver):
                way = way[1:]  # the attacker owns the sender
            yield way
        if direct:
            yield stages(self.environment, packet, receiver, {}, direct=True)

    def _inside(self, finding: Finding, receiver: Host) -> bool:
        """Whether the attacker is a guest that is taken over, so that its sandbox counts; elsewhere it is out of it."""
        sender = self.environment.hosts[finding.place.partition(":")[2]]
        holder = host_of(self.environment, address_of(finding.source))
        beside = {receiver.machine} | ({holder.machine} if holder and holder is not sender else set())
        return bool(sender.hypervisor) and (finding.kind in ROLES or sender.machine in beside)

    def _sites(self, packet: Packet, receiver: Host) -> set[str]:
        kind, _, name = packet.place.partition(":")
        if kind == "host":
            return {receiver.site, self.environment.hosts[name].site}
        return {receiver.site, name.split("/")[0]} if kind == "internet" else {receiver.site}

    # -- what is said ------------------------------------------------------------------------------------------

    def _bare(self, finding: Finding, packet: Packet | None, path: tuple[Hop, ...]) -> Refutation:
        device = finding.note.split(" ", 1)[0]
        mechanism = _mechanism_of(device)
        return Refutation(
            finding.claim, finding.kind, finding.note, *finding.ends, finding.count, packet, path,
            (mechanism,) if mechanism else (), "", finding.depth, f"{device} was changed by hand: {REPAIR}",
        )  # fmt: skip

    def _role(self, finding: Finding, packet: Packet, trail: Trail) -> Refutation:
        """A sandbox that lets out what it should not, and who is left to refuse it."""
        name = finding.place.partition(":")[2]
        hop = trail.hops[0]
        left = f"; {_list(trail.refusing)} refuse it" if trail.refusing else "; nothing else refuses it"
        receiver = host_of(self.environment, ip_address(packet.destination))
        assert receiver is not None
        depth = len({owner(self.environment, mechanism, receiver) for mechanism in trail.refusing})
        where = f" ({hop.rule_place}: {hop.rule})" if hop.rule_place else ""
        edit = f"{hop.device} was changed by hand{where}: {REPAIR}"
        return Refutation(
            finding.claim, finding.kind, finding.note + left, *finding.ends, finding.count, packet, trail.hops,
            (hop.mechanism,), f"instance-taken-over:{name}", depth, edit,
        )  # fmt: skip

    def _shared(self, finding: Finding, packet: Packet, trail: Trail) -> Refutation:
        host = self.environment.hosts[finding.note]
        summary = (
            f"{host.name} is on machine {host.machine}, which also guards it: from {finding.zone} to "
            f"{finding.segment} everything undeclared hangs on one machine"
        )
        edit = f"put host {host.name} on a machine of its own ({host.origin})"
        return Refutation(
            finding.claim, finding.kind, summary, *finding.ends, finding.count, packet, trail.hops,
            (), f"machine:{host.machine}", finding.depth, edit,
        )  # fmt: skip

    def _not_open(self, finding: Finding, packet: Packet, receiver: Host, trail: Trail) -> Refutation:
        refusing = trail.refusing or ("a port that lets through a part only",)
        flow = self._flow_name(packet, receiver, finding.service)
        summary = f"{flow} is declared, but refused by {_list(refusing)}"
        hop = next((hop for hop in trail.hops if hop.decision is Decision.REFUSES), None)
        where = f" ({hop.rule_place}: {hop.rule})" if hop and hop.rule_place else ""
        edit = f"{_device_of(hop)} lacks the flow{where}: {REPAIR}"
        return Refutation(
            finding.claim, finding.kind, summary, *finding.ends, finding.count, packet, trail.hops,
            tuple(refusing), "", finding.depth, edit,
        )  # fmt: skip

    def _exposed(self, finding: Finding, packet: Packet, receiver: Host, trail: Trail) -> Refutation:
        failure = self._failure(finding, packet, trail)
        let = tuple(
            hop.mechanism
            for hop in trail.hops
            if hop.decision in (Decision.ACCEPTS, Decision.TRANSLATES) and not self._in_role(hop, packet)
        )
        hops = tuple(replace(hop, decision=Decision.FAILED) if hop.mechanism == failure else hop for hop in trail.hops)
        return Refutation(
            finding.claim, finding.kind, self._summary(finding, packet, receiver, failure), *finding.ends,
            finding.count, packet, hops, let, failure, finding.depth,
            self._edit(finding, packet, receiver, trail),
        )  # fmt: skip

    def _in_role(self, hop: Hop, packet: Packet) -> bool:
        """Whether a mechanism does its part in accepting: a switch passes what is the sender's own."""
        true = packet.identity == "own" or not packet.place.startswith("host:")
        return hop.mechanism.startswith("port-security:") and true

    def _failure(self, finding: Finding, packet: Packet, trail: Trail) -> str:
        if packet.place.startswith("router:"):
            return f"router-taken-over:{packet.place[7:]}"
        if finding.depth == 0:
            return ""
        return trail.refusing[0] if trail.refusing else ""

    def _summary(self, finding: Finding, packet: Packet, receiver: Host, failure: str) -> str:
        what = self._what(packet, receiver, finding.service)
        who = {
            "neighbour-spoofing": f"{packet.place} passes for its neighbour {packet.source} and",
            "port-security-gone": f"{packet.place}, whose port lets it, passes for its neighbour {packet.source} and",
            "router-taken-over": f"a taken-over {packet.place} passes for {packet.source} and",
            "internet-spoofing": f"the internet passes for {packet.source} and",
            "direct-path": f"{packet.place} goes straight to its neighbour and",
            "isolation-gone": f"{packet.place} goes straight to its neighbour, past the router, and",
        }.get(finding.kind, f"{packet.source} at {packet.place}")
        if finding.kind == "router-taken-over":
            return f"{who} reaches {what}: nothing else refuses it"
        if finding.depth == 0:
            return f"{who} reaches {what}, which no flow declares"
        return f"{who} reaches {what} once {failure or 'one mechanism'} fails: nothing else refuses it"

    def _what(self, packet: Packet, receiver: Host, number: int) -> str:
        service = self._service(packet, receiver)
        protocol, port = protocol_and_port(number)
        return f"{service} on {receiver.name}" if service else f"{protocol}/{port} on {receiver.name}"

    def _service(self, packet: Packet, receiver: Host) -> str:
        return service_at(self.environment, receiver, packet.protocol, packet.port)

    def _flow_name(self, packet: Packet, receiver: Host, number: int) -> str:
        protocol, port = protocol_and_port(number)
        inner = replace(packet, protocol=protocol, port=port)
        holder = host_of(self.environment, ip_address(packet.source))
        for flow in self.environment.flows.values():
            if self._service(inner, receiver) == flow.service and (
                (holder and holder.name in flow.callers) or (holder is None and flow.internet)
            ):
                return f"flow {flow.name} ({flow.origin})"
        return f"{packet.source} to {receiver.name}"

    def _edit(self, finding: Finding, packet: Packet, receiver: Host, trail: Trail) -> str:
        """What closes it: the rule that does not belong, else mutual TLS, else the check that is not enforced."""
        service = self.environment.services.get(self._service(packet, receiver))
        accepted = finding.bits & HOST_IN
        declared = service is not None and any(f.service == service.name for f in self.environment.flows.values())
        if finding.kind in ("neighbour-spoofing", "router-taken-over") and service is not None and accepted:
            if service.tls is not Tls.MUTUAL and declared:
                return f"set `tls: mutual` on service {service.name} ({service.origin})"
            if not finding.flags & MUTUAL and declared:
                return f"{service.name} on {receiver.name} does not check its callers as declared: {REPAIR}"
        hop = self._stray_hop(trail, packet)
        if hop is None:
            return REPAIR
        return f"{hop.device} was changed by hand ({hop.rule_place}: {hop.rule}): {REPAIR}"

    def _stray_hop(self, trail: Trail, packet: Packet) -> Hop | None:
        """The mechanism nearest to the receiver that accepts what it should not."""
        for hop in reversed(trail.hops):
            if hop.decision is not Decision.REFUSES and not self._in_role(hop, packet) and hop.rule_place:
                return hop
        return None


def _list(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _device_of(hop: Hop | None) -> str:
    return hop.device if hop else "the device"


def _mechanism_of(device: str) -> str:
    kind, _, name = device.partition(":")
    prefix = {
        "router": "router-filter",
        "switch": "port-security",
        "host": "host-firewall",
        "sandbox": "sandbox-filter",
    }.get(kind, "")
    return f"{prefix}:{name}" if prefix else ""
