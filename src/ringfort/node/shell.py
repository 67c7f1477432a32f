"""The process: performs what the machine decides, on the kernel and the disk, and hears what happens.

One thread does all of that. Two more speak with controllers (`listener`, `reporter`) and hand over events, a third one
keeps the enforcement points (`keeper`); they never touch a rule. Whenever the process dies, rules and enforcement
points stay as they are, and it goes on from its journal.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import queue
import select
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ringfort.environment.topology import DeviceKind
from ringfort.errors import RingfortError
from ringfort.kernel.changes import Changes
from ringfort.node import clock, membership
from ringfort.node.configuration import Configuration
from ringfort.node.devices import Devices
from ringfort.node.disk import Disk
from ringfort.node.enforcer import Enforcer
from ringfort.node.floats import Float
from ringfort.node.gates import Gate
from ringfort.node.hosting import Hosting
from ringfort.node.journal import CLOSED, Journal, Revision
from ringfort.node.keeper import Keeper
from ringfort.node.listener import Listener
from ringfort.node.machine import (
    Ask,
    Drifted,
    Effect,
    Event,
    Keep,
    Kind,
    Load,
    Loaded,
    Lost,
    NotKept,
    NotLoaded,
    Passed,
    Prepared,
    Prune,
    Reached,
    State,
    Tell,
    begin,
    step,
    wake,
)
from ringfort.node.material import Material
from ringfort.node.outbox import Happening, Outbox
from ringfort.node.points import Point
from ringfort.node.policy import Guard, Policy, closed_policy
from ringfort.node.ports import Controller, Desired
from ringfort.node.reporter import Reporter
from ringfort.node.services import Services
from ringfort.node.system import Bell, log, notify, software

if TYPE_CHECKING:
    from ringfort.node.client import Client
    from ringfort.node.floating import Floating
    from ringfort.node.gateway import Gateway

COUNT_SECONDS = 60.0
"""How often counters are read for the report."""

MOST_COUNTERS = 2000

FLOATING_SECONDS = 8.0
"""How long floating addresses may take to be let go of when the node ends."""


@dataclass(slots=True)
class Links:
    """How a node speaks with its controllers: two connections, one that waits for news and one that reports.

    Attributes:
        renew: renews certificates that are due.
        learn: takes other authorities and revocation lists.
        expires: when the node's own certificate ends.
        another: a connection more, for what not every node does.
    """

    listening: Controller
    reporting: Controller
    renew: Callable[[Controller], None] = lambda _controller: None
    learn: Callable[[Controller, Desired], None] = lambda _controller, _desired: None
    expires: Callable[[], str] = lambda: ""
    another: Callable[[], Client] | None = None


@dataclass(frozen=True, slots=True)
class _Said:
    """What was said last: what is held, how many events wait, and how the controllers can be reached."""

    held: object = None
    waiting: int = 0
    failure: str = ""
    reached: bool = False


class Shell:
    """One node; `run` returns when it is asked to end. Everything but `end` belongs to one thread.

    Args:
        configuration: what an operator said.
        disk: the state directory; not held yet.
        links: how it speaks with its controllers.
        services: the certificates of services on this machine's hosts.
        material: the files that enforcement points read.
    """

    def __init__(
        self, configuration: Configuration, disk: Disk, links: Links, services: Services, material: Material
    ) -> None:
        self._configuration, self._disk, self._links = configuration, disk, links
        self._closed = closed_policy(configuration.known_devices, configuration.controllers)
        self._policy: Policy | None = None
        self._compiled: Policy | None = None
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._bell = Bell()
        self._stop = threading.Event()
        self._poller = select.poll()
        self._devices = Devices(
            Enforcer(configuration.places, configuration.tolerated),
            sysctl=configuration.sysctl,
            watched=self._watched,
        )
        self._outbox = Outbox(disk.directory / "outbox.json")
        self._count_at = 0.0
        self._said = _Said()
        self._died: Exception | None = None
        self._reached: Revision | None = None
        self._state: State
        self._services = services
        self._keeper = Keeper(
            self._point, self._missing, material, self._drifted_point, self._failed_point, self._bell.ring, self._stop
        )
        self._hosting = Hosting(
            configuration.state,
            configuration.hosting,
            links.another,
            self._alert,
            links.expires,
            self._begin,
            self._stop,
        )
        self._material = material
        self._gateway: Gateway | None = None
        self._floating: Floating | None = None
        self._floating_thread: threading.Thread | None = None
        material.on_change(self._keeper.ring)
        self._reporter = Reporter(
            links.reporting,
            self._outbox,
            self._has_reached,
            links.renew,
            self._bell.ring,
            self._stop,
        )
        self._listener = Listener(
            configuration.name,
            disk,
            links.listening,
            self._closed,
            self._prepared,
            self._alert,
            self._stop,
            configuration.refresh_seconds,
            links.learn,
        )

    def end(self) -> None:
        """Ask it to end; from any thread, or from a signal's handler."""
        self._stop.set()
        self._bell.ring()

    def run(self) -> None:
        """Enforce until asked to end. The rules stay.

        Raises:
            RingfortError: another process works on the state directory.
        """
        self._disk.hold()
        try:
            with self._bell:
                self._poller.register(self._bell, select.POLLIN)
                self._run()
        finally:
            self._stop.set()
            self._reporter.end()
            self._keeper.ring()
            if self._gateway is not None:
                self._gateway.ring()
            if self._floating_thread is not None:
                self._floating_thread.join(FLOATING_SECONDS)
            self._devices.close()
            self._disk.release()

    def _run(self) -> None:
        journal, boot = self._disk.journal(), clock.boot()
        state, effects = begin(journal, boot, clock.since_boot(), self._configuration.confirm_seconds)
        if journal is not None and journal.boot == boot:  # after a boot there are no rules, and nobody took them away
            self._tell_what_is_strange(journal)
        self._perform(state, state, effects)  # the rules are there before anybody is spoken with
        for part in (self._listener, self._reporter, self._keeper):
            self._begin(part.run, type(part).__name__.lower())
        notify("READY=1")
        while not self._stop.is_set():
            self._turn()
        notify("STOPPING=1")
        if self._died is not None:
            raise RingfortError("node-died", f"a thread of the node ended: {self._died!r}", "start it again")

    def _begin(self, work: Callable[[], None], name: str) -> threading.Thread:
        thread = threading.Thread(target=self._working, args=(work,), name=name, daemon=True)
        thread.start()
        return thread

    def _working(self, work: Callable[[], None]) -> None:
        """A node that hears or says nothing any more would look well: it ends instead, and is started again."""
        try:
            work()
        except Exception as error:  # noqa: BLE001  # whatever it is, nobody else sees it
            traceback.print_exc()
            self._died = error
            self.end()

    def _tell_what_is_strange(self, journal: Journal) -> None:
        """What was changed while the node did not run; loading repairs it."""
        enforced, committed = self._find(journal.enforced), self._find(journal.committed)
        for drift in self._devices.strange(enforced, committed) if enforced is not None else ():
            what = f"{drift.devices[0]}: the rules were changed by {drift.by}"
            self._told(Tell(Kind.DRIFT, what, drift.changes, drift.by))

    def _turn(self) -> None:
        now = clock.since_boot()
        due = [self._devices.wake(), self._count_at, *([when] if (when := wake(self._state)) is not None else [])]
        # poll(2) takes whole milliseconds: round up, or the last one is spent spinning
        self._poller.poll(max(0, int((min(due) - now) * 1000) + 1))
        self._bell.quiet()
        now = clock.since_boot()
        self._devices.heard(now)
        for drift in self._devices.due(now):
            what = f"{drift.devices[0]}: the rules were changed" + (f" by {drift.by}" if drift.by else "")
            self._happens(Drifted(drift.devices, what, drift.changes, drift.by))
        while not self._events.empty():
            self._happens(self._events.get())
        self._confirm()
        if (when := wake(self._state)) is not None and when <= clock.since_boot():
            self._happens(Passed(self._hindrance() if self._reached == self._state.enforced else ""))
        for words in self._devices.new_foreign():
            self._tell("foreign-table", words, alert=True)
        self._report(now)
        notify("WATCHDOG=1")

    # --- events and effects ---

    def _post(self, event: Event) -> None:
        """From another thread."""
        self._events.put(event)
        self._bell.ring()

    def _prepared(self, policy: Policy) -> None:
        """From another thread."""
        self._compiled = policy
        self._post(Prepared(policy.revision))

    def _has_reached(self, revision: Revision) -> None:
        """From another thread: a controller was reached."""
        self._reached = revision
        self._bell.ring()

    def _confirm(self) -> None:
        """A revision that a controller was reached under is confirmed once no enforcement point hinders it."""
        reached = self._reached
        if reached is None or (reached == self._state.enforced and self._hindrance()):
            return
        self._reached = None
        self._happens(Reached(reached))

    def _hindrance(self) -> str:
        found = self._keeper.standing.hindrances
        return "; ".join(f"the enforcement point of {host}: {found[host]}" for host in sorted(found))

    def _happens(self, event: Event) -> None:
        before = self._state
        after, effects = step(before, event, clock.since_boot())
        self._perform(before, after, effects)

    def _perform(self, before: State, after: State, effects: tuple[Effect, ...]) -> None:
        self._state = after
        answers: list[Event] = []
        for effect in effects:
            if isinstance(effect, Keep):
                failure = self._keep(effect)
                if failure and effect.needed:
                    self._state, answers = before, [NotKept(failure)]
                    break
            elif isinstance(effect, Load):
                answers.append(self._load(effect.revision, effect.devices))
            else:
                self._do(effect)
        if self._state.journal.trial is None:
            self._reporter.ask(None)
        for answer in answers:
            self._happens(answer)

    def _do(self, effect: Ask | Tell | Prune) -> None:
        match effect:
            case Ask(revision):
                self._reporter.tell(self._snapshot(), soon=False)
                self._reporter.ask(revision)
            case Tell():
                self._told(effect)
            case Prune(keep):
                with contextlib.suppress(OSError):  # they are found by the next one
                    self._disk.prune(keep)

    def _keep(self, effect: Keep) -> str:
        """Why the disk did not take a journal; empty if it did."""
        try:
            self._disk.keep(effect.journal)
        except OSError as error:
            return error.strerror or str(error)
        return ""

    def _load(self, revision: Revision, devices: tuple[str, ...]) -> Event:
        policy = self._find(revision)
        if policy is None:
            return Lost(revision)
        failures = self._devices.load(policy, devices, clock.since_boot())
        if not failures and revision != CLOSED:
            guards, gates = (policy.guards, policy.gates) if self._configuration.enforcement_point else ({}, {})
            self._services.want(guards, gates)
            self._keeper.want(guards)
            self._want_gateway(gates)
            self._hosting.want(policy.owners)
            self._want_floating(policy.floats if self._configuration.enforcement_point else {})
        self._policy, compiled = policy, self._compiled
        if compiled is not None and compiled.revision == revision:
            self._compiled = None
        return NotLoaded(revision, "; ".join(failures)) if failures else Loaded(revision)

    def _find(self, revision: Revision) -> Policy | None:
        if revision == CLOSED:
            return self._closed
        for known in (self._policy, self._compiled):
            if known is not None and known.revision == revision:
                return known
        return self._disk.policy(revision)

    def _want_gateway(self, gates: Mapping[str, Gate]) -> None:
        """Which hosts are the gateway's; the first time that any is, it is loaded and begins."""
        if self._gateway is None:
            if not gates or self._links.another is None:
                return
            from ringfort.node import gateway  # few nodes need it

            self._gateway = gateway.of(
                self._configuration,
                self._links.another(),
                self._material,
                self._drifted_point,
                self._unserved,
                self._stop,
            )
            self._gateway.on_change(self._bell.ring)
            for part in (self._gateway.hear, self._gateway.serve):
                threading.Thread(
                    target=self._working, args=(part,), name=f"gateway-{part.__name__}", daemon=True
                ).start()
        self._gateway.want(gates)

    def _want_floating(self, floats: Mapping[str, tuple[Float, ...]]) -> None:
        """Which floating addresses hosts may hold; the first time that any may, it is loaded and begins."""
        if self._floating is None:
            if not floats:
                return
            from ringfort.node.floating import Floating  # few nodes need it

            known = self._configuration

            def namespace(host: str) -> str:
                return known.places.get(f"{DeviceKind.HOST}:{host}", "")

            self._floating = Floating(known.state, known.runtime, namespace, self._let_go, self._stop)
            self._floating_thread = self._begin(self._floating.run, "floating")
        self._floating.want(floats)

    def _let_go(self, host: str, words: str) -> None:
        """From another thread."""
        device = f"{DeviceKind.HOST}:{host}"
        self._tell("floating-address", f"{device}: {words}", alert=True, subject=device)
        self._bell.ring()

    def _unserved(self, host: str, words: str) -> None:
        """From another thread."""
        device = f"{DeviceKind.HOST}:{host}" if host else f"node:{self._configuration.name}"
        self._tell("not-public", f"{device}: the gateway: {words}", alert=True, subject=device)
        self._bell.ring()

    # --- enforcement points, from the keeper's thread ---

    def _point(self, host: str) -> Point:
        known = self._configuration
        place = known.places.get(f"{DeviceKind.HOST}:{host}", "")
        return Point(known.enforcement_point, known.state, known.runtime, host, place)

    def _missing(self, host: str, guard: Guard) -> tuple[str, ...]:
        """What there has to be before a point can be started."""
        certificates = tuple(f"certificate of {service}" for service in self._services.missing(host, guard))
        has_lists = membership.lists_file(self._disk.identity).exists()
        return certificates if has_lists else (*certificates, "revocation list")

    def _drifted_point(self, host: str, changes: tuple[str, ...]) -> None:
        device = f"{DeviceKind.HOST}:{host}"
        what = f"{device}: its enforcement point was changed"
        self._tell(Kind.DRIFT, what, alert=True, subject=device, changes=changes)
        self._bell.ring()

    def _failed_point(self, host: str, words: str) -> None:
        device = f"{DeviceKind.HOST}:{host}"
        self._tell("not-guarded", f"{device}: its enforcement point: {words}", alert=True, subject=device)
        self._bell.ring()

    # --- telling ---

    def _told(self, effect: Tell) -> None:
        subject = effect.what.partition(": ")[0] if effect.kind is Kind.DRIFT else f"node:{self._configuration.name}"
        self._tell(effect.kind, effect.what, alert=effect.alert, subject=subject, changes=effect.changes, by=effect.by)

    def _alert(self, kind: str, what: str) -> None:
        """From another thread."""
        self._tell(kind, what, alert=True)
        self._bell.ring()

    def _tell(
        self, kind: str, what: str, *, alert: bool, subject: str = "", changes: tuple[str, ...] = (), by: str = ""
    ) -> None:
        now = clock.now()
        about = subject or f"node:{self._configuration.name}"
        self._outbox.add(Happening(kind, about, what, alert, now, now, changes, by))
        log(kind, what, changes, alert=alert)

    def _report(self, now: float) -> None:
        """Hand the reporter what is true now, at once if it is news; say it on the disk, too."""
        waiting = len(self._outbox)
        points = self._keeper.standing
        public = self._gateway.troubles if self._gateway is not None else {}
        held = (self._state.journal, self._state.loaded, points.troubles, points.readback, public)
        failure = self._reporter.failure or self._reporter.lacking
        said = _Said(held, waiting, failure, self._reporter.reached is not None)
        if said == self._said and now < self._count_at:
            return
        is_news = held != self._said.held or waiting > self._said.waiting
        if is_news or now >= self._count_at:
            self._count_at = now + COUNT_SECONDS
            self._reporter.tell(self._snapshot(), soon=is_news)
        self._said = said
        self._disk.say(self._status())

    def _snapshot(self) -> dict[str, Any]:
        """The report, less its events (``ReportForm`` of the controller)."""
        readback = self._devices.readback()
        counters = {
            f"{device}/{name}": packets
            for device, counted in self._devices.counters(clock.since_boot()).items()
            for name, packets in counted.items()
        }
        points = self._keeper.standing
        readback |= points.readback
        counters |= points.counters
        return {
            "version": self._state.enforced.version if self._state.loaded == self._state.enforced else 0,
            "state": self._word(),
            "digest": hashlib.sha256(json.dumps(readback, sort_keys=True).encode()).hexdigest() if readback else "",
            "software": f"ringfort {software()}",
            "devices": readback,
            "counters": dict(list(counters.items())[:MOST_COUNTERS]),
        }

    def _word(self) -> str:
        journal = self._state.journal
        if self._state.loaded != self._state.enforced:
            return "refused" if self._state.retry is not None else "applying"
        if journal.trial is not None:
            return "applying"
        if journal.failure is not None:
            return "rolled-back"
        return "starting" if journal.committed == CLOSED else "confirmed"

    def _status(self) -> dict[str, Any]:
        """What ``ringfort node status`` shows."""
        journal, failure = self._state.journal, self._state.journal.failure
        return {
            "name": self._configuration.name,
            "pid": os.getpid(),
            "at": clock.now().isoformat(timespec="seconds"),
            "state": self._word(),
            "committed": journal.committed.version,
            "enforced": journal.enforced.version,
            "signers": list(self._policy.signers) if self._policy is not None else [],
            "devices": self._devices.readback(),
            "foreign": [str(other) for _, other in self._devices.foreign()],
            "taken-back": f"version {failure.revision.version}: {failure.reason}" if failure else "",
            "points": dict(self._keeper.standing.troubles),
            "gateway": self._gateway.troubles if self._gateway is not None else {},
            "controller": self._reporter.failure
            or self._reporter.lacking
            or ("reached" if self._reporter.reached is not None else "not reached yet"),
            "certificate-expires": self._links.expires(),
            "waiting": [happening.to_json() for happening in self._outbox.waiting(10)],
        }

    def _watched(self, changes: Changes, on: bool) -> None:
        if on:
            self._poller.register(changes, select.POLLIN)
        else:
            self._poller.unregister(changes)
