"""What the proof says of a single packet, so that a drill can contradict it.

Two answers of the proof are asked: the verdict over the whole environment, and the way of this one packet through the
rules that were read back (`ringfort.proof.trail`). They must agree with the wire, and so with each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

from ringfort.drill.attacks import Attack, Probe
from ringfort.drill.declaration import Place, PlaceKind
from ringfort.drill.failures import ESCAPED, Failure, mechanisms
from ringfort.drill.fragments import CUTS, never_whole
from ringfort.drill.frames import Kind
from ringfort.environment import topology
from ringfort.environment.model import Environment, Host
from ringfort.proof.sandboxes import ROLES
from ringfort.proof.verdict import Claim, Outcome, Packet, Refutation, Verdict

if TYPE_CHECKING:
    from ringfort.lab.lab import Lab
    from ringfort.proof.trail import Follower, Trail

OPEN, CLOSED, DEPTH = "open", "closed", "depth"
_DIRECT = (Attack.HOST_NEIGHBOUR, Attack.HOST_AS_GATEWAY)
_OTHER = "253"  # as `ringfort.drill.frames.Kind.OTHER` is sent


@dataclass(frozen=True, slots=True)
class Opinion:
    """Whether the proof expects a packet to get through, and its words. ``first`` refuses it first, if told."""

    passes: bool
    words: str
    first: str = ""


@dataclass(frozen=True, slots=True)
class Witness:
    """A counterexample of the proof as a probe, the failure it needs (None for none), and what the proof says."""

    probe: Probe
    failure: str
    words: str


class Judge:
    """Asks a proof about single packets. Without one the promises themselves are the measure."""

    def __init__(
        self, environment: Environment, verdict: Verdict | None = None, follower: Follower | None = None
    ) -> None:
        self._environment = environment
        self._claims: dict[str, Claim] = {claim.name: claim for claim in (verdict.claims if verdict else ())}
        self._refutations = verdict.refutations if verdict else ()
        self._follower = follower

    @property
    def proves_open(self) -> bool:
        """Whether every declared flow is proved (or, without a verdict, promised) to be possible."""
        return self._outcome(OPEN) is Outcome.PROVED

    @property
    def follows(self) -> bool:
        """Whether single packets can be followed."""
        return self._follower is not None

    def opinion(self, probe: Probe, failure: Failure | None, active: Mapping[str, str]) -> Opinion:
        """Whether an undeclared packet is expected to get through when the failure has happened.

        Args:
            active: site -> the router that is active.
        """
        name = CLOSED if failure is None else DEPTH
        outcome = self._outcome(name)
        when = f" when {failure} fails" if failure is not None else ""
        if outcome is Outcome.PROVED:
            return Opinion(passes=False, words=f"nothing undeclared passes{when}: the claim {name!r} is proved")
        trail = self._follow(probe, failure, active)
        if trail is None:
            return Opinion(passes=True, words=f"the claim {name!r} is {outcome}")
        if trail.arrived or not trail.certain:
            return Opinion(passes=True, words=f"nothing refuses it{when}")
        return Opinion(passes=False, words=f"refused{when} by {', '.join(trail.refusing)}", first=trail.refusing[0])

    def first_refuser(self, probe: Probe, failure: Failure | None, active: Mapping[str, str]) -> str:
        """The mechanism that refuses a packet first, as the rules that were read back say; empty when not told, or when
        the packet is never whole."""
        if never_whole(probe.kind, probe.source.version):
            return ""
        trail = self._follow(probe, failure, active)
        return trail.refusing[0] if trail is not None and trail.certain and trail.refusing else ""

    def witnesses(self) -> tuple[Witness, ...]:
        """The proof's own counterexamples that can be sent: one packet is enough to break what they break."""
        found = []
        for refutation in self._refutations:
            probe = witness_probe(self._environment, refutation)
            if probe is not None:
                found.append(Witness(probe, refutation.failure, refutation.summary))
        return tuple(found)

    def _outcome(self, name: str) -> Outcome:
        claim = self._claims.get(name)
        return claim.outcome if claim is not None else Outcome.PROVED

    def _follow(self, probe: Probe, failure: Failure | None, active: Mapping[str, str]) -> Trail | None:
        """The packet's way through the rules; None when there is nothing to follow, or it is no opening packet."""
        receiver = self._environment.hosts.get(probe.target)
        if self._follower is None or receiver is None or probe.kind is Kind.TCP_PIECE:
            return None
        from ringfort.proof.trail import stages

        packet = packet_of(probe)
        failed = set(mechanisms(self._environment, failure)) if failure is not None else set()
        failure_kind = failure.kind if failure is not None else ""
        sender = self._environment.hosts[probe.place.name] if probe.place.kind is PlaceKind.HOST else None
        if sender is not None and sender.hypervisor and probe.attack in _DIRECT and failure_kind != ESCAPED:
            return None  # it ends at its link: no rule of its sandbox ever sees it
        if sender is not None and not sender.hypervisor:
            failed.add(f"host-firewall:{sender.name}")  # the attacker owns the sender, and not a guest's sandbox
        if probe.place.kind is PlaceKind.ROUTER:
            failed.add(f"router-filter:{probe.place.name}")
        way = stages(self._environment, packet, receiver, active, direct=probe.attack in _DIRECT)
        return self._follower.follow(packet, way, receiver, frozenset(failed), known=False)


def judge(lab: Lab, verdict: Verdict | None) -> Judge:
    """The judge of a running lab: it follows packets through the rules that are loaded now.

    Raises:
        RingfortError: the rules can't be read back.
    """
    if verdict is None:
        return Judge(lab.environment)
    from ringfort.proof.reading import read_rulesets
    from ringfort.proof.trail import Follower

    documents, checks = lab.read_back()
    rulesets = read_rulesets(topology.devices(lab.environment), documents)
    return Judge(lab.environment, verdict, Follower(lab.environment, rulesets, checks))


def packet_of(probe: Probe) -> Packet:
    """A probe in the proof's words."""
    protocol, port = "tcp" if probe.kind in CUTS else str(probe.kind), probe.port
    if probe.kind is Kind.ICMP:
        protocol, port = ("icmp", 8) if probe.source.version == 4 else ("icmpv6", 128)
    elif probe.kind is Kind.OTHER:
        protocol = _OTHER
    mac = probe.source_mac if probe.place.kind is PlaceKind.HOST else ""
    return Packet(str(probe.place), str(probe.source), str(probe.destination), protocol, port, mac, "none")


def witness_probe(environment: Environment, refutation: Refutation) -> Probe | None:
    """A refutation's packet as a probe; None when it has none, or none that a single frame can be."""
    packet = refutation.packet
    if packet is None or refutation.claim not in (CLOSED, DEPTH) or packet.identity == "stolen":
        return None
    if refutation.kind in ROLES:
        return None  # of a sandbox that does less than its part; what others refuse gets nowhere all the same
    kinds = {"tcp": Kind.TCP, "udp": Kind.UDP, "icmp": Kind.ICMP, "icmpv6": Kind.ICMP}
    receiver = _receiver(environment, refutation)
    kind = kinds.get(packet.protocol)
    if kind is None or receiver is None or (kind is Kind.ICMP and packet.port not in (8, 128)):
        return None
    place_kind, _, name = packet.place.partition(":")
    place = Place(PlaceKind(place_kind), name)
    direct = place.kind is PlaceKind.HOST and not any(hop.device.startswith("router:") for hop in refutation.path)
    own, following, interface = _macs(environment, place, receiver)
    return Probe(
        Attack.WITNESS,
        place,
        interface,
        ip_address(packet.source),
        packet.source_mac or own,
        ip_address(packet.destination),
        receiver.mac if direct else following,
        kind,
        0 if kind is Kind.ICMP else packet.port,
        receiver.name,
    )


def _receiver(environment: Environment, refutation: Refutation) -> Host | None:
    """The host that the witness reaches: the last on its path."""
    names = [hop.device.partition(":")[2] for hop in refutation.path if hop.device.startswith(("host:", "sandbox:"))]
    return environment.hosts.get(names[-1]) if names else None


def _macs(environment: Environment, place: Place, receiver: Host) -> tuple[str, str, str]:
    """The MAC addresses of an honest sender and of its next hop, and for a router the leg it sends by."""
    if place.kind is PlaceKind.HOST:
        host = environment.hosts[place.name]
        return host.mac, topology.gateway_mac(environment, host.segment), ""
    if place.kind is PlaceKind.INTERNET:
        leg = topology.mac_address(environment.name, "provider-leg", place.name)
        return topology.provider_mac(environment, place.name), leg, ""
    site = environment.routers[place.name].site
    legs = {leg.peer: leg for leg in topology.legs(environment, site)}
    if receiver.site == site:
        return legs[receiver.segment].mac, receiver.mac, legs[receiver.segment].interface
    mac = topology.backbone_mac(environment, receiver.site)
    return legs[topology.BACKBONE].mac, mac, legs[topology.BACKBONE].interface
