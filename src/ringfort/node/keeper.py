"""Keeps the enforcement points in front of the services of this machine's hosts: a thread.

Rules are the main thread's, and wait for nobody. Here a process has to be started, certificates have to come from a
controller; meanwhile a service is closed, because nobody else listens at its address. What was changed by hand is found
within `LOOK_SECONDS`, a process that ended at once, and both are put right.
"""

from __future__ import annotations

import hashlib
import json
import select
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from ringfort.errors import RingfortError
from ringfort.gateway.haproxy import check_to_json
from ringfort.node import clock
from ringfort.node.material import Material
from ringfort.node.policy import Guard
from ringfort.node.ports import EnforcementPoint
from ringfort.node.system import Bell

LOOK_SECONDS = 3.0
"""How often to look whether a point enforces what it should."""

COUNT_SECONDS = 30.0
"""How old counts may be that are reported."""

AGAIN_SECONDS = (1.0, 30.0)
"""How long after a failure a point is tried again: first, and at most."""


@dataclass(slots=True)
class _Kept:
    """One host's point. ``guard`` is what it enforces, None before that; ``trouble`` why it doesn't enforce what is
    wanted, in words; ``is_lacking``: because a controller has not given what it needs yet."""

    point: EnforcementPoint
    guard: Guard | None = None
    tried: Guard | None = None
    material: int = -1
    trouble: str = ""
    is_lacking: bool = False
    again: float = 0.0
    backoff: float = AGAIN_SECONDS[0]


@dataclass(frozen=True, slots=True)
class Standing:
    """How the points stand: by host, why one doesn't enforce what it should ("" if it does), and what was counted and
    read back, by name.

    ``hindrances``: the troubles of points that enforced what they should before another guard was wanted, and would if
    that one was taken back. Not that a controller gives no certificate: by that it could take back any version.
    """

    troubles: Mapping[str, str] = field(default_factory=dict)
    readback: Mapping[str, str] = field(default_factory=dict)
    counters: Mapping[str, int] = field(default_factory=dict)
    hindrances: Mapping[str, str] = field(default_factory=dict)


class Keeper:
    """What it takes to keep them.

    Args:
        make: the point of a host, whether it runs or not.
        missing: which services of a host have no certificate yet, or what else there isn't.
        material: the files that points read.
        drift: is told of what was changed by hand, and is undone: host, and words.
        alert: is told of what is the matter: host, and words.
        changed: is called when the standing is another.
    """

    def __init__(
        self,
        make: Callable[[str], EnforcementPoint],
        missing: Callable[[str, Guard], tuple[str, ...]],
        material: Material,
        drift: Callable[[str, tuple[str, ...]], None],
        alert: Callable[[str, str], None],
        changed: Callable[[], None],
        stop: threading.Event,
        since_boot: Callable[[], float] = clock.since_boot,
    ) -> None:
        self._make, self._missing, self._material = make, missing, material
        self._drift, self._alert, self._changed = drift, alert, changed
        self._stop, self._now = stop, since_boot
        self._wanted: Mapping[str, Guard] | None = None
        self._kept: dict[str, _Kept] = {}
        self._counted: dict[str, int] = {}
        self._counted_at = -COUNT_SECONDS
        self._bell: Bell | None = None
        self._lock = threading.Lock()
        self._stood: frozenset[str] = frozenset()
        self.standing = Standing()

    def want(self, guards: Mapping[str, Guard]) -> None:
        """Which points there have to be from now on, by host; what runs on other hosts ends. From any thread."""
        with self._lock:
            before, self._wanted = self._wanted or {}, guards
            if before != guards:
                good = {host for host, trouble in self.standing.troubles.items() if not trouble}
                self._stood = frozenset(host for host in good if host in guards and before.get(host) != guards[host])
            kept = [host for host, guard in guards.items() if before.get(host) == guard]
            as_before = {host: self.standing.troubles[host] for host in kept}
            troubles = {**dict.fromkeys(guards, "it is being brought up"), **as_before}
            hindrances = self.standing.hindrances if before == guards else {h: troubles[h] for h in self._stood}
            self.standing = replace(self.standing, troubles=troubles, hindrances=hindrances)
        self.ring()

    def ring(self) -> None:
        """Look now. From any thread."""
        if self._bell is not None:
            self._bell.ring()

    def run(self) -> None:
        """Keep them until `stop` is set; they go on."""
        with Bell() as bell:
            self._bell = bell
            try:
                while not self._stop.is_set():
                    self._turn()
                    self._wait(bell)
            finally:
                self._bell = None
                for kept in self._kept.values():
                    kept.point.close()

    def _wait(self, bell: Bell) -> None:
        poller = select.poll()
        for descriptor in (bell.fileno(), *(one.point.fileno() for one in self._kept.values())):
            if descriptor >= 0:
                poller.register(descriptor, select.POLLIN)
        poller.poll(LOOK_SECONDS * 1000 if self._wanted else None)
        bell.quiet()

    def _turn(self) -> None:
        wanted = self._wanted
        if wanted is None:
            return
        with self._material.held():
            for host in set(self._kept) - set(wanted):
                self._end(host)
            for host, guard in wanted.items():
                self._keep(host, guard)
        self._count()
        self._say(wanted)

    def _keep(self, host: str, guard: Guard) -> None:
        kept = self._kept.get(host) or self._kept.setdefault(host, _Kept(self._make(host)))
        is_tried = (kept.tried, kept.material) == (guard, self._material.number)
        try:
            if is_tried and kept.trouble and self._now() < kept.again:
                return
            if is_tried and not kept.trouble:
                changes = kept.point.look()
                if not changes:
                    return
                self._drift(host, changes)
            self._put(kept, host, guard)
        except RingfortError as error:
            self._failed(kept, host, error.message)

    def _put(self, kept: _Kept, host: str, guard: Guard) -> None:
        kept.tried, kept.material = guard, self._material.number
        lacking = self._missing(host, guard)
        kept.is_lacking = bool(lacking)
        if lacking:
            kept.trouble, kept.again = f"there is no {' nor '.join(lacking)} yet", self._now() + AGAIN_SECONDS[1]
            return
        kept.point.put(guard)
        kept.guard, kept.trouble, kept.backoff = guard, "", AGAIN_SECONDS[0]

    def _failed(self, kept: _Kept, host: str, words: str) -> None:
        if kept.trouble != words:
            self._alert(host, words)
        kept.trouble, kept.again = words, self._now() + kept.backoff
        kept.backoff = min(2 * kept.backoff, AGAIN_SECONDS[1])

    def _end(self, host: str) -> None:
        try:
            self._kept.pop(host).point.end()
        except RingfortError as error:
            self._alert(host, error.message)

    # --- what there is to say ---

    def _count(self) -> None:
        if self._now() < self._counted_at + COUNT_SECONDS:
            return
        self._counted_at = self._now()
        self._counted = {}
        for host, kept in self._kept.items():
            try:
                found = kept.point.counts() if kept.guard is not None else {}
            except RingfortError:
                continue  # it is gone: the next look says so
            for service, reasons in found.items():
                self._counted |= {f"identity:{host}/{service}/{reason}": n for reason, n in reasons.items()}

    def _say(self, wanted: Mapping[str, Guard]) -> None:
        troubles = {host: self._kept[host].trouble if host in self._kept else "" for host in wanted}
        readback = {
            f"identity:{host}": _digest(kept.guard)
            for host, kept in self._kept.items()
            if kept.guard is not None and not kept.trouble
        }
        with self._lock:
            if wanted is not self._wanted:
                return
            hindrances = {h: troubles[h] for h in self._stood if troubles[h] and not self._kept[h].is_lacking}
            before = self.standing
            is_news = (troubles, readback, hindrances) != (before.troubles, before.readback, before.hindrances)
            self.standing = Standing(troubles, readback, dict(self._counted), hindrances)
        if is_news:
            self._changed()


def _digest(guard: Guard) -> str:
    """SHA-256 (hexadecimal) of what a point was told and has been read back to enforce."""
    checks = sorted(json.dumps(check_to_json(check), sort_keys=True) for check in guard.checks)
    return hashlib.sha256("\n".join(checks).encode()).hexdigest()
