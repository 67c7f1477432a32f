"""From what a customer wants to the instances that should be: as many as asked for, told their version in turn."""

from __future__ import annotations

import json
import secrets
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from ringfort.compute.rollout import Goal, Instance, State, Step, Version, next_step
from ringfort.control.application_tables import applications, deployments, instances
from ringfort.control.hosting import lost_nodes

START_SECONDS = 60
SETTLE_SECONDS = 3.0
"""How long an instance has been well before others may go for it: the gateway looks by itself before it sends anything
there, and sends nothing to the next group as soon as that is told."""

EDGE = "edge"
"""The topic of what is public, and of who answers to it."""


def topic_of(node: str) -> str:
    """What changes when something about a node's instances does."""
    return f"instances:{node}"


def instances_of(connection: Connection, customer: str, application: str) -> list[Row[Any]]:
    """An application's instances, by ordinal."""
    return list(
        connection.execute(
            select(instances)
            .where(instances.c.customer == customer, instances.c.application == application)
            .order_by(instances.c.ordinal)
        )
    )


class Arranging:
    """One application's instances on their way to what should be. ``touched``: nodes that should look."""

    def __init__(self, connection: Connection, customer: str, name: str, now: int) -> None:
        self.connection, self.customer, self.name, self.now = connection, customer, name, now
        self.touched: set[str] = set()
        self.application = connection.execute(
            select(applications).where(applications.c.customer == customer, applications.c.name == name)
        ).one_or_none()
        self.rows = instances_of(connection, customer, name)
        self._lost = lost_nodes(connection)

    @property
    def topics(self) -> tuple[str, ...]:
        """What changed."""
        return (*(topic_of(node) for node in sorted(self.touched)), EDGE) if self.touched else ()

    @property
    def count(self) -> int:
        """How many instances there should be."""
        return self.application.instances if self.application is not None and self.application.deployment else 0

    @property
    def is_reached(self) -> bool:
        """Whether the version in force was healthy in all instances that could run it."""
        row = self.application
        assert row is not None
        return (row.reached_deployment, row.reached_settings) == (row.deployment, row.settings)

    @property
    def may_spare_one(self) -> bool:
        """Whether one of the instances that are well may be moved: nothing is under way, and enough stay well."""
        if self.application is None or not self.application.deployment or not self.is_reached:
            return False
        healthy = sum(self._seen(one).is_healthy for one in self.rows)
        return self.step().state is State.DONE and healthy - 1 >= self._goal().floor

    def arrange(self, *, keep_spare: bool) -> None:
        """Make as many as wanted, and no more; but leave the spare one of an update that is under way if asked."""
        self.remove_from(self.count + (1 if keep_spare and self.count else 0))
        for ordinal in range(len(self.rows), self.count):
            self.add(ordinal)
        assert self.application is not None or not self.rows
        for row in self.rows:
            if self.application is not None and row.state != self.application.state:
                self.change(row, state=self.application.state)

    def step(self) -> Step:
        """What may be done now for the version in force."""
        return next_step(self._goal(), [self._seen(one) for one in self.rows])

    def _goal(self) -> Goal:
        assert self.application is not None
        row = self.application
        plan = plan_of(self.connection, row)
        floor = plan.get("minimum-healthy")
        return Goal(
            version=Version(row.deployment, row.settings),
            count=row.instances,
            floor=0 if row.state == "stopped" else min(row.instances, row.instances - 1 if floor is None else floor),
            domains=plan.get("update", 1),
            seconds=plan.get("start", START_SECONDS),
            was_reached=self.is_reached,
        )

    def pace(self) -> Step:
        """Do what may be done now."""
        if self.application is None or not self.application.deployment:
            return Step(State.DONE)
        step = self.step()
        for row in self.rows:
            if row.name in step.update:
                self.tell(row)
        if step.surge and len(self.rows) == self.count:
            self.add(self.count)
        if step.state is State.DONE:
            self._reached()
            if not step.surge:
                self.remove_from(self.count)
        return step

    def tell(self, row: Row[Any]) -> None:
        """Tell an instance to run the version in force."""
        assert self.application is not None
        self.change(row, deployment=self.application.deployment, settings=self.application.settings)

    def change(self, row: Row[Any], **values: object) -> None:
        """Change an instance; its node looks."""
        self.connection.execute(
            update(instances).where(instances.c.name == row.name).values(changed=self.now, **values)
        )
        self.touched.add(row.node)
        self._read_again()

    def add(self, ordinal: int) -> None:
        """One more instance, of the version in force."""
        assert self.application is not None
        self.connection.execute(
            insert(instances).values(
                name=f"i-{secrets.token_hex(6)}",
                customer=self.customer,
                application=self.name,
                ordinal=ordinal,
                deployment=self.application.deployment,
                settings=self.application.settings,
                state=self.application.state,
                held=0,
                node="",
                avoid="",
                changed=self.now,
                report="",
                place="",
                waits="",
                reported=0,
            )
        )
        self.touched.add("")
        self._read_again()

    def remove_from(self, ordinal: int) -> None:
        """Remove the instances from a number on."""
        gone = [row for row in self.rows if row.ordinal >= ordinal]
        if gone:
            self.connection.execute(delete(instances).where(instances.c.name.in_([row.name for row in gone])))
            self.touched |= {row.node for row in gone}
            self._read_again()

    def _read_again(self) -> None:
        self.rows = instances_of(self.connection, self.customer, self.name)

    def _reached(self) -> None:
        assert self.application is not None
        reached = {
            "reached_deployment": self.application.deployment,
            "reached_settings": self.application.settings,
        }
        mine = applications.c.customer == self.customer, applications.c.name == self.name
        self.connection.execute(update(applications).where(*mine).values(**reached))

    def _seen(self, row: Row[Any]) -> Instance:
        said = json.loads(row.report) if row.report else {}
        since = (self.now - row.reported) / 1e6
        is_told = said.get("deployment") == row.deployment and said.get("settings") == row.settings
        can_run = row.state == "running" and not row.held and bool(row.place) and row.node not in self._lost
        return Instance(
            name=row.name,
            ordinal=row.ordinal,
            told=Version(row.deployment, row.settings),
            is_healthy=can_run and is_told and said["state"] == "running" and since >= SETTLE_SECONDS,
            is_placed=can_run,
            seconds=(self.now - row.changed) / 1e6,
            is_failing=is_told and said["state"] in ("unhealthy", "failed"),
        )


def plan_of(connection: Connection, row: Row[Any]) -> dict[str, Any]:
    """What decides the pace of an application's version in force."""
    text = connection.execute(
        select(deployments.c.plan).where(
            deployments.c.customer == row.customer,
            deployments.c.application == row.name,
            deployments.c.number == row.deployment,
        )
    ).scalar()
    return dict(json.loads(text or "{}"))


def arrange(connection: Connection, now: int, customer: str, name: str, *, keep_spare: bool = True) -> tuple[str, ...]:
    """Make an application's instances what it says, as far as may be now; the topics of the nodes that should look."""
    arranging = Arranging(connection, customer, name, now)
    arranging.arrange(keep_spare=keep_spare)
    arranging.pace()
    return arranging.topics
