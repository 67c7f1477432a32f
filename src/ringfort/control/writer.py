"""The one writer: concurrent changes share a transaction, and with it its flush to disk (group commit)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection

from ringfort.control.database import Database

T = TypeVar("T")

MOST_IN_A_GROUP = 128
MOST_WAITING = 2048


class WriterBusyError(Exception):
    """Too many changes wait already."""


@dataclass(frozen=True, slots=True)
class _Job:
    change: Callable[[Connection], Any]
    done: asyncio.Future[Any]


class Writer:
    """Runs changes one after the other, as many in one transaction as wait when it begins.

    Each change has a savepoint of its own: if it raises, it alone is undone. A change is answered after the commit.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._waiting: deque[_Job] = deque()
        self._task: asyncio.Task[None] | None = None
        self._listeners: list[Callable[[], None]] = []

    async def run(self, change: Callable[[Connection], T]) -> T:
        """What ``change`` returns, once it is durable; cancelling the caller does not undo it.

        Raises:
            WriterBusyError: `MOST_WAITING` changes wait already.
            Exception: whatever the change, or the commit, raises; then nothing of it is kept.
        """
        if len(self._waiting) >= MOST_WAITING:
            raise WriterBusyError
        job = _Job(change, asyncio.get_running_loop().create_future())
        self._waiting.append(job)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain())
        result: T = await asyncio.shield(job.done)
        return result

    def on_commit(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` after each group."""
        self._listeners.append(listener)

    async def close(self) -> None:
        """Finish what waits, then stop."""
        if self._task is not None:
            await self._task
        self._thread.shutdown()

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            group = [self._waiting.popleft() for _ in range(min(len(self._waiting), MOST_IN_A_GROUP))]
            try:
                outcomes = await loop.run_in_executor(self._thread, self._commit, group)
            except Exception as error:  # noqa: BLE001  # it belongs to each who waits
                outcomes = [error] * len(group)
            for job, outcome in zip(group, outcomes, strict=True):
                _answer(job.done, outcome)
            for listener in self._listeners:
                listener()

    def _commit(self, group: list[_Job]) -> list[Any]:
        outcomes: list[Any] = []
        with self._database.writing() as connection:
            for job in group:
                try:
                    with connection.begin_nested():
                        outcomes.append(job.change(connection))
                except Exception as error:  # it belongs to the one who asked for the change
                    if connection.invalidated:
                        raise
                    outcomes.append(error)
        return outcomes


def _answer(done: asyncio.Future[Any], outcome: object) -> None:
    if done.cancelled():
        return
    if isinstance(outcome, Exception):
        done.set_exception(outcome)
        done.exception()  # whoever asked may be gone: then nobody else has to hear of it
    else:
        done.set_result(outcome)
