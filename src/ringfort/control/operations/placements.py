"""What `ringfort.compute.placement` makes of the tables and the environment in force: instances that change places."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Row, select

from ringfort.compute.placement import Instance, Placing, Size, place
from ringfort.control.application_tables import deployments, instances
from ringfort.control.errors import conflict
from ringfort.control.hosting import WORDS, Hosting, read_hosting
from ringfort.control.operations.arranging import Arranging
from ringfort.control.serving import Served


@dataclass(frozen=True, slots=True)
class Placement:
    """An instance that changes its place, or begins or ceases to wait for one. ``place``, ``node``: "" for none."""

    row: Row[Any]
    place: str
    node: str
    waits: str
    why: str

    @property
    def moves(self) -> bool:
        """Whether it changes its place, or its place its node."""
        return (self.place, self.node) != (self.row.place, self.row.node)

    @property
    def before(self) -> dict[str, Any]:
        """As it was, for a record."""
        return told(self.row.customer, self.row.application, self.row.place, self.row.node)

    @property
    def after(self) -> dict[str, Any]:
        """As it will be, for a record."""
        return told(self.row.customer, self.row.application, self.place, self.node)

    def values(self, now: int) -> dict[str, Any]:
        """What its row holds then. What its node said before is no news of where it goes."""
        if not self.moves:
            return {"waits": self.waits}
        avoid = "" if self.node == self.row.avoid else self.row.avoid
        moved = {"place": self.place, "node": self.node, "avoid": avoid, "changed": now, "report": "", "reported": 0}
        return {**moved, "waits": self.waits}


def told(customer: str, application: str, place: str, node: str) -> dict[str, Any]:
    """Where an instance is, for a record."""
    return {"application": f"{customer}/{application}", "place": place, "node": node}


def placements(served: Served, connection: Connection, now: int) -> list[Placement]:
    """What has to change."""
    ground = read_hosting(served, connection)
    rows = known(connection)
    placing = _placing(connection, ground, rows, now)
    return [one for row in rows if (one := _placement(ground, placing, row)) is not None]


def place_for(served: Served, connection: Connection, name: str, node: str | None) -> tuple[str, str]:
    """Place and node that an instance would get if an operator moved it: to a node, or away from the one where it is.

    Raises:
        ProblemError: there is none for it.
    """
    ground = read_hosting(served, connection)
    row = next(row for row in known(connection) if row.name == name)
    here = row.node
    if node is not None and node not in {one.name for one in ground.nodes}:
        raise conflict("node-not-well", f"{node} has no place, or gives no sign of life", "ringfort instance list")
    nodes = [one for one in ground.nodes if one.name == node or (node is None and one.name != here)]
    others = [_wanted(one, may_move=False) for one in known(connection) if one.name != name]
    mine = replace(_wanted(row, may_move=False), place="", avoid="", rests=False)
    placing = place(nodes, ground.places, [*others, mine])
    if name not in placing.places:
        raise conflict("no-place", f"nowhere else for {name}: {WORDS[placing.waits[name]]}")
    found = placing.places[name]
    return found, ground.node_of[found]


def known(connection: Connection) -> list[Row[Any]]:
    """All instances, with what decides where they are placed."""
    of = (
        (deployments.c.customer == instances.c.customer)
        & (deployments.c.application == instances.c.application)
        & (deployments.c.number == instances.c.deployment)
    )
    return list(
        connection.execute(select(instances, deployments.c.plan).outerjoin(deployments, of).order_by(instances.c.name))
    )


def _placing(connection: Connection, ground: Hosting, rows: list[Row[Any]], now: int) -> Placing:
    counts = Counter((row.customer, row.application, row.node) for row in rows if row.node)
    together = {(customer, application) for (customer, application, _), count in counts.items() if count > 1}
    may = {group for group in together if Arranging(connection, *group, now).may_spare_one}
    wanted = [_wanted(row, may_move=(row.customer, row.application) in may) for row in rows]
    return place(ground.nodes, ground.places, wanted)


def _wanted(row: Row[Any], *, may_move: bool) -> Instance:
    plan = json.loads(row.plan or "{}")
    return Instance(
        name=row.name,
        customer=row.customer,
        application=row.application,
        size=Size(plan.get("cpu", 0), plan.get("memory", 0), plan.get("disk", 0)),
        ordinal=row.ordinal,
        ports=frozenset(plan.get("ports", ())),
        place=row.place,
        avoid=row.avoid,
        rests=bool(row.held) or row.state == "stopped",
        may_move=may_move,
    )


def _placement(ground: Hosting, placing: Placing, row: Row[Any]) -> Placement | None:
    name = placing.places.get(row.name, "")
    node, waits = ground.node_of.get(name, ""), str(placing.waits.get(row.name, ""))
    if (name, node, waits) == (row.place, row.node, row.waits):
        return None
    return Placement(row, name, node, waits, _why(ground, row, name))


def _why(ground: Hosting, row: Row[Any], name: str) -> str:
    if not row.place:
        return "a place for a new instance"
    if row.place not in ground.node_of or not name:
        return f"the environment in force declares {row.place} for it no more"
    if row.node in ground.lost:
        return f"node {row.node} is lost"
    return "another place is better"
