"""Floating addresses on this machine's hosts: keepalived, and what carries its signs of life, for each of them.

Both are started when the certificate is there that signs of life are shown with, started again when one ends, and end
with the node: a node that ends lets go in order, and another host takes the addresses. For one thread, but for `want`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from ringfort.environment.topology import interface_name
from ringfort.errors import RingfortError
from ringfort.gateway.edge import holding, keepalived
from ringfort.gateway.edge.keepalived import Shared
from ringfort.gateway.edge.signs import Other, Signs
from ringfort.kernel.netns import inside
from ringfort.node import guarding
from ringfort.node.floats import Float
from ringfort.publishing.files import replace_file

LOOK_SECONDS = 0.5
STEADY_SECONDS = 5.0
"""What ends sooner than that is started again no sooner than that."""
ROUTER = 1
"""The virtual router's number: each has a way of its own for its signs of life, so none meets another."""

ALIVE_PORT = 8405
"""On loopback; where the gateway's HAProxy says that it is well (`ringfort.gateway.edge.model.Edge`)."""


@dataclass(slots=True)
class _Held:
    """One that runs: what it was started with, where, what carries its signs of life, and its keepalived."""

    wanted: Float
    directory: Path
    carrier: holding.Child
    holder: holding.Child
    began: float


class Floating:
    """Those of one machine.

    Args:
        state, runtime: the node's directories.
        namespace: where a host is.
        alert: is told of a host when something ended by itself.
    """

    def __init__(
        self,
        state: Path,
        runtime: Path,
        namespace: Callable[[str], str],
        alert: Callable[[str, str], None],
        stop: threading.Event,
    ) -> None:
        self._state, self._runtime, self._namespace = state, runtime, namespace
        self._alert, self._stop = alert, stop
        self._wanted: Mapping[str, tuple[Float, ...]] = {}
        self._held: dict[tuple[str, str], _Held] = {}
        self._not_before: dict[tuple[str, str], float] = {}
        self._told: dict[tuple[str, str], float] = {}

    def want(self, floats: Mapping[str, tuple[Float, ...]]) -> None:
        """Which addresses which host may hold from now on. From any thread."""
        self._wanted = floats

    def run(self) -> None:
        """Keep them until `stop` is set; then let go of all."""
        try:
            while not self._stop.wait(LOOK_SECONDS):
                self._turn()
        finally:
            for held in self._held.values():
                _end(held)

    def _turn(self) -> None:
        now = time.monotonic()
        wanted = {(host, one.name): one for host, floats in self._wanted.items() for one in floats}
        for key, held in list(self._held.items()):
            if wanted.get(key) != held.wanted:
                _end(self._held.pop(key))
            elif held.carrier.poll() is not None:  # and with it the interface
                self._again(key, "what carries signs of life ended", now)
            elif held.holder.poll() is not None and now - held.began < STEADY_SECONDS:
                self._again(key, "keepalived doesn't stay", now)
            elif held.holder.poll() is not None:  # it ran well: whoever killed it, another starts at once
                self._tell(key, "keepalived ended")
                held.holder, held.began = self._hold(held.wanted, held.directory), now
        for key, one in wanted.items():
            credential = guarding.certificate(self._state, one.host, one.service)
            if key in self._held or now < self._not_before.get(key, 0.0) or not credential.exists():
                continue
            try:
                self._held[key] = self._begin(one, credential)
            except (OSError, RingfortError) as error:
                self._again(key, f"it can't be started: {error}", now)

    def _again(self, key: tuple[str, str], words: str, now: float) -> None:
        """End what is left, and start anew in a while."""
        held = self._held.pop(key, None)
        if held is not None:
            _end(held)
        self._not_before[key] = now + STEADY_SECONDS
        self._tell(key, words)

    def _tell(self, key: tuple[str, str], words: str) -> None:
        """Once for each minute at most: it may go on like that."""
        now, (host, name) = time.monotonic(), key
        if now >= self._told.get(key, 0.0):
            self._told[key] = now + 60.0
            self._alert(host, f"{name}: {words}, and is started again")

    def _begin(self, one: Float, credential: Path) -> _Held:
        directory = self._runtime / f"float-{interface_name(one.name)}-{interface_name(one.host)}"
        directory.mkdir(parents=True, exist_ok=True)
        for passed in (self._runtime, directory):  # who runs `alive` is nobody, and goes through
            passed.chmod(0o711)
        if one.is_gate:
            replace_file(directory / "alive", keepalived.alive(ALIVE_PORT).encode(), 0o755)
        signs = carried(one, credential, self._state / "identity" / "bundle.pem")
        with inside(self._namespace(one.host)):
            carrier = holding.carry(signs, directory, replace_file)
        return _Held(one, directory, carrier, self._hold(one, directory), time.monotonic())

    def _hold(self, one: Float, directory: Path) -> holding.Child:
        with inside(self._namespace(one.host)):
            return holding.hold(shared(one, directory / "alive"), directory, replace_file)


def shared(one: Float, alive: Path) -> Shared:
    """What keepalived is told."""
    return Shared(
        one.name,
        one.interface,
        ROUTER,
        tuple(map(ip_address, one.addresses)),
        ip_address(one.inner),
        tuple(ip_address(inner) for inner, _ in one.others),
        one.priority,
        str(alive) if one.is_gate else "",
        signs=one.signs,
    )


def carried(one: Float, credential: Path, bundle: Path) -> Signs:
    """What the carrier of signs of life is told."""
    return Signs(
        one.signs,
        one.inner,
        tuple(Other(inner, address) for inner, address in one.others),
        one.own,
        one.port,
        one.service,
        one.host,
        one.identity,
        str(credential),
        str(bundle),
    )


def _end(held: _Held) -> None:
    """End both, keepalived first: it lets go of the addresses and says so."""
    holding.end((held.holder, held.carrier))
