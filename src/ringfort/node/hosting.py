"""Customers' instances as the rest of a node sees them: nothing is loaded for them before there is a place for one."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ringfort.errors import RingfortError
from ringfort.node.client import Client

if TYPE_CHECKING:
    from ringfort.node.instances.runner import Runner

MEMORY = Path("/dev/shm/ringfort")  # noqa: S108  # made by root, with a mode
"""What instances have is kept there, in memory; see `ringfort.compute.sandbox.RUNTIME`."""

TABLE = "ringfort-instance"
"""The rules of an instance in its place's network namespace."""

END_SECONDS = 15.0
"""How long instances may take to end when their node does."""


def memory_of(state: Path) -> Path:
    """Where what the instances of the node with this state directory have is kept: it outlives the node."""
    return MEMORY / f"node-{hashlib.sha256(os.fsencode(state)).hexdigest()[:6]}"


class Hosting:
    """The instances of this machine's places. ``want`` and ``end`` are for one thread.

    Args:
        state: the node's directory.
        places: place -> the network namespace that has its addresses.
        another: makes a connection to the controllers.
        alert: is told what is the matter: kind, and words.
        expires: when the node's own certificate ends.
        begin: runs something on a thread of its own; what it raises ends the node.
    """

    def __init__(
        self,
        state: Path,
        places: Mapping[str, str],
        another: Callable[[], Client] | None,
        alert: Callable[[str, str], None],
        expires: Callable[[], str],
        begin: Callable[[Callable[[], None], str], threading.Thread],
        stop: threading.Event,
    ) -> None:
        self._state, self._places, self._another = state, places, another
        self._alert, self._expires, self._begin, self._stop = alert, expires, begin, stop
        self._owners: Mapping[str, str] = {}
        self._runner: Runner | None = None
        self._thread: threading.Thread | None = None

    def want(self, owners: Mapping[str, str]) -> None:
        """Which places there are in the environment in force, and whose."""
        self._owners = owners
        if self._runner is not None:
            self._runner.allow(owners)
        elif self._thread is None and self._places and self._another is not None and owners:
            self._thread = self._begin(self._run, "instances")

    def end(self) -> None:
        """Wait until the instances have ended; ``stop`` is set."""
        if self._runner is not None:
            self._runner.end()
        if self._thread is not None:
            self._thread.join(END_SECONDS)

    def _run(self) -> None:
        from ringfort.node.instances.house import House  # heavier than all the rest of a node
        from ringfort.node.instances.runner import Runner

        assert self._another is not None
        house = House.of(self._state, self._places, self._another)
        runner = Runner(house, self._alert, self._stop, self._expires)
        self._runner = runner
        runner.allow(self._owners)
        try:
            runner.run()
        except RingfortError as error:  # rules are held all the same
            self._alert("no-instances", error.message)
