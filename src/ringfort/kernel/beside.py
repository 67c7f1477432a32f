"""Work done by a process beside this one, so that a person waits for one processor's share of it and not for all.

A job has no effect but its result. What a process beside this one can't deliver - it was killed, its job failed, the
result can't be sent - is simply done here, so a caller sees what a plain call would have given it.
"""

from __future__ import annotations

import os
import pickle
import signal
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")

_TICKET = struct.Struct("=H")
MOST_JOBS = 10_000
"""Tickets for so many fit into a pipe (pipe(7): 65,536 bytes)."""


class Beside(Generic[T]):
    """A job that a forked process works at from now on. Ask for its `result` once."""

    def __init__(self, job: Callable[[], T]) -> None:
        self._job = job
        output, say = os.pipe2(os.O_CLOEXEC)
        self._output = os.fdopen(output, "rb")
        self._pid = os.fork()
        if not self._pid:
            _work(job, say)
        os.close(say)

    def result(self) -> T:
        """What the job gives; done here if the other process couldn't.

        Raises:
            Exception: whatever the job raises.
        """
        delivered = self.delivered()
        return delivered[0] if delivered else self._job()

    def delivered(self) -> tuple[()] | tuple[T]:
        """What the other process gives, once it has ended; empty if nothing."""
        try:
            return (pickle.loads(self._output.read()),)  # noqa: S301  # our own process, through a pipe of ours
        except Exception:  # noqa: BLE001  # nothing came, a part, or what can't be put together again
            return ()
        finally:
            self.end()

    def end(self) -> None:
        """Let go of the other process, whatever it is doing. Again it does nothing."""
        if not self._output.closed:
            self._output.close()
            os.kill(self._pid, signal.SIGKILL)  # it is still there: nobody has waited for it
            os.waitpid(self._pid, 0)


def _work(job: Callable[[], object], say: int) -> None:
    """The forked process, to its end: it must not go on as its parent."""
    with suppress(BaseException):
        answer = pickle.dumps(job(), pickle.HIGHEST_PROTOCOL)
        with os.fdopen(say, "wb") as output:
            output.write(answer)
    os._exit(0)


def side_by_side(jobs: Sequence[Callable[[], T]]) -> list[T]:
    """Do independent jobs with every processor we may use; their results in order.

    Whoever is free takes the next one: put what takes longest first.

    Raises:
        Exception: whatever a job raises.
    """
    helpers = min(len(os.sched_getaffinity(0)), len(jobs)) - 1
    if helpers < 1 or len(jobs) > MOST_JOBS:
        return [job() for job in jobs]
    tickets, give = os.pipe2(os.O_CLOEXEC)
    os.write(give, b"".join(_TICKET.pack(number) for number in range(len(jobs))))
    os.close(give)

    def share() -> dict[int, T]:
        return {number: jobs[number]() for number in _taken(tickets)}

    beside = [Beside(share) for _ in range(helpers)]
    try:
        done = share()
        for helper in beside:
            for delivered in helper.delivered():
                done |= delivered
    finally:
        os.close(tickets)
        for helper in beside:
            helper.end()
    return [done[number] if number in done else job() for number, job in enumerate(jobs)]


def _taken(tickets: int) -> Iterator[int]:
    while ticket := os.read(tickets, _TICKET.size):
        yield _TICKET.unpack(ticket)[0]
