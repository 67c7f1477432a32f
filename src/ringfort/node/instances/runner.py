"""The instances of a node, together: what a controller wants is handed to each, how they are is told it.

Three threads: one hears what is wanted, one reports - every `REPORT_SECONDS`, because that is the node's sign of life -
and passes logs on, one makes templates while nothing is started. Each instance has its own besides.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from ringfort.errors import RingfortError
from ringfort.node import clock
from ringfort.node.client import Client
from ringfort.node.errors import ControllerError
from ringfort.node.instances import wanted as wanting
from ringfort.node.instances import wiring
from ringfort.node.instances.house import House
from ringfort.node.instances.instance import Instance
from ringfort.node.instances.wanted import Wanted

REPORT_SECONDS = 2.0
LOG_SECONDS = 1.0
WAIT_SECONDS = 25.0
"""How long a controller holds back an answer while there is no news."""

BACKOFF_SECONDS = (0.5, 8.0)
LARGEST_BODY = 60 * 1024
"""Bytes of log lines that are sent at once; a controller takes a little more."""

IDLE_SECONDS = 2.0
"""How long nothing has been started when a template is made."""

NICE = 15
"""How far making a template stands back behind everything that runs (nice(2))."""

DEFAULT_MIB = 176
"""The virtual machine of an application that says nothing of memory is this large less what guests need themselves."""


class Runner:
    """All instances of one node.

    Args:
        alert: is told what is the matter: kind, and words.
        expires: when the node's own certificate ends, in ISO 8601; "" while it has none.
    """

    def __init__(
        self,
        house: House,
        alert: Callable[[str, str], None],
        stop: threading.Event,
        expires: Callable[[], str] = lambda: "",
    ) -> None:
        self._house, self._alert, self._stop, self._expires = house, alert, stop, expires
        self._instances: dict[str, Instance] = {}
        self._lock = threading.Lock()
        self._news = threading.Event()
        self._hearing = house.client()
        self._telling = house.client()
        self._unsent: dict[str, list[tuple[datetime, str]]] = {}
        self._lost_template = ""

    def allow(self, owners: Mapping[str, str]) -> None:
        """Which places there are in the environment in force, and whose. From any thread."""
        self._house.owners = dict(owners)

    def taken(self) -> dict[str, str]:
        """Place -> the instance that is there."""
        return self._house.taken()

    def run(self) -> None:
        """Run instances until `stop` is set; then end them."""
        self._house.prepare()
        for namespace in self._house.namespaces.values():
            if wiring.is_plugged(namespace):  # of a node that was killed
                wiring.unplug(namespace)
        for part in (self._hear, self._make_templates):
            threading.Thread(target=part, name=part.__name__.strip("_"), daemon=True).start()
        try:
            self._tell()
        finally:
            self._end()

    def end(self) -> None:
        """Look whether `stop` is set."""
        self._news.set()

    # --- what is wanted ---

    def _hear(self) -> None:
        """Ask a controller again and again. While none answers everything stays as it is."""
        known, wait = "", BACKOFF_SECONDS[0]
        while not self._stop.is_set():
            try:
                known, found = wanting.read(self._hearing.instances(known, WAIT_SECONDS))
            except ControllerError as error:
                if self.is_disowned(error):
                    known = ""
                    self._want({})
                self._stop.wait(wait)
                wait = min(2 * wait, BACKOFF_SECONDS[1])
                continue
            wait = BACKOFF_SECONDS[0]
            if not self._stop.is_set():
                self._want(found)
        self._hearing.close()

    def is_disowned(self, error: ControllerError) -> bool:
        """Whether it is known that nothing may run here, and not only that nobody answers: it is refused as a node or
        as a hypervisor, or its own certificate has ended."""
        if error.message.startswith(("401 ", "403 no-hypervisor")):
            return True
        ends = self._expires()
        return bool(ends) and datetime.fromisoformat(ends) <= clock.now()

    def _want(self, found: Mapping[str, Wanted]) -> None:
        with self._lock:
            if not self._instances:
                self._house.keep_only(found)
            for name, instance in self._instances.items():
                instance.want(found.get(name))
            for name, wanted in found.items():
                known = self._instances.get(name)
                if known is None or not known.thread.is_alive():
                    self._instances[name] = Instance(wanted, self._house, self._news.set, self._alert)
        self._news.set()

    # --- what is told ---

    def _tell(self) -> None:
        reported = logged = -REPORT_SECONDS
        while not self._stop.is_set():
            has_news = self._news.wait(LOG_SECONDS)
            self._news.clear()
            now = time.monotonic()
            if has_news or now >= reported + REPORT_SECONDS - LOG_SECONDS / 2:
                reported = now
                self._report()
            if now >= logged + LOG_SECONDS:
                logged = now
                self._pass_logs_on()
        self._telling.close()

    def _report(self) -> None:
        with self._lock:
            for name in [name for name, one in self._instances.items() if not one.thread.is_alive()]:
                self._instances.pop(name).log.close()
                self._unsent.pop(name, None)
            standings = [one.standing for one in self._instances.values()]
        document = [
            {
                "instance": one.name, "deployment": one.version.deployment, "settings": one.version.settings,
                "state": str(one.state),
            }
            for one in standings
        ]  # fmt: skip
        self._try(lambda client: client.report_instances(document, self._house.room()))

    def _pass_logs_on(self) -> None:
        with self._lock:
            instances = dict(self._instances)
        for name, instance in instances.items():
            waiting = self._unsent.pop(name, None) or instance.log.lines(clock.now())
            while waiting:
                piece, rest = fitting(waiting)
                if not self._try(lambda client, name=name, piece=piece: client.write_log(name, piece)):  # type: ignore[misc]
                    self._unsent[name] = waiting
                    break
                waiting = rest

    def _try(self, call: Callable[[Client], None]) -> bool:
        """Whether a controller took it, or will never."""
        try:
            call(self._telling)
        except ControllerError as error:
            return error.code != "unreachable"
        return True

    # --- templates, and the end ---

    def _make_templates(self) -> None:
        """One for each size that is wanted here, when nothing has been started for a while."""
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)  # this thread's, and of what it starts
        idle_since = time.monotonic()
        while not self._stop.wait(0.5):
            with self._lock:
                instances = list(self._instances.values())
            now = time.monotonic()
            if any(one.is_busy for one in instances) or not self._house.owners:
                idle_since = now
            if now < idle_since + IDLE_SECONDS:
                continue
            try:
                self._make_one({one.memory for one in instances if one.memory} or {DEFAULT_MIB})
            except (RingfortError, OSError) as error:
                if str(error) != self._lost_template:
                    self._lost_template = str(error)
                    self._alert("no-template", f"no snapshot of a waiting guest can be made: {error}")
                self._stop.wait(30)

    def _make_one(self, sizes: set[int]) -> None:
        base = self._house.image()
        for memory in sorted(sizes):
            accelerator = self._house.accelerator(base)
            if self._house.templates.get(base, memory, accelerator) is None:
                self._house.templates.make(base, memory, accelerator)
                return

    def _end(self) -> None:
        with self._lock:
            instances = list(self._instances.values())
        for one in instances:
            one.end()
        for one in instances:
            one.thread.join(10)


def fitting(lines: list[tuple[datetime, str]]) -> tuple[list[dict[str, Any]], list[tuple[datetime, str]]]:
    """As many lines, as the API takes them, as fit into one call; and the rest."""
    found: list[dict[str, Any]] = []
    size = 0
    for at, text in lines[:500]:
        line = {"at": at.isoformat(), "text": text}
        size += len(json.dumps(line)) + 2
        if size > LARGEST_BODY and found:
            break
        found.append(line)
    return found, lines[len(found) :]
