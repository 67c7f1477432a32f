"""Packets that no rule anywhere accepts: every layer refuses them, so only the owners of the layers have to be counted.

The answer is the same for every such packet between two segments unless machines are shared between a host and what
guards it; so segments are compared, and only hosts that share a machine with something else are looked at one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ringfort.environment.model import Environment, Host
from ringfort.proof.addresses import key_of
from ringfort.proof.findings import INTERNET, Finding, entrance
from ringfort.proof.sweep import UNSEEN
from ringfort.proof.trail import somebody

NOBODY_S_SERVICE = 6 << 16 | 9
"""tcp/9, "discard" (RFC 863): an example of a port that nobody serves."""


@dataclass(frozen=True, slots=True)
class Weakest:
    """The least depth between two ends, and by whose machines."""

    depth: int
    unowned: int
    sender: str
    receiver: str


class Background:
    """Depth of what no rule accepts.

    Args:
        different: site -> its routers, without one whose rules equal another's.
    """

    def __init__(self, environment: Environment, different: Mapping[str, Sequence[str]]) -> None:
        self.environment = environment
        self.routers = {
            site: [environment.routers[name].machine for name in environment.sites[site].routers] for site in different
        }
        self.members: dict[str, list[Host]] = {key: [] for key in environment.segments}
        guards = {router.machine for router in environment.routers.values()}
        guards |= {segment.machine for segment in environment.segments.values()}
        for host in environment.hosts.values():
            if host.management:
                continue  # it is what guards: who owns it is a router taken over, or a switch without port security
            members = self.members[host.segment]
            # Machines that guard nothing are all alike: three of them stand for any number.
            machines = [other.machine for other in members if other.machine not in guards]
            fresh = host.machine not in machines and len(set(machines)) < 3
            # Instances of one machine face each other: two of them stand for any number.
            second = bool(host.hypervisor) and machines.count(host.machine) == 1
            if host.machine in guards or fresh or second:
                members.append(host)
        self.guards = guards

    def between(self, source: str, destination: str) -> Weakest | None:
        """The least depth from hosts of one segment to hosts of another; None if there is no such pair."""
        weakest: Weakest | None = None
        for sender in self.members[source]:
            for receiver in self.members[destination]:
                if sender.machine != receiver.machine or (sender.hypervisor and sender is not receiver):
                    found = self.pair(sender, receiver)
                    if weakest is None or found.depth < weakest.depth:
                        weakest = found
        return weakest

    def pair(self, sender: Host, receiver: Host) -> Weakest:
        """The least depth from one host to another, under its own address or a neighbour's, by any way.

        To what is on its own machine an instance sends as a guest that is taken over: its sandbox counts.
        """
        port = self.environment.segments[sender.segment].machine
        ways = [
            {first, second, receiver.machine}
            for first in self.routers[sender.site]
            for second in (self.routers[receiver.site] if receiver.site != sender.site else [first])
        ]
        unowned = min(len({sender.machine, *way}) for way in ways)
        if sender.segment == receiver.segment:
            ways.append({port, receiver.machine})
        if sender.machine == receiver.machine:  # whose machine is the sandbox's as well
            return Weakest(min(map(len, ways)), unowned, sender.name, receiver.name)
        depth = min(len(way - {sender.machine}) for way in ways)
        if sender.machine in {machine for machines in self.routers.values() for machine in machines}:
            depth = min(depth, 1)  # who owns that machine sends as a router
        if sender.machine == self.environment.segments[receiver.segment].machine:
            depth = min(depth, 1)  # who owns that machine sends from the switch
        return Weakest(depth, unowned, sender.name, receiver.name)

    def from_internet(self, destination: str) -> int:
        """The least depth from the internet to a segment; UNSEEN if it has no host."""
        site = self.environment.segments[destination].site
        pairs = [(r, h.machine) for r in self.routers[site] for h in self.members[destination]]
        return min((len({*pair}) for pair in pairs), default=UNSEEN)

    def from_router(self, destination: str) -> int:
        """The least depth from a taken-over router to a segment of its site; UNSEEN if it has no host."""
        return 1 if self.members[destination] else UNSEEN

    def findings(self) -> Iterator[Finding]:
        """Ends between which everything that no rule accepts still hangs on one owner."""
        shared = {key for key, hosts in self.members.items() if any(h.machine in self.guards for h in hosts)}
        pairs = {(one, other): None for one in self.members if one in shared for other in self.members}
        pairs |= {(other, one): None for one, other in pairs}
        for source, destination in pairs:
            weakest = self.between(source, destination)
            if weakest is not None and weakest.depth < 2:
                yield self._finding(weakest)
        for destination in shared:
            if self.environment.providers and self.from_internet(destination) < 2:
                yield self._from_internet(destination)

    def _finding(self, weakest: Weakest) -> Finding:
        hosts = self.environment.hosts
        sender, receiver = hosts[weakest.sender], hosts[weakest.receiver]
        source, destination = _ends(sender, receiver)
        shared = sender if sender.machine in self.guards else receiver
        return Finding(
            "depth", "shared-machine", source, destination, NOBODY_S_SERVICE, f"host:{sender.name}", sender.segment,
            receiver.segment, 1, weakest.depth, note=shared.name,
        )  # fmt: skip

    def _from_internet(self, destination: str) -> Finding:
        receiver = next(h for h in self.members[destination] if h.machine in self.guards)
        place = entrance(self.environment, receiver.site)
        key = key_of(receiver.addresses[0])
        outside = key_of(somebody(self.environment, receiver.addresses[0].version))
        return Finding(
            "depth", "shared-machine", outside, key, NOBODY_S_SERVICE, place, INTERNET, destination, 1, 1,
            note=receiver.name,
        )  # fmt: skip


def _ends(sender: Host, receiver: Host) -> tuple[int, int]:
    """Addresses of one family, if there are."""
    for here in sender.addresses:
        for there in receiver.addresses:
            if here.version == there.version:
                return key_of(here), key_of(there)
    return key_of(sender.addresses[0]), key_of(receiver.addresses[0])
