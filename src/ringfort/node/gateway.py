"""Keeps the gateway of this machine's hosts: what is public is heard of by one thread and served by another.

The one that hears waits for a controller, and gets certificates there. The one that serves starts processes, finds what
was changed by hand within `LOOK_SECONDS` and a process that ended at once, and puts both right. Neither runs, nor is
anything of it loaded, on a machine without a gateway host.
"""

from __future__ import annotations

import random
import select
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ringfort.environment.topology import DeviceKind
from ringfort.errors import RingfortError
from ringfort.node import clock
from ringfort.node.configuration import Configuration
from ringfort.node.edge import Edges
from ringfort.node.gates import Gate
from ringfort.node.material import Material
from ringfort.node.public import Public, read
from ringfort.node.public_certificates import PublicCertificates, Source
from ringfort.node.system import Bell

POLL_SECONDS = 25.0
"""How long a controller may keep a question open until there is news."""

HASTE_SECONDS = 0.2
"""A controller that answers sooner is asked no sooner than that."""

LOOK_SECONDS = 5.0
"""How often to look whether what is served is what should be."""

AGAIN_SECONDS = (0.5, 15.0)
"""How long after a failure it is tried again: first, and at most."""


class Controller(Source, Protocol):
    """Who says what is public. Every call raises `ringfort.node.errors.ControllerError` when it fails."""

    def edge(self, known: str, seconds: float) -> Any:  # noqa: ANN401  # JSON
        """What is public, once it is not the ``known`` revision any more or ``seconds`` have passed."""
        ...

    def close(self) -> None:
        """Close connections."""
        ...


@dataclass(slots=True)
class _Kept:
    """One host's. ``tried``: what was put last; ``trouble``: why that isn't served, in words; ``told``: what was said
    of names that get no TLS."""

    edges: Edges
    tried: tuple[Gate, Public, int] | None = None
    trouble: str = ""
    again: float = 0.0
    backoff: float = AGAIN_SECONDS[0]
    told: Mapping[str, str] | None = None


class Gateway:
    """What it takes to keep it.

    Args:
        make: the edge of a host, whether it runs or not.
        controller: for the thread that hears.
        certificates: of public names; ``own``: says when one of them is another.
        material: the same of what shows instances who the gateway is.
        drift: is told of a host where something was changed by hand, and is undone.
        alert: is told of what is the matter: host, or "" for all, and words.
    """

    def __init__(
        self,
        make: Callable[[str], Edges],
        controller: Controller,
        certificates: PublicCertificates,
        own: Material,
        material: Material,
        drift: Callable[[str, tuple[str, ...]], None],
        alert: Callable[[str, str], None],
        stop: threading.Event,
    ) -> None:
        self._make, self._controller, self._certificates = make, controller, certificates
        self._own, self._material = own, material
        self._drift, self._alert, self._stop = drift, alert, stop
        self._gates: Mapping[str, Gate] = {}
        self._public: Public | None = None
        self._kept: dict[str, _Kept] = {}
        self._failed: Mapping[str, str] = {}
        self._bell: Bell | None = None
        self._wanted = threading.Event()
        self._changed: Callable[[], None] = lambda: None

    def on_change(self, told: Callable[[], None]) -> None:
        """Call ``told`` when `troubles` are others."""
        self._changed = told

    def want(self, gates: Mapping[str, Gate]) -> None:
        """Which hosts are the gateway's from now on; what runs on others ends. From any thread."""
        self._gates = gates
        (self._wanted.set if gates else self._wanted.clear)()
        self.ring()

    def ring(self) -> None:
        """Look now. From any thread."""
        if self._bell is not None:
            self._bell.ring()

    @property
    def troubles(self) -> dict[str, str]:
        """By host, why it doesn't serve what is public; "" if it does. From any thread."""
        waiting = "it doesn't know what is public yet"
        return {
            host: kept.trouble if (kept := self._kept.get(host)) is not None and kept.tried else waiting
            for host in self._gates
        }

    # --- the thread that hears ---

    def hear(self) -> None:
        """Hear of what is public until `stop` is set."""
        known, backoff = "", AGAIN_SECONDS[0]
        try:
            while not self._stop.is_set():
                if not self._wanted.wait(1.0):
                    known = ""
                    continue
                began = clock.since_boot()
                try:
                    public = self._heard(known)
                    backoff = AGAIN_SECONDS[0]
                except (RingfortError, ValueError) as error:
                    self._told({"": error.message if isinstance(error, RingfortError) else str(error)})
                    self._stop.wait(backoff * random.uniform(0.5, 1.0))  # noqa: S311  # so that hosts don't come at once
                    backoff = min(2 * backoff, AGAIN_SECONDS[1])
                    continue
                if public.revision == known and clock.since_boot() - began < HASTE_SECONDS:
                    self._stop.wait(HASTE_SECONDS)
                known = public.revision
        finally:
            self._controller.close()

    def _heard(self, known: str) -> Public:
        public = read(self._controller.edge(known, POLL_SECONDS))
        failed = self._certificates.bring(public, self._controller)
        self._told({**public.refused, **failed})
        if self._public != public:
            self._public = public
            self.ring()
        return public

    def _told(self, failed: Mapping[str, str]) -> None:
        """Each once, until something else is the matter with it."""
        for name, words in failed.items():
            if self._failed.get(name) != words and not self._stop.is_set():
                self._alert("", f"{name}: {words}" if name else words)
        self._failed = failed

    # --- the thread that serves ---

    def serve(self) -> None:
        """Serve it until `stop` is set; it goes on."""
        with Bell() as bell:
            self._bell = bell
            self._own.on_change(self.ring)
            self._material.on_change(self.ring)
            try:
                while not self._stop.is_set():
                    before = self.troubles
                    self._turn()
                    if self.troubles != before:
                        self._changed()
                    self._wait(bell)
            finally:
                self._bell = None
                for kept in self._kept.values():
                    kept.edges.close()

    def _wait(self, bell: Bell) -> None:
        poller = select.poll()
        for descriptor in (bell.fileno(), *(one.edges.fileno() for one in self._kept.values())):
            if descriptor >= 0:
                poller.register(descriptor, select.POLLIN)
        now = clock.since_boot()
        waits = [max(0.05, one.again - now) for one in self._kept.values() if one.trouble]
        poller.poll(min([LOOK_SECONDS, *waits]) * 1000 if self._gates else None)
        bell.quiet()

    def _turn(self) -> None:
        gates, public = self._gates, self._public
        with self._material.held(), self._own.held():
            for host in set(self._kept) - set(gates):
                self._kept.pop(host).edges.end()
            if public is None:
                return
            for host, gate in gates.items():
                kept = self._kept.get(host) or self._kept.setdefault(host, _Kept(self._make(host)))
                self._keep(kept, host, gate, public)

    def _keep(self, kept: _Kept, host: str, gate: Gate, public: Public) -> None:
        wanted = (gate, public, self._own.number + self._material.number)
        try:
            if kept.tried == wanted and kept.trouble and clock.since_boot() < kept.again:
                return
            if kept.tried == wanted and not kept.trouble:
                if kept.edges.is_as_put():
                    return
                self._drift(host, ("gateway: it served something else, or nobody",))
            kept.tried = wanted
            self._put(kept, host, gate, public)
        except RingfortError as error:
            if kept.trouble != error.message:
                self._alert(host, error.message)
            kept.trouble, kept.again = error.message, clock.since_boot() + kept.backoff
            kept.backoff = min(2 * kept.backoff, AGAIN_SECONDS[1])

    def _put(self, kept: _Kept, host: str, gate: Gate, public: Public) -> None:
        lacking = kept.edges.missing(gate)
        if lacking:
            kept.trouble, kept.again = f"there is no {lacking} yet", clock.since_boot() + AGAIN_SECONDS[1]
            return
        without = kept.edges.put(public, gate)
        for name, words in without.items():
            if (kept.told or {}).get(name) != words:
                self._alert(host, f"{name} gets no TLS: {words}")
        kept.trouble, kept.told, kept.backoff = "", without, AGAIN_SECONDS[0]


def of(
    configuration: Configuration,
    controller: Controller,
    material: Material,
    drift: Callable[[str, tuple[str, ...]], None],
    alert: Callable[[str, str], None],
    stop: threading.Event,
) -> Gateway:
    """The gateway of a node, by its configuration; its two threads are not begun."""
    own = Material()
    certificates = PublicCertificates(configuration.runtime, own)

    def make(host: str) -> Edges:
        namespace = configuration.places.get(f"{DeviceKind.HOST}:{host}", "")
        return Edges(configuration.state, configuration.runtime, host, namespace, certificates.file)

    return Gateway(make, controller, certificates, own, material, drift, alert, stop)
