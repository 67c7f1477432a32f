"""Hears of new versions: asks a controller and waits, verifies what it gets, compiles this machine's part. A thread."""

from __future__ import annotations

import ctypes
import gc
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from ringfort.errors import RingfortError
from ringfort.node import clock
from ringfort.node.disk import Disk
from ringfort.node.errors import ControllerError
from ringfort.node.policy import Policy, compile_policy
from ringfort.node.ports import Controller
from ringfort.publishing.errors import PublishingError
from ringfort.publishing.trust import Accepted, Code, Refused, Trust

POLL_SECONDS = 25.0
"""How long a controller may keep a question open until there is news."""

BACKOFF_SECONDS = (0.5, 10.0)
"""How long to wait after a controller could not be reached: first, and at most."""


@dataclass(slots=True)
class Listener:
    """What it takes to hear of versions.

    Attributes:
        prepared: is told of what lies on the disk now, ready to be loaded.
        alert: is told why something was refused: a kind, and words.
        absent: what a device of this machine holds that an environment does not know.
    """

    machine: str
    disk: Disk
    controller: Controller
    absent: Policy
    prepared: Callable[[Policy], None]
    alert: Callable[[str, str], None]
    stop: threading.Event
    refresh_seconds: float
    now: Callable[[], datetime] = clock.now
    since_boot: Callable[[], float] = clock.since_boot
    _version: int = 0
    _claimed: int = 0
    _refused: str = ""
    _answered: bool = True
    _backoff: float = BACKOFF_SECONDS[0]
    _wait: Callable[[float], object] = field(init=False)

    def __post_init__(self) -> None:
        self._wait = self.stop.wait

    def run(self) -> None:
        """Listen until `stop` is set."""
        try:
            self._begin()
            while not self.stop.is_set():
                self._answered = self._update()
                if not self._answered:
                    self._claimed = self._version  # whoever answers next may claim it again
                    self._back_off()
                self._listen()
        finally:
            self.controller.close()

    def _begin(self) -> None:
        """What was good before is good now: no controller is needed to go on."""
        good = Trust(self.disk.trust).last_good()
        if good is not None:
            self._prepare(good)

    def _update(self) -> bool:
        """Ask for the metadata in force and verify it; whether there was an answer."""
        try:
            # A new one each time: what is believed is on the disk, and an environment may be large.
            result = Trust(self.disk.trust).update(self.controller, self.now())
        except (PublishingError, OSError) as error:
            if isinstance(error, PublishingError) and error.code == "root-missing":  # it is not enrolled yet
                return True
            self._refuse("metadata-unusable", str(error))
            return False
        if isinstance(result, Refused):
            if result.alert:
                self._refuse("metadata-refused", f"{result.code}: {result.message}")
            return result.code not in (Code.UNREACHABLE, Code.FROZEN)
        self._refused = ""
        if result.version != self._version:
            self._prepare(result)
        return True

    def _refuse(self, kind: str, what: str) -> None:
        if what != self._refused:  # once, until something else is the matter
            self._refused = what
            self.alert(kind, what)

    def _prepare(self, accepted: Accepted) -> None:
        try:
            policy = compile_policy(accepted.environment, accepted.version, self.machine, accepted.signers, self.absent)
            self.disk.store(policy)
        except (RingfortError, OSError, ValueError, KeyError) as error:
            self._refuse("not-compiled", f"version {accepted.version} cannot be compiled: {error}")
            return
        self._version = self._claimed = accepted.version
        self.prepared(policy)
        del policy
        _give_back_memory()

    def _listen(self) -> None:
        """Wait for news, or until it is time to look for a fresh timestamp."""
        until = self.since_boot() + self.refresh_seconds
        while not self.stop.is_set() and self.since_boot() < until:
            # Until there is another version than the one that was claimed last, be that claim true or not.
            known = max(self._version, self._claimed)
            try:
                claimed = self.controller.desired(known, POLL_SECONDS)
            except ControllerError:
                self._back_off()
                continue
            came_back = self._backoff > BACKOFF_SECONDS[0]
            if self._answered:  # else who claims a version and does not serve it is asked less and less often
                self._backoff = BACKOFF_SECONDS[0]
            if claimed != known:
                self._claimed = claimed
                return
            if came_back:
                return

    def _back_off(self) -> None:
        if not (self.disk.identity / "node.pem").exists():
            self._wait(BACKOFF_SECONDS[0])  # it costs nobody anything, and who enrols the machine waits for it
            return
        self._wait(self._backoff * random.uniform(0.5, 1.0))  # noqa: S311  # so that nodes don't come at once
        self._backoff = min(2 * self._backoff, BACKOFF_SECONDS[1])


def _give_back_memory() -> None:
    """An environment may be large, and is not needed any more: let the C library return what Python has freed."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
