"""Which place runs which instance: a pure function from what there is to what should be.

A place is what the signed environment declares: room for one instance of a customer, with its address and its filter.
Instances stay where they are while their node is there. A new one goes where fewest of its application are, first by
node, then by fault domain, then where most is free. So two instances of an application share a node only if no other
one has a place with room, and as soon as another one has, one of them moves, if it may: one at a time, so that the
others stay healthy.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ringfort.environment.model import PortRange


@dataclass(frozen=True, slots=True)
class Size:
    """What an instance needs, or a node has: per cent of a processor, MiB of memory, MiB of disk."""

    cpu: int
    memory: int
    disk: int

    def __add__(self, other: Size) -> Size:
        return Size(self.cpu + other.cpu, self.memory + other.memory, self.disk + other.disk)

    def __sub__(self, other: Size) -> Size:
        return Size(self.cpu - other.cpu, self.memory - other.memory, self.disk - other.disk)

    def fits(self, room: Size) -> bool:
        """Whether there is room for it."""
        return self.cpu <= room.cpu and self.memory <= room.memory and self.disk <= room.disk


@dataclass(frozen=True, slots=True)
class Node:
    """A node that takes instances, and is well. ``fault_domain``: what it is lost together with, such as a site."""

    name: str
    room: Size
    fault_domain: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Room for one instance of a customer on a node. ``ports``: where it may be reached, the others are shut."""

    name: str
    node: str
    customer: str
    ports: tuple[PortRange, ...] = ()

    def serves(self, port: int) -> bool:
        """Whether an instance here can be reached at a port."""
        return any(ports.first <= port <= ports.last for ports in self.ports)


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance that there should be.

    Attributes:
        name: unique.
        customer: whose places it may have.
        application: unique among those of its customer.
        ordinal: its number in its application: those that come first are placed first.
        ports: where it wants to be reached.
        place: where it is; "" for a new one.
        avoid: a node that an operator moved it away from; it goes back only if no other has a place with room.
        rests: whether it is stopped: it keeps its place, and gets no other.
        may_move: whether it may leave a node that is well, for one that it need not share.
    """

    name: str
    customer: str
    application: str
    size: Size
    ordinal: int = 0
    ports: frozenset[int] = frozenset()
    place: str = ""
    avoid: str = ""
    rests: bool = False
    may_move: bool = True

    def may_have(self, place: Place) -> bool:
        """Whether a place is declared for one like it."""
        return place.customer == self.customer and all(map(place.serves, self.ports))


class Reason(StrEnum):
    """Why an instance isn't where it could run."""

    NONE_DECLARED = "none-declared"
    PORTS = "ports"
    NODES = "nodes"
    TAKEN = "taken"
    ROOM = "room"


@dataclass(frozen=True, slots=True)
class Placing:
    """Where each instance should be.

    Attributes:
        places: instance -> place; instances for which there is none are missing.
        waits: why they are, and why one keeps a place whose node is lost. Those that rest wait for nothing.
    """

    places: Mapping[str, str] = field(default_factory=dict)
    waits: Mapping[str, Reason] = field(default_factory=dict)


def place(nodes: Iterable[Node], places: Iterable[Place], instances: Iterable[Instance]) -> Placing:
    """Where each instance should be.

    Args:
        nodes: those that are well.
        places: all that are declared, those of other nodes included.

    An instance whose node is lost is placed anew, and keeps its place if there is no other: its node may come back. A
    place that is no longer declared is left at once. One that is where it was stays, even on a node that has become too
    small; and at most one instance of each application moves because it shares a node and needn't.
    """
    ground = _Ground(nodes, places)
    known = sorted(instances, key=lambda one: one.name)
    waiting = [one for one in known if not ground.keeps(one)]
    # the largest first: what is left over fits the small ones
    for one in sorted(waiting, key=_turn):
        best = ground.best(one)
        if best is not None:
            ground.put(one, best)
        else:
            ground.wait(one)
    for one in ground.sent_away(known):
        ground.move(one)
    for one in ground.crowded(known):
        ground.move(one, shares=False)
    return Placing(ground.assignment, ground.waits)


def update_domain(ordinal: int, domains: int) -> int:
    """The group in which an application's instance of this number, from 0, is updated."""
    return ordinal % domains


class _Ground:
    def __init__(self, nodes: Iterable[Node], places: Iterable[Place]) -> None:
        self._nodes = {node.name: node for node in sorted(nodes, key=lambda node: node.name)}
        self._room = {name: node.room for name, node in self._nodes.items()}
        self._places = {one.name: one for one in sorted(places, key=lambda one: one.name)}
        self._of: defaultdict[str, list[Place]] = defaultdict(list)
        for one in self._places.values():
            self._of[one.customer].append(one)
        self._free = set(self._places)
        self._on_node: Counter[tuple[str, str, str]] = Counter()
        self._in_domain: Counter[tuple[str, str, str]] = Counter()
        self.assignment: dict[str, str] = {}
        self.waits: dict[str, Reason] = {}

    def keeps(self, one: Instance) -> bool:
        """Whether an instance needs no other place: it keeps the one it has, or it rests without one."""
        here = self._declared(one)
        if one.rests:
            if here is not None:
                self.put(one, here)
            return True
        if here is None:
            return False
        if here.node not in self._nodes:
            self._free.discard(here.name)  # until it has another one, this one is its own
            return False
        self.put(one, here)
        return True

    def wait(self, one: Instance) -> None:
        """Let an instance wait for which there is no place: on its lost node, if it has one."""
        self.waits[one.name] = self.why(one)
        here = self._declared(one)
        if here is not None:
            self.put(one, here)

    def put(self, one: Instance, here: Place) -> None:
        self._count(one, here, 1)
        self._free.discard(here.name)
        self.assignment[one.name] = here.name

    def move(self, one: Instance, *, shares: bool = True) -> None:
        """Move an instance to another node; unless it ``shares`` it, to one that has none of its application."""
        here = self._places[self.assignment[one.name]]
        best = self.best(one, but=here.node)
        if best is not None and (shares or not self._on_node[*_group(one), best.node]):
            self._count(one, here, -1)  # its place is free only when it has gone
            self.put(one, best)

    def best(self, one: Instance, but: str = "") -> Place | None:
        """The place for an instance; None if there is none with room."""
        fitting = [here for here in self._open(one) if here.node != but and one.size.fits(self._room[here.node])]
        return min(fitting, key=lambda here: self._rank(one, here), default=None)

    def why(self, one: Instance) -> Reason:
        """Why there is no place for an instance."""
        mine = self._of[one.customer]
        fitting = [here for here in mine if one.may_have(here)]
        if not fitting:
            return Reason.PORTS if mine else Reason.NONE_DECLARED
        well = [here for here in fitting if here.node in self._nodes]
        if not well:
            return Reason.NODES
        return Reason.ROOM if any(here.name in self._free for here in well) else Reason.TAKEN

    def sent_away(self, instances: Iterable[Instance]) -> Iterator[Instance]:
        """Instances that are on a node that they should avoid."""
        for one in self._well(instances):
            if self._places[self.assignment[one.name]].node == one.avoid:
                yield one

    def crowded(self, instances: Iterable[Instance]) -> Iterator[Instance]:
        """One instance of each application that shares a node with another one of it: the last by name."""
        found: dict[tuple[str, str], Instance] = {}
        for one in self._well(instances):
            here = self._places[self.assignment[one.name]]
            if one.may_move and here.name == one.place and self._on_node[*_group(one), here.node] > 1:
                found[_group(one)] = one
        return iter(found.values())

    def _well(self, instances: Iterable[Instance]) -> Iterator[Instance]:
        for one in instances:
            here = self._places.get(self.assignment.get(one.name, ""))
            if here is not None and here.node in self._nodes and not one.rests:
                yield one

    def _open(self, one: Instance) -> Iterator[Place]:
        for here in self._of[one.customer]:
            if here.name in self._free and here.node in self._nodes and one.may_have(here):
                yield here

    def _declared(self, one: Instance) -> Place | None:
        here = self._places.get(one.place)
        return here if here is not None and one.may_have(here) else None

    def _rank(self, one: Instance, here: Place) -> tuple[int, int, int, int, int, str]:
        return (
            self._on_node[*_group(one), here.node],
            int(here.node == one.avoid),
            self._in_domain[*_group(one), self._domain(here.node)],
            -self._room[here.node].memory,
            sum(ports.last - ports.first for ports in here.ports),  # leave the wider ones to who needs them
            here.name,
        )

    def _domain(self, node: str) -> str:
        found = self._nodes.get(node)
        return node if found is None else found.fault_domain or node

    def _count(self, one: Instance, here: Place, by: int) -> None:
        self._on_node[*_group(one), here.node] += by
        self._in_domain[*_group(one), self._domain(here.node)] += by
        if here.node in self._room:
            room = self._room[here.node]
            self._room[here.node] = room - one.size if by > 0 else room + one.size


def _turn(one: Instance) -> tuple[int, int, int, int, str]:
    return -one.size.memory, -one.size.cpu, -len(one.ports), one.ordinal, one.name


def _group(one: Instance) -> tuple[str, str]:
    return one.customer, one.application
