"""Where instances may be: the places of the environment in force, and the nodes that run them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select, update

from ringfort.compute.placement import Node, Place, Reason, Size
from ringfort.control.application_tables import hosting
from ringfort.control.errors import ProblemError
from ringfort.control.serving import Served, machine_of
from ringfort.control.tables import nodes
from ringfort.environment.model import Environment, Protocol

PLENTY = Size(10**9, 10**9, 10**9)
"""The room of a node that doesn't say: its places are the limit."""

CPU_SHARED = 4
"""How many times over a node's processors are given away: what an application declares of them is a limit, seldom
reached, and who reaches it gets its share. Memory and disks are given away once."""

HOSTING = "hosting"
"""The topic of which nodes take instances."""

WORDS: Mapping[str, str] = {
    Reason.NONE_DECLARED: "the platform has declared no place for this customer",
    Reason.PORTS: "no place of this customer serves all ports of its endpoints",
    Reason.NODES: "no node that has a fitting place of this customer gives a sign of life",
    Reason.TAKEN: "all fitting places of this customer are taken",
    Reason.ROOM: "the nodes with a free place have too little room for what it needs",
}
"""Why an instance waits, to people."""


@dataclass(frozen=True, slots=True)
class Hosting:
    """What there is. ``nodes``: those that are well; ``places``: all; ``lost``: nodes that were missed."""

    nodes: tuple[Node, ...]
    places: tuple[Place, ...]
    lost: frozenset[str]

    @property
    def node_of(self) -> Mapping[str, str]:
        """The node of each place."""
        return {place.name: place.node for place in self.places}


def read_hosting(served: Served, connection: Connection) -> Hosting:
    """What there is now."""
    environment = served.environment(connection)
    rows = {row.node: row for row in connection.execute(select(hosting))}
    lost = frozenset(name for name, row in rows.items() if row.lost)
    if environment is None:
        return Hosting((), (), lost)
    known = {row.name: row for row in connection.execute(select(nodes.c.name, nodes.c.site, nodes.c.state))}
    well = [name for name in sorted(rows.keys() & known) if known[name].state == "active" and name not in lost]
    places = tuple(places_in(environment, [*well, *sorted(known.keys() - set(well))]))
    used = {place.node for place in places}
    taking = (Node(name, _room(rows[name].room), known[name].site) for name in well if name in used)
    return Hosting(tuple(taking), places, lost)


def places_in(environment: Environment, known: Iterable[str]) -> Iterator[Place]:
    """The places that an environment declares. ``known``: nodes; the first one of a machine has its places."""
    by_machine: dict[str, str] = {}
    for name in known:
        by_machine.setdefault(machine_of(environment, name), name)
    for host in environment.hosts.values():
        if host.hypervisor and host.customer:
            ports = tuple(
                port
                for name in host.services
                if environment.services[name].protocol is Protocol.TCP
                for port in environment.services[name].ports
            )
            yield Place(host.name, by_machine.get(host.machine, host.machine), host.customer, ports)


def is_hypervisor(environment: Environment | None, node: str) -> bool:
    """Whether a node has places."""
    if environment is None:
        return False
    machine = machine_of(environment, node)
    return any(host.hypervisor and host.customer and host.machine == machine for host in environment.hosts.values())


def refuse_others(served: Served, connection: Connection, node: str) -> None:
    """Let only nodes with places ask for instances.

    Raises:
        ProblemError: the environment in force declares no place on the node.
    """
    if not is_hypervisor(served.environment(connection), node):
        raise ProblemError(403, "no-hypervisor", f"the environment in force declares no place on {node}")


# -- signs of life ---------------------------------------------------------------------------------------------------


def beat(connection: Connection, node: str, room: str) -> tuple[bool, bool]:
    """A sign of life of a node: whether it had been missed, and whether that changes what there is."""
    row = connection.execute(select(hosting).where(hosting.c.node == node)).one_or_none()
    if row is None:
        connection.execute(insert(hosting).values(node=node, beats=1, lost=0, room=room))
        return False, True
    values = {"beats": row.beats + 1, "lost": 0, "room": room}
    connection.execute(update(hosting).where(hosting.c.node == node).values(**values))
    return bool(row.lost), bool(row.lost) or room != row.room


def beats(connection: Connection) -> dict[str, int]:
    """The signs of life of nodes that aren't missed."""
    rows = connection.execute(select(hosting.c.node, hosting.c.beats).where(hosting.c.lost == 0))
    return {row.node: row.beats for row in rows}


def forget(connection: Connection, node: str) -> None:
    """Watch a node no longer: it has no places."""
    connection.execute(delete(hosting).where(hosting.c.node == node))


def lost_nodes(connection: Connection) -> frozenset[str]:
    """The nodes that are missed."""
    return frozenset(connection.execute(select(hosting.c.node).where(hosting.c.lost == 1)).scalars())


def miss(connection: Connection, node: str, seen: int) -> bool:
    """Note that a node gives no sign of life any more; False if it did since, or that is noted."""
    done = connection.execute(
        update(hosting).where(hosting.c.node == node, hosting.c.beats == seen, hosting.c.lost == 0).values(lost=1)
    )
    return bool(done.rowcount)


def _room(text: str) -> Size:
    if not text:
        return PLENTY
    room = json.loads(text)
    return Size(room["cpu"] * CPU_SHARED, room["memory"], room["disk"])
