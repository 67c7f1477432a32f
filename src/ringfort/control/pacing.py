"""Updates of applications, step by step: what `ringfort.compute.rollout` allows is done, what fails is taken back."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection, Select, exists, or_, select

from ringfort.compute.rollout import State, Step
from ringfort.control.application_tables import applications, instances
from ringfort.control.callers import Caller
from ringfort.control.calls import Call, Change
from ringfort.control.clock import now as clock
from ringfort.control.clock import to_number
from ringfort.control.database import Database
from ringfort.control.operations.applications import take_back
from ringfort.control.operations.arranging import EDGE, Arranging
from ringfort.control.performing import bump
from ringfort.control.recording import record
from ringfort.control.serving import Served
from ringfort.control.state import Watcher
from ringfort.control.waking import called
from ringfort.control.writer import Writer

log = logging.getLogger("ringfort.control")

SECONDS = 1.0


class Pacer:
    """Takes the steps that are due. Any controller may: what is due follows from the tables alone."""

    def __init__(
        self, served: Served, database: Database, watcher: Watcher, writer: Writer, itself: Callable[[], Caller]
    ) -> None:
        self._served, self._database, self._watcher, self._writer = served, database, watcher, writer
        self._itself = itself
        self._wake = asyncio.Event()
        watcher.on_change(self._noticed)

    def _noticed(self, topics: frozenset[str]) -> None:
        if EDGE in topics:
            self._wake.set()

    async def run(self) -> None:
        """Look for ever: at once when something changed, else every `SECONDS`."""
        while True:
            await called(self._wake, SECONDS)
            try:
                await self.pace()
            except Exception as error:  # noqa: BLE001  # it is tried again, and says why it failed
                log.warning("updates: %s", error)

    async def pace(self) -> None:
        """Look, and take one step of each application for which one is due."""
        due = await asyncio.to_thread(self._due)
        for customer, name in due:
            await self._writer.run(partial(self._step, customer, name))
        if due:
            await self._watcher.look()

    def _due(self) -> list[tuple[str, str]]:
        with self._database.reading() as connection:
            return [
                (row.customer, row.name)
                for row in connection.execute(_under_way())
                if _does(Arranging(connection, row.customer, row.name, to_number(clock())))
            ]

    def _step(self, customer: str, name: str, connection: Connection) -> None:
        now = clock()
        arranging = Arranging(connection, customer, name, to_number(now))
        if not _does(arranging):
            return
        before = _told(arranging)
        step = arranging.pace()
        on = f"application/{customer}/{name}"
        if step.state is State.FAILED:
            self._take_back(connection, arranging, now)
            return
        after = _told(arranging)
        if after != before:
            change = Change("control:application:update-instances", on, before, after, arranging.topics)
            self._record(connection, change, "an update goes on", now)
        bump(connection, arranging.topics)

    def _take_back(self, connection: Connection, arranging: Arranging, now: datetime) -> None:
        """A version that didn't become healthy: go back to the last one that was."""
        row = arranging.application
        assert row is not None
        place = {"name": arranging.customer, "application": arranging.name}
        call = Call(self._itself(), place, None, None, "", "", now)
        change = take_back(self._served, connection, call)
        if change is not None:
            why = f"deployment {row.deployment} did not become healthy in time"
            self._record(connection, change, why, now)
            bump(connection, change.topics)

    def _record(self, connection: Connection, change: Change, why: str, now: datetime) -> None:
        record(connection, self._itself(), why, secrets.token_urlsafe(24), change, now)


def _under_way() -> Select[Any]:
    """Applications that run and haven't reached what is wanted, or have more instances, with at least one somewhere."""
    mine = instances.c.customer == applications.c.customer, instances.c.application == applications.c.name
    is_somewhere = exists().where(*mine, instances.c.place != "")
    has_spare = exists().where(*mine, instances.c.ordinal >= applications.c.instances)
    return select(applications.c.customer, applications.c.name).where(
        applications.c.state == "running",
        applications.c.deployment > 0,
        or_(
            applications.c.reached_deployment != applications.c.deployment,
            applications.c.reached_settings != applications.c.settings,
            has_spare,
        ),
        is_somewhere,
    )


def _does(arranging: Arranging) -> bool:
    """Whether a step changes anything."""
    row = arranging.application
    if row is None or not row.deployment:
        return False
    step: Step = arranging.step()
    if step.state is State.FAILED:
        return bool(0 < row.reached_deployment != row.deployment)
    has_spare = len(arranging.rows) > arranging.count
    if step.state is State.DONE:
        return not arranging.is_reached or (has_spare and not step.surge)
    return bool(step.update) or (step.surge and not has_spare)


def _told(arranging: Arranging) -> dict[str, str]:
    """What each instance is told, for a record."""
    return {row.name: f"deployment {row.deployment}, settings {row.settings}" for row in arranging.rows}
