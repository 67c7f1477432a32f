"""Tells a controller what is enforced, and what happened; asks it to confirm what is on trial. A thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ringfort.node import clock
from ringfort.node.errors import ControllerError
from ringfort.node.journal import Revision
from ringfort.node.outbox import Outbox
from ringfort.node.ports import Controller

HEARTBEAT_SECONDS = 60.0
CONFIRM_AGAIN_SECONDS = 1.0
"""While something is on trial."""

BACKOFF_SECONDS = (1.0, 30.0)


@dataclass(slots=True)
class Reporter:
    """What it takes to report.

    Attributes:
        confirmed: is told of a revision for which a controller answered on a connection opened after it was asked.
        renew: is called on this thread after each report: to renew certificates that are due.
        arrived: is called when what a controller is known to know has changed.
    """

    controller: Controller
    outbox: Outbox
    confirmed: Callable[[Revision], None]
    renew: Callable[[Controller], None]
    arrived: Callable[[], None]
    stop: threading.Event
    since_boot: Callable[[], float] = clock.since_boot
    reached: float | None = None
    """When a controller answered last, seconds since boot."""
    failure: str = ""
    """Why the last report did not arrive; empty if it did."""
    lacking: str = ""
    """Why no controller renewed a certificate that is due; empty if none is."""
    _condition: threading.Condition = field(default_factory=threading.Condition)
    _snapshot: dict[str, Any] = field(default_factory=dict)
    _asked: Revision | None = None
    _news: bool = False
    _due: float = 0.0
    _backoff: float = BACKOFF_SECONDS[0]
    _patience: float = BACKOFF_SECONDS[0]

    def ask(self, revision: Revision | None) -> None:
        """Reach a controller until it confirms this revision; None: nothing is on trial any more."""
        with self._condition:
            if revision != self._asked:
                self._asked, self._news, self._due = revision, True, 0.0
                self._condition.notify()

    def tell(self, snapshot: dict[str, Any], *, soon: bool) -> None:
        """What to report from now on; ``soon``: not only at the next heartbeat."""
        with self._condition:
            self._snapshot = snapshot
            if soon:
                self._news = True
                self._condition.notify()

    def end(self) -> None:
        """Wake the thread up to find that it should end; `stop` is set."""
        with self._condition:
            self._condition.notify()

    def run(self) -> None:
        """Report until `stop` is set."""
        try:
            while not self.stop.is_set():
                with self._condition:
                    self._wait()
                    asked, snapshot, self._news = self._asked, self._snapshot, False
                if not self.stop.is_set() and snapshot:
                    self._report(asked, snapshot)
        finally:
            self.controller.close()

    def _wait(self) -> None:
        while not self.stop.is_set():
            left = self._due - self.since_boot()
            # After a failure news waits for its turn, too; a question does not.
            if left <= 0 or (self._news and not self.failure):
                return
            self._condition.wait(left)

    def _report(self, asked: Revision | None, snapshot: dict[str, Any]) -> None:
        waiting = self.outbox.waiting()
        document = {**snapshot, "events": [happening.to_report() for happening in waiting]}
        try:
            self.controller.report(document, fresh=asked is not None)
        except ControllerError as error:
            self.failure = error.message
            wait = CONFIRM_AGAIN_SECONDS if asked is not None else self._backoff
            self._backoff = min(2 * self._backoff, BACKOFF_SECONDS[1])
            self._due = self.since_boot() + wait
            self.arrived()
            return
        self.failure, self._backoff = "", BACKOFF_SECONDS[0]
        self.reached = self.since_boot()
        self.outbox.told(waiting)
        if asked is not None:
            self.confirmed(asked)
        wait = HEARTBEAT_SECONDS if asked is None else CONFIRM_AGAIN_SECONDS
        self._due = self.since_boot() + min(wait, self._renew())
        if len(self.outbox):
            self._due = min(self._due, self.since_boot() + BACKOFF_SECONDS[0])
        self.arrived()

    def _renew(self) -> float:
        """In how many seconds to come back to it. That no certificate was given keeps nothing from being reported."""
        try:
            self.renew(self.controller)
        except ControllerError as error:
            self.lacking = error.message
            self._patience = min(2 * self._patience, BACKOFF_SECONDS[1])
            return self._patience
        self.lacking, self._patience = "", BACKOFF_SECONDS[0]
        return HEARTBEAT_SECONDS
