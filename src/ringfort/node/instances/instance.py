"""One instance: a thread from when it is told to be here until it is gone, because a sandbox ends with its thread."""

from __future__ import annotations

import shutil
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ringfort.compute import disks, launching
from ringfort.compute.application import Application
from ringfort.compute.errors import SandboxError
from ringfort.compute.sandbox import Sandbox, Specification
from ringfort.errors import RingfortError
from ringfort.node import clock
from ringfort.node.instances import software as fetching
from ringfort.node.instances import wiring
from ringfort.node.instances.house import House, passable
from ringfort.node.instances.life import DRAIN_SECONDS, Backoff, Health, State, Terms
from ringfort.node.instances.software import Software
from ringfort.node.instances.tail import Tail
from ringfort.node.instances.wanted import Version, Wanted

LOOK_SECONDS = 0.25
WIRE_SECONDS = 2.0
"""How often to look whether somebody changed an instance's wire by hand."""

STOP_SECONDS = 5.0
"""How long an application may take to end once it is asked to."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How an instance is, for a controller."""

    name: str
    version: Version
    state: State


@dataclass(frozen=True, slots=True)
class _Prepared:
    """All that it takes to start a version. ``values``: its configuration and secrets, in memory only, and
    ``disk_key``, too."""

    version: Version
    software: Software
    values: dict[str, str] = field(repr=False)
    disk_key: bytes = field(repr=False)


@dataclass(slots=True)
class _Running:
    """What runs. ``rules`` is what its wire's were when they were laid, ``due`` when to look at them again."""

    prepared: _Prepared
    place: str
    namespace: str
    sandbox: Sandbox
    health: Health
    rules: str
    due: float


class Instance:
    """One instance on this node.

    Args:
        changed: is called when its standing is another; from its thread.
        alert: is told what is the matter, in words for operators: nothing of what is in the instance.
    """

    def __init__(
        self,
        wanted: Wanted,
        house: House,
        changed: Callable[[], None],
        alert: Callable[[str, str], None],
        drain_seconds: float = DRAIN_SECONDS,
    ) -> None:
        self.name = wanted.name
        self._house, self._changed, self._alert, self._drain = house, changed, alert, drain_seconds
        self._directory = house.directory(wanted.name)
        self._wanted: Wanted | None = wanted
        self._news = threading.Event()
        self._ends = False
        self._running: _Running | None = None
        self._prepared: _Prepared | None = None
        self._leaving: float | None = None
        self._backoff = Backoff()
        self._told = ""
        self.standing = Standing(wanted.name, wanted.version, State.STARTING)
        self.memory = 0
        """MiB of its virtual machine, once that is known."""
        self.log = Tail(self._directory / "log")
        self.thread = threading.Thread(target=self._live, name=wanted.name, daemon=True)
        self.thread.start()

    def want(self, wanted: Wanted | None) -> None:
        """What it should be from now on; None: gone. From any thread."""
        if wanted != self._wanted:
            self._wanted = wanted
            self._news.set()

    def end(self) -> None:
        """End it now: the node ends. From any thread."""
        self._ends = True
        self._news.set()

    @property
    def is_busy(self) -> bool:
        """Whether it is being started."""
        return self.standing.state is State.STARTING

    # --- its thread ---

    def _live(self) -> None:
        passable(self._directory)
        try:
            while self._turn():
                self._news.wait(LOOK_SECONDS)
                self._news.clear()
        finally:
            self._stop()
            if self._wanted is None:  # else the next node goes on with its disk
                shutil.rmtree(self._directory, ignore_errors=True)
            self._changed()

    def _turn(self) -> bool:
        """Do what is next; whether there will be more to do."""
        wanted, now = self._wanted, time.monotonic()
        if self._ends:
            return False
        try:
            if self._running is not None:
                if self._may_stay(self._running, wanted):
                    self._leaving = None
                    self._look(self._running, now)
                else:
                    self._leave(wanted, now)
            elif wanted is None:
                return False
            elif not wanted.runs:
                self._leave_places()
                self._be(State.STOPPED, wanted.version)
            elif now >= self._backoff.again:
                self._begin(wanted)
        except (RingfortError, OSError) as error:
            self._failed(wanted, str(getattr(error, "message", error)), 0.0)
        except Exception as error:  # noqa: BLE001  # whatever it is: one instance fails, and not the node
            traceback.print_exc()
            self._failed(wanted, f"the node can't run it: {type(error).__name__}", 0.0)
        return True

    def _may_stay(self, running: _Running, wanted: Wanted | None) -> bool:
        if wanted is None or not wanted.runs or wanted.place != running.place:
            return False
        return running.prepared.version.covers(wanted.version) and self._is_allowed(wanted)

    def _is_allowed(self, wanted: Wanted) -> bool:
        return self._house.owners.get(wanted.place) == wanted.customer

    def _leave(self, wanted: Wanted | None, now: float) -> None:
        """Drain; meanwhile fetch what comes next; then stop."""
        if self._leaving is None:
            self._leaving = now
            self._be(State.STOPPING)
        if wanted is not None and wanted.runs:
            self._prepare(wanted)
        if now >= self._leaving + self._drain:
            self._stop()
            self._backoff = Backoff()

    def _begin(self, wanted: Wanted) -> None:
        self._be(State.STARTING, wanted.version)
        self._leave_places(but=wanted.place)
        namespace = self._house.namespace(wanted.place, wanted.customer)
        if not self._house.take(wanted.place, self.name):
            return  # whoever was there drains
        prepared = self._prepare(wanted)
        application = prepared.software.application
        wiring.plug(namespace, application)
        laid = wiring.rules(namespace)
        sandbox = self._sandbox(prepared, namespace)
        self._start(sandbox, prepared)
        now = time.monotonic()
        health = Health(_terms(application), now)
        self._running = _Running(prepared, wanted.place, namespace, sandbox, health, laid, now + WIRE_SECONDS)
        self._look(self._running, now)

    def _prepare(self, wanted: Wanted) -> _Prepared:
        """What a version needs, fetched once."""
        known = self._prepared
        if known is not None and known.version.covers(wanted.version):
            return known
        with self._house.calling() as client:
            said = client.instance_settings(self.name)
            if known is not None and known.software.digest == wanted.digest:
                found = known.software
            else:
                found = fetching.fetch(lambda offset: client.software(self.name, offset), wanted, self._directory)
        version = Version(wanted.version.deployment, said.settings)
        values = {**said.configuration, **said.secrets}
        self._prepared = _Prepared(version, found, values, bytes.fromhex(said.disk_key))
        return self._prepared

    def _sandbox(self, prepared: _Prepared, namespace: str) -> Sandbox:
        house, application = self._house, prepared.software.application
        base = house.image()
        self.memory = launching.machine_memory(application)
        name = f"{self.name}-{house.tag}"
        uid = house.account(self.name)
        specification = Specification(
            name, uid, base, self._directory / "log", self.memory, cpu_percent=application.resources.cpu,
            accelerator=house.accelerator(base), application=prepared.software.disk,
            disk=self._disk(application, uid, prepared.disk_key), disk_key=prepared.disk_key,
            wire=wiring.wire(namespace, application),
        )  # fmt: skip
        return Sandbox(specification, house.runtime)

    def _disk(self, application: Application, uid: int, key: bytes) -> Path | None:
        """Its own disk, encrypted; the one from before if that has the right size."""
        path, size = self._directory / "data", application.resources.disk
        if path.exists() and not (size and disks.is_of(path, size, key)):
            self.log.say(clock.now(), "the disk has another size than before, and is empty")
            path.unlink()
        if size and not path.exists():
            disks.make(path, size, uid, key)
        return path if size else None

    def _start(self, sandbox: Sandbox, prepared: _Prepared) -> None:
        templates, specification = self._house.templates, sandbox.specification
        wanted = specification.image, specification.memory, specification.accelerator
        snapshot = templates.get(*wanted)
        launch = launching.launch(prepared.software.application, prepared.values)
        if snapshot is not None:
            try:
                sandbox.start(launch, snapshot)
            except SandboxError as error:
                if error.code == "sandbox-guest":  # it was there, and could not start this
                    raise
                templates.forget(*wanted)
                self._alert("template-unusable", f"a snapshot can't be restored: {error.message}")
            else:
                return
        sandbox.start(launch)

    def _look(self, running: _Running, now: float) -> None:
        status = running.sandbox.status()
        if status.state not in ("running", "ready"):
            code = f" with code {status.code}" if status.code is not None else ""
            ended = "the application ended" if status.state == "exited" else "the virtual machine ended"
            lived = now - running.health.since if running.health.state is State.RUNNING else 0.0
            self._stop()
            self._failed(self._wanted, ended + code, lived)
            return
        if now >= running.due:
            self._mend_wire(running)
            running.due = now + WIRE_SECONDS
        health, terms = running.health, running.health.terms
        if terms.port and now >= health.due:
            reason = running.sandbox.health(terms.port, terms.path, terms.timeout)
            health.hear(not reason, time.monotonic())
            if health.is_hopeless(time.monotonic()):
                self._stop()
                self._failed(self._wanted, f"it was not healthy for {terms.start:g} s: {reason}", 0.0)
                return
        told = self._wanted.version if self._wanted is not None else running.prepared.version
        if health.state is State.RUNNING:
            fetching.forget_others(self._directory, running.prepared.software)
        self._be(health.state, told)

    def _mend_wire(self, running: _Running) -> None:
        """Undo what somebody changed at it by hand.

        Raises:
            RingfortError: it is gone, and its guest holds one end: only another start helps.
        """
        if not wiring.is_plugged(running.namespace):
            self._stop()
            raise RingfortError("wire-gone", f"somebody removed the wire into {running.place}")
        if wiring.rules(running.namespace) != running.rules:
            wiring.lay_rules(running.namespace, running.prepared.software.application)
            running.rules = wiring.rules(running.namespace)
            self._alert("drift", f"{self.name}: the rules of its wire into {running.place} were changed")

    def _stop(self) -> None:
        """End what runs, and leave the place as it was."""
        running, self._running, self._leaving = self._running, None, None
        if running is not None:
            running.sandbox.stop(STOP_SECONDS)
        self._leave_places()

    def _leave_places(self, but: str = "") -> None:
        for place, name in self._house.taken().items():
            if name == self.name and place != but:
                wiring.unplug(self._house.namespaces[place])
                self._house.leave(place, name)

    def _failed(self, wanted: Wanted | None, words: str, lived: float) -> None:
        wait = self._backoff.ended(time.monotonic(), lived)
        self.log.say(clock.now(), f"{words}; it is started again in {wait:g} s")
        if words != self._told:
            self._told = words
            self._alert("instance-failed", f"{self.name}: {words}")
        self._be(State.FAILED, wanted.version if wanted is not None else self.standing.version)

    def _be(self, state: State, version: Version | None = None) -> None:
        standing = Standing(self.name, version or self.standing.version, state)
        if standing != self.standing:
            self.standing = standing
            if state is State.RUNNING:
                self._told = ""
            self._changed()


def _terms(application: Application) -> Terms:
    """What ``health`` says; without it an instance is well while its process runs."""
    health, endpoints = application.health, {one.name: one.port for one in application.endpoints}
    if health is None or not endpoints:
        return Terms()
    return Terms(
        endpoints.get(health.endpoint) or next(iter(endpoints.values())), health.path, health.interval, health.timeout,
        health.healthy_after, health.unhealthy_after, health.start,
    )  # fmt: skip
