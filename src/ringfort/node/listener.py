"""Hears of new versions: asks a controller and waits, verifies what it gets, compiles this machine's part. A thread.

It hears of other authorities and revocation lists in the same way.
"""

from __future__ import annotations

import ctypes
import gc
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

from ringfort.errors import RingfortError
from ringfort.node import clock
from ringfort.node.disk import Disk
from ringfort.node.policy import Policy, compile_policy
from ringfort.node.ports import Controller, Desired
from ringfort.publishing.errors import PublishingError
from ringfort.publishing.trust import Accepted, Code, Refused, Trust

POLL_SECONDS = 25.0
"""How long a controller may keep a question open until there is news."""

LEARN_SECONDS = 1.0

HASTE_SECONDS = 1.0
"""A controller that answers sooner, and has nothing new or nothing that is believed, is asked no sooner than that."""

BACKOFF_SECONDS = (0.5, 10.0)
"""How long to wait after a controller could not be reached: first, and at most."""


@dataclass(slots=True)
class Listener:
    """What it takes to hear of versions.

    Attributes:
        prepared: is told of what lies on the disk now, ready to be loaded.
        alert: is told why something was refused: a kind, and words.
        absent: what a device of this machine holds that an environment does not know.
        learn: takes what a controller says of authorities and their lists, which are others now.
    """

    machine: str
    disk: Disk
    controller: Controller
    absent: Policy
    prepared: Callable[[Policy], None]
    alert: Callable[[str, str], None]
    stop: threading.Event
    refresh_seconds: float
    learn: Callable[[Controller, Desired], None] = lambda _controller, _desired: None
    now: Callable[[], datetime] = clock.now
    since_boot: Callable[[], float] = clock.since_boot
    _version: int = 0
    _claimed: int = 0
    _trust: Desired = field(default_factory=lambda: Desired(0, 0))
    _root: int | None = None
    _learnt: float = float("-inf")
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
            known, asked = max(self._version, self._claimed), self.since_boot()
            try:
                found, has_learnt = self._ask(known)
            except RingfortError:
                self._back_off()
                return  # whoever answers next may serve something else: look before asking for news
            if self._answered:  # else who claims a version and does not serve it is asked less and less often
                self._backoff = BACKOFF_SECONDS[0]
            is_same = found.version == known
            if ((is_same and not has_learnt) or self._refused) and self.since_boot() - asked < HASTE_SECONDS:
                self._wait(HASTE_SECONDS)  # it would keep this node busy
            # What was refused may be another by now, and with another root the same may be believed.
            if not is_same or self._refused or self._has_other_root(found):
                self._claimed = found.version
                return

    def _has_other_root(self, found: Desired) -> bool:
        """Whether a controller names another root than it did last; noted."""
        before = self._root
        if found.root is not None:
            self._root = found.root
        return before not in (None, self._root)

    def _ask(self, known: int) -> tuple[Desired, bool]:
        """What a controller claims, once there is news; whether it is of authorities, which is taken."""
        found = self.controller.desired(replace(self._trust, version=known, root=self._root), POLL_SECONDS)
        trust = Desired(0, found.lists, found.bundle)
        if found.lists is not None and trust != self._trust:
            try:
                self._learn(found)
                self._trust = trust
            except RingfortError:
                if found.version == known:  # there is nothing else to do: it is tried again, and not at once
                    raise
            return found, True
        return found, False

    def _learn(self, found: Desired) -> None:
        """Not more often than once a second, whatever a controller says."""
        early = self._learnt + LEARN_SECONDS - self.since_boot()
        if early > 0:
            self._wait(early)
        self._learnt = self.since_boot()
        self.learn(self.controller, found)

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
