"""Which node runs which instance: a pure function from what there is to what should be.

Instances stay where they are while their node is there. A new one goes where fewest of its application are, first by
node, then by fault domain, then where most is free. So two instances of an application share a node only if no other
one has room, and as soon as another one has, one of them moves: one at a time, so that the others stay healthy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass


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
    """A node that takes instances, and is well. ``fault_domain``: what it is lost together with, such as a rack."""

    name: str
    room: Size
    fault_domain: str = ""


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance that should run.

    Attributes:
        name: unique.
        application: unique over all customers: ``CUSTOMER/NAME``.
        node: where it is; "" for a new one.
        avoid: a node that an operator moved it away from; it goes back only if no other has room.
    """

    name: str
    application: str
    size: Size
    node: str = ""
    avoid: str = ""


Assignment = Mapping[str, str]
"""Instance -> node; instances for which no node has room are missing."""


def place(nodes: Iterable[Node], instances: Iterable[Instance]) -> Assignment:
    """Where each instance should be.

    An instance whose node is gone is placed anew. One that is where it was stays, even on a node that has become too
    small; and at most one instance of each application moves because it shares a node and needn't.
    """
    ground = _Ground(nodes)
    known = sorted(instances, key=lambda one: one.name)
    waiting = [one for one in known if not ground.takes(one)]
    # the largest first: what is left over fits the small ones
    for one in sorted(waiting, key=lambda one: (-one.size.memory, -one.size.cpu, -one.size.disk, one.name)):
        best = ground.best(one)
        if best is not None:
            ground.put(one, best)
    for one in ground.crowded(known):
        ground.move(one)
    return ground.assignment


def update_domain(ordinal: int, domains: int) -> int:
    """The group in which an application's instance of this number, from 0, is updated."""
    return ordinal % domains


class _Ground:
    def __init__(self, nodes: Iterable[Node]) -> None:
        self._nodes = {node.name: node for node in sorted(nodes, key=lambda node: node.name)}
        self._free = {name: node.room for name, node in self._nodes.items()}
        self._on_node: Counter[tuple[str, str]] = Counter()
        self._in_domain: Counter[tuple[str, str]] = Counter()
        self.assignment: dict[str, str] = {}

    def takes(self, one: Instance) -> bool:
        """Whether an instance stays where it is."""
        stays = one.node in self._nodes and one.node != one.avoid
        if stays:
            self.put(one, one.node)
        return stays

    def put(self, one: Instance, name: str) -> None:
        self._count(one, name, 1)
        self._free[name] -= one.size
        self.assignment[one.name] = name

    def move(self, one: Instance) -> None:
        """Move an instance that shares its node to one that has none of its application, if there is one with room."""
        here = self.assignment[one.name]
        best = self.best(one, but=here)
        if best is not None and not self._on_node[one.application, best]:
            self._count(one, here, -1)
            self._free[here] += one.size
            self.put(one, best)

    def best(self, one: Instance, but: str = "") -> str | None:
        """The node for an instance; None if none has room."""
        fitting = [name for name, free in self._free.items() if one.size.fits(free) and name != but]
        return min(fitting, key=lambda name: self._rank(one, name), default=None)

    def crowded(self, instances: Iterable[Instance]) -> Iterator[Instance]:
        """One instance of each application that shares a node with another one of it: the last by name."""
        found: dict[str, Instance] = {}
        for one in instances:
            here = self.assignment.get(one.name)
            if here is not None and self._on_node[one.application, here] > 1:
                found[one.application] = one
        return iter(found.values())

    def _rank(self, one: Instance, name: str) -> tuple[int, int, int, int, str]:
        node, free = self._nodes[name], self._free[name]
        return (
            self._on_node[one.application, name],
            int(name == one.avoid),
            self._in_domain[one.application, node.fault_domain or name],
            -free.memory,
            name,
        )

    def _count(self, one: Instance, name: str, by: int) -> None:
        self._on_node[one.application, name] += by
        self._in_domain[one.application, self._nodes[name].fault_domain or name] += by
