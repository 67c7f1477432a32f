"""Group commit: many callers, one write and one fdatasync for all that wait."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Self

from ringfort.audit.log import Log, check

MOST_CALLERS = 4096
"""Callers in one group."""

ANSWER_SECONDS = 15e-6
"""About what it takes to answer one caller and have it come back."""


class Committer:
    """For asyncio: while one group is on its way to the disk, the one before is answered, and the next one gathers.

    Use it in an ``async with``.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._waiting: list[_Waiting] = []
        self._lock = threading.Lock()
        self._something = threading.Semaphore(0)
        self._idle = True
        self._last = 0
        self._quick = False
        self._due: tuple[Sequence[_Waiting], list[range] | Exception] | None = None
        self._closing = False
        self._worker = threading.Thread(target=self._work, name="audit-commit", daemon=True)

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._worker.start()
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._closing = True
        self._something.release()
        await asyncio.to_thread(self._worker.join)

    async def append(self, bodies: Sequence[bytes]) -> range:
        """Append bodies, in order, all or none; durable when this returns. Raises as `Log.append` does.

        A caller that is cancelled doesn't know whether its records are there; look at the log.
        """
        check(bodies)
        done: asyncio.Future[range] = self._loop.create_future()
        with self._lock:
            self._waiting.append((bodies, done))
            wake, self._idle = self._idle, False
        if wake:
            self._something.release()
        return await done

    def _work(self) -> None:
        """The thread that writes: never two groups at once, and no pause between them."""
        while True:
            self._something.acquire()
            while group := self._next():
                begun = time.perf_counter()
                outcome = self._write(group)
                took = time.perf_counter() - begun
                self._answer()  # if nothing came to the disk
                self._due = group, outcome
                # With a quick disk those are answered while the next group is on its way. With a slow one that has to
                # be as large as it can be, so they come first.
                self._quick = took < (len(group) + len(self._waiting)) * ANSWER_SECONDS
                if not self._quick:
                    self._answer()
            self._answer()
            if self._closing:
                return

    def _answer(self) -> None:
        """Have the loop answer those of the last group, unless it was told already.

        Waking the loop lets go of the interpreter's lock, and the loop would keep that until everybody is answered: the
        disk would rest meanwhile. So with a quick disk the loop waits until this thread has the lock again, to let go
        of it in fdatasync.
        """
        if self._due is None:
            return
        gate = threading.Lock()
        if self._quick:
            gate.acquire()
        try:
            self._loop.call_soon_threadsafe(_tell, *self._due, gate)
        except RuntimeError:
            self._closing = True  # the loop is closed: nobody is left who waits
        finally:
            if self._quick:
                gate.release()
        self._due = None

    def _next(self) -> list[_Waiting]:
        with self._lock:
            there = self._last + len(self._waiting)
            # With a quick disk half of all who are there: one half is answered and comes back while the other is on
            # its way. With a slow one, as many as possible.
            many = min((there + 1) // 2 if self._quick else there, MOST_CALLERS)
            group, self._waiting = self._waiting[:many], self._waiting[many:]
            self._idle = not group
            self._last = len(group)
        return group

    def _write(self, group: Sequence[_Waiting]) -> list[range] | Exception:
        try:
            return self._log.append_groups([bodies for bodies, _ in group], self._answer)
        except Exception as error:  # noqa: BLE001  # each caller gets it
            return error


_Waiting = tuple[Sequence[bytes], "asyncio.Future[range]"]


def _tell(group: Sequence[_Waiting], outcome: list[range] | Exception, gate: threading.Lock) -> None:
    with gate:
        pass
    for number, (_, done) in enumerate(group):
        if done.done():
            continue  # cancelled
        if isinstance(outcome, Exception):
            done.set_exception(outcome)
        else:
            done.set_result(outcome[number])


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
