"""HAProxy as a host's enforcement point (`ringfort.node.ports.EnforcementPoint`), in the host's network namespace."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from ringfort.errors import RingfortError
from ringfort.gateway import process, readback
from ringfort.gateway.glance import glance
from ringfort.gateway.haproxy import Configuration
from ringfort.kernel.netns import inside
from ringfort.kernel.processes import Process
from ringfort.node import guarding
from ringfort.node.policy import Guard
from ringfort.publishing.files import replace_file


class Point:
    """One host's. For one thread.

    Args:
        program: HAProxy's.
        state, runtime: the node's directories.
        namespace: where the host is.
    """

    def __init__(self, program: str, state: Path, runtime: Path, host: str, namespace: str) -> None:
        self._program, self._state, self._host, self._namespace = program, state, host, namespace
        self._files = guarding.files(state, runtime, host, process.account())
        self._wanted: Configuration | None = None
        self._seen = ""
        self._process: Process | None = None
        self._descriptor = -1

    def put(self, guard: Guard) -> None:
        """See `ringfort.node.ports.EnforcementPoint`."""
        self._seen = ""
        self._wanted = guarding.configuration(guard, self._state, self._host, self._files)
        Path(self._files.directory).parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        with inside(self._namespace):
            process.apply(self._wanted, self._files, _write, self._program)
            if frozenset(readback.checks(self._files)) != frozenset(guard.checks):
                raise RingfortError("readback-differs", "HAProxy checks something else than it was told")
        self._seen = glance(self._wanted, self._files)
        self._follow()

    def end(self) -> None:
        """See `ringfort.node.ports.EnforcementPoint`."""
        self._wanted, self._seen = None, ""
        process.end(self._files)
        self._follow()

    def look(self) -> tuple[str, ...]:
        """See `ringfort.node.ports.EnforcementPoint`."""
        process.reap()
        if self._wanted is None:
            return ()
        seen = glance(self._wanted, self._files)
        if seen and seen == self._seen and self._process is not None and self._process.is_running:
            return ()
        with inside(self._namespace):
            found = process.differences(self._wanted, self._files)
        if not found:
            self._seen = seen
        self._follow()
        return found

    def counts(self) -> Mapping[str, Mapping[str, int]]:
        """See `ringfort.node.ports.EnforcementPoint`."""
        return readback.counts(self._files)

    def fileno(self) -> int:
        """See `ringfort.node.ports.EnforcementPoint`."""
        return self._descriptor

    def _follow(self) -> None:
        """Hear of the end of the process that runs now."""
        found = process.running(self._files) if self._wanted is not None else None
        if found == self._process:
            return
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._process, self._descriptor = found, -1
        if found is not None:
            with contextlib.suppress(OSError):  # it ended just now: `look` finds out
                self._descriptor = os.pidfd_open(found.pid)

    def close(self) -> None:
        """Let go of it; it goes on."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _write(path: Path, content: bytes) -> None:
    if not path.exists() or path.read_bytes() != content:
        replace_file(path, content, 0o600)
