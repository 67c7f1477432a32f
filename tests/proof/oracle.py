"""An independent judge for tests: it sends every packet of a small world along every way, one failure at a time.

No boxes, no buckets, no counting of owners: a packet gets through or it does not, with every mechanism in place and
again with all mechanisms of one owner gone. What it knows of the world are functions "does this layer accept this
packet", asked packet by packet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

from ringfort.environment.model import Address, Environment, Host

Triple = tuple[Address, Address, int]
"""Claimed source, destination, service number."""


@dataclass(frozen=True)
class World:
    """An environment and what its layers accept."""

    environment: Environment
    router: Callable[[str, Triple], bool]
    host_in: Callable[[str, Triple], bool]
    host_out: Callable[[str, Triple], bool]
    mutual: Callable[[str, int], bool]
    identity: Callable[[str, Triple], bool]
    public: Callable[[str, int], bool]
    declared: Callable[[Triple], bool]
    services: tuple[int, ...]
    outside: tuple[Address, ...]
    elsewhere: tuple[Address, ...]
    """Sources that are neither a host's nor true on the internet."""

    def host_of(self, address: Address) -> Host | None:
        return next((host for host in self.environment.hosts.values() if address in host.addresses), None)


@dataclass(frozen=True)
class Attempt:
    """A packet under way: its place, itself, and the mechanisms on one way as (owner, accepts)."""

    place: str
    kind: str
    packet: Triple
    attacker: str  # the machine that is the attacker's; "" for none, or for a guest that owns only itself
    way: tuple[tuple[str, bool], ...]

    def arrives_without(self, owner: str) -> bool:
        """Whether it arrives when everything of ``owner`` (and of the attacker) is gone."""
        return all(accepts for machine, accepts in self.way if machine not in (owner, self.attacker))

    def depth(self) -> int:
        """0: it arrives; 1: it arrives when some one owner fails; 2: no one owner's failure lets it in."""
        if self.arrives_without(""):
            return 0
        return 1 if any(self.arrives_without(owner) for owner, _ in self.way) else 2


def attempts(world: World) -> Iterator[Attempt]:
    """Every undeclared packet from every place along every way."""
    environment = world.environment
    hosts = list(environment.hosts.values())
    claims = [*(a for host in hosts for a in host.addresses), *world.outside, *world.elsewhere]
    for source, receiver, service in product(claims, hosts, world.services):
        for destination in receiver.addresses:
            if destination.version == source.version and destination != source:
                packet = (source, destination, service)
                for sender in hosts:
                    if sender.machine != receiver.machine:
                        yield from _from_host(world, sender, receiver, packet)
                    if sender.hypervisor and sender is not receiver:
                        yield from _from_host(world, sender, receiver, packet, inside=True)
                yield from _from_internet(world, receiver, packet)
                yield from _from_router(world, receiver, packet)


def _from_host(
    world: World, sender: Host, receiver: Host, packet: Triple, *, inside: bool = False
) -> Iterator[Attempt]:
    """From a host whose machine is the attacker's; or, ``inside``, from a guest that is, behind its sandbox."""
    true = packet[0] in sender.addresses
    if true and world.declared(packet):
        return
    if not true and (public := _public(world, receiver, packet)):
        assert public
        return
    holder = world.host_of(packet[0])
    if holder and not true and holder.machine == sender.machine and not inside:
        return  # the attacker owns the true holder as well and can send from there
    attacker = "" if inside else sender.machine
    sandbox = ((sender.machine, true and world.host_out(sender.name, packet)),) if inside else ()
    port = (world.environment.segments[sender.segment].machine, true)
    neighbour = bool(holder) and holder is not None and holder.segment == sender.segment
    kind = "own" if true else "neighbour" if neighbour else "far"
    end = _end(world, receiver, packet, known=true)
    near, far = receiver.site, sender.site
    for first in world.environment.sites[far].routers:
        bound = neighbour or true
        router = (world.environment.routers[first].machine, bound and world.router(first, packet))
        if near == far:
            yield Attempt(f"host:{sender.name}", kind, packet, attacker, (*sandbox, port, router, *end))
            continue
        for second in world.environment.sites[near].routers:
            other = (world.environment.routers[second].machine, world.router(second, packet))
            yield Attempt(f"host:{sender.name}", kind, packet, attacker, (*sandbox, port, router, other, *end))
    if sender.segment == receiver.segment:
        isolation = ((port[0], False), *(((sender.machine, False),) if inside else ()))
        direct = "direct" if true else kind
        yield Attempt(f"host:{sender.name}", direct, packet, attacker, (*isolation, *end))


def _from_internet(world: World, receiver: Host, packet: Triple) -> Iterator[Attempt]:
    true = packet[0] in world.outside
    if true and _public(world, receiver, packet):
        return
    end = _end(world, receiver, packet, known=False)
    for name in world.environment.sites[receiver.site].routers:
        router = (world.environment.routers[name].machine, true and world.router(name, packet))
        yield Attempt("internet", "internet" if true else "internet-spoof", packet, "", (router, *end))


def _from_router(world: World, receiver: Host, packet: Triple) -> Iterator[Attempt]:
    if _public(world, receiver, packet):
        return
    for name in world.environment.sites[receiver.site].routers:
        machine = world.environment.routers[name].machine
        if machine != receiver.machine:
            end = _end(world, receiver, packet, known=False)
            yield Attempt(f"router:{name}", "router", packet, machine, end)


def _public(world: World, receiver: Host, packet: Triple) -> bool:
    return packet[0] in world.outside and world.public(receiver.name, packet[2])


def _end(world: World, receiver: Host, packet: Triple, *, known: bool) -> tuple[tuple[str, bool], ...]:
    """The receiver's firewall and its services' check; ``known``: the sender has the true holder's keys."""
    checked = world.mutual(receiver.name, packet[2])
    passes = not checked or (known and world.identity(receiver.name, packet))
    return ((receiver.machine, world.host_in(receiver.name, packet)), (receiver.machine, passes))


def not_open(world: World) -> set[Triple]:
    """Declared packets that some layer refuses on some way."""
    broken = set()
    environment = world.environment
    for sender, receiver, service in product(environment.hosts.values(), environment.hosts.values(), world.services):
        for source, destination in product(sender.addresses, receiver.addresses):
            packet = (source, destination, service)
            if source.version == destination.version and world.declared(packet):
                names = {*environment.sites[sender.site].routers, *environment.sites[receiver.site].routers}
                way = [world.router(name, packet) for name in names]
                way += [world.host_out(sender.name, packet), world.host_in(receiver.name, packet)]
                way += [not world.mutual(receiver.name, service) or world.identity(receiver.name, packet)]
                if not all(way):
                    broken.add(packet)
    return broken
