"""Instances get places, and others when a node is lost: what `ringfort.compute.placement` says is written down."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection, func, select, update

from ringfort.control import models
from ringfort.control.application_tables import instances
from ringfort.control.callers import Caller
from ringfort.control.calls import Change
from ringfort.control.clock import now as clock
from ringfort.control.clock import to_number
from ringfort.control.database import Database
from ringfort.control.hosting import HOSTING, WORDS, beats, forget, is_hypervisor, miss
from ringfort.control.operations.arranging import EDGE, topic_of
from ringfort.control.operations.events import add_event
from ringfort.control.operations.placements import Placement, placements
from ringfort.control.performing import bump
from ringfort.control.recording import record
from ringfort.control.serving import Served
from ringfort.control.silence import LOST_SECONDS, Silence
from ringfort.control.state import Watcher
from ringfort.control.waking import called
from ringfort.control.writer import Writer

log = logging.getLogger("ringfort.control")

SECONDS = 1.0
"""Between two looks at the signs of life."""

AGAIN_SECONDS = 5.0
"""Until places are thought over although nothing is known to have changed: some things only take time."""

_NEWS = frozenset({EDGE, HOSTING, "environment", "enrolments", "nodes"})


class Placer:
    """Gives places. Any controller may: what is to be done follows from the tables and the environment in force."""

    def __init__(
        self, served: Served, database: Database, watcher: Watcher, writer: Writer, itself: Callable[[], Caller]
    ) -> None:
        self._served, self._database, self._watcher, self._writer = served, database, watcher, writer
        self._itself = itself
        self._silence = Silence()
        self._wake = asyncio.Event()
        self._thought = -AGAIN_SECONDS
        watcher.on_change(self._noticed)

    def _noticed(self, topics: frozenset[str]) -> None:
        if topics & _NEWS:
            self._thought = -AGAIN_SECONDS
            self._wake.set()

    async def run(self) -> None:
        """Look for ever: at once when something changed, else every `SECONDS`."""
        while True:
            await called(self._wake, SECONDS)
            try:
                await self.place()
            except Exception as error:  # noqa: BLE001  # it is tried again, and says why it failed
                log.warning("places of instances: %s", error)

    async def place(self) -> None:
        """Look, miss who gives no sign of life, and give the places that are due."""
        lost, due = await asyncio.to_thread(self._look)
        if lost or due:
            await self._writer.run(partial(self._settle, lost))
            await self._watcher.look()

    def _look(self) -> tuple[Mapping[str, int], bool]:
        time_ = time.monotonic()
        with self._database.reading() as connection:
            lost = self._silence.look(beats(connection), time_)
            if lost or time_ - self._thought < AGAIN_SECONDS:
                return lost, False
            self._thought = time_
            return lost, bool(placements(self._served, connection, to_number(clock())))

    def _settle(self, lost: Mapping[str, int], connection: Connection) -> None:
        now, environment = clock(), self._served.environment(connection)
        for node, seen in sorted(lost.items()):
            if not is_hypervisor(environment, node):  # it was one, and has nothing more to say
                forget(connection, node)
            elif miss(connection, node, seen):
                self._missed(connection, node, now)
        found = placements(self._served, connection, to_number(now))
        going = [one.row.name for one in found if one.moves]
        if going:  # first all leave: one may come where another one was
            connection.execute(update(instances).where(instances.c.name.in_(going)).values(place=""))
        for one in found:
            self._write(connection, one, now)

    def _missed(self, connection: Connection, node: str, now: datetime) -> None:
        count = connection.execute(select(func.count()).where(instances.c.node == node)).scalar_one()
        why = f"no sign of life for {LOST_SECONDS:g} s"
        change = Change("control:node:miss", f"node/{node}", {"lost": False}, {"lost": True, "instances": count}, ())
        self._record(connection, change, why, now)
        self._event(connection, "node-lost", "alert", f"node:{node}", {"instances": count}, now)
        log.warning("node %s gives no sign of life; it has %d instances", node, count)
        bump(connection, [HOSTING, EDGE, "events"])

    def _write(self, connection: Connection, one: Placement, now: datetime) -> None:
        row, values = one.row, one.values(to_number(now))
        connection.execute(update(instances).where(instances.c.name == row.name).values(**values))
        if one.moves:
            change = Change("control:instance:place", f"instance/{row.name}", one.before, one.after, ())
            self._record(connection, change, one.why, now)
        if one.waits:
            detail = {"application": f"{row.customer}/{row.application}", "reason": WORDS[one.waits]}
            self._event(connection, "instance-waits", "warning", f"instance:{row.name}", detail, now)
        bump(connection, [EDGE, *{topic_of(row.node), topic_of(one.node)}, *(["events"] if one.waits else [])])

    def _record(self, connection: Connection, change: Change, why: str, now: datetime) -> None:
        record(connection, self._itself(), why, secrets.token_urlsafe(24), change, now)

    def _event(
        self,
        connection: Connection,
        kind: str,
        severity: Any,  # noqa: ANN401  # one of the model's words
        subject: str,
        detail: dict[str, Any],
        now: datetime,
    ) -> None:
        event = models.ReportedEvent(
            key=secrets.token_urlsafe(24), at=now, kind=kind, severity=severity, subject=subject, detail=detail
        )
        add_event(connection, "controller", event)
