"""Group commit: many callers, one write and one fdatasync for all that wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

from ringfort.audit.log import Log, check

MOST_RECORDS = 4096
"""Records in one group."""


class Committer:
    """For asyncio: while one group is on its way to the disk, the next one gathers. Use it in an ``async with``."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._waiting: list[tuple[Sequence[bytes], asyncio.Future[range]]] = []
        self._worker = ThreadPoolExecutor(1, "audit-commit")
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._running is not None:
            await self._running
        self._worker.shutdown()

    async def append(self, bodies: Sequence[bytes]) -> range:
        """Append bodies, in order, all or none; durable when this returns. Raises as `Log.append` does.

        A caller that is cancelled doesn't know whether its records are there; look at the log.
        """
        check(bodies)
        loop = asyncio.get_running_loop()
        done: asyncio.Future[range] = loop.create_future()
        self._waiting.append((bodies, done))
        if self._running is None:
            self._running = loop.create_task(self._run())
        return await done

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(0)  # whoever is ready now comes along
        while self._waiting:
            group, self._waiting = self._waiting[:MOST_RECORDS], self._waiting[MOST_RECORDS:]
            try:
                places = await loop.run_in_executor(self._worker, self._log.append_groups, [it[0] for it in group])
            except Exception as error:  # noqa: BLE001  # each caller gets it
                for _, done in group:
                    if not done.done():
                        done.set_exception(error)
                continue
            for (_, done), place in zip(group, places, strict=True):
                if not done.done():
                    done.set_result(place)
        self._running = None


class ThreadCommitter:
    """For threads: the first to come writes for all who wait meanwhile."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._gathering = threading.Lock()
        self._writing = threading.Lock()
        self._waiting: list[tuple[Sequence[bytes], Future[range]]] = []

    def append(self, bodies: Sequence[bytes]) -> range:
        """As `Committer.append`."""
        check(bodies)
        done: Future[range] = Future()
        with self._gathering:
            self._waiting.append((bodies, done))
            leads = len(self._waiting) == 1
        if leads:
            with self._writing:
                with self._gathering:
                    group, self._waiting = self._waiting, []
                self._write(group)
        return done.result()

    def _write(self, group: Sequence[tuple[Sequence[bytes], Future[range]]]) -> None:
        try:
            places = self._log.append_groups([bodies for bodies, _ in group])
        except Exception as error:  # noqa: BLE001  # each caller gets it
            for _, done in group:
                done.set_exception(error)
            return
        for (_, done), place in zip(group, places, strict=True):
            done.set_result(place)
