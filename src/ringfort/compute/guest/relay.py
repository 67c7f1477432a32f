"""What the application writes, on its way to the host: within a bound, and the application never waits.

A host that doesn't read fast enough costs lines of the log, which are counted, and nothing else.
"""

from __future__ import annotations

import contextlib
import os
import selectors

LARGEST = 256 << 10
"""Bytes that wait here at most."""


class Relay:
    """From the application's pipe to the port ``output``, both non-blocking."""

    def __init__(self, output: int) -> None:
        self._output = output
        self._input = -1
        self._waiting = bytearray()
        self.dropped = 0
        self._told = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not self._waiting

    def read_from(self, descriptor: int, selector: selectors.BaseSelector) -> None:
        """Take what comes from here from now on."""
        self._input = descriptor
        self._selector = selector
        selector.register(descriptor, selectors.EVENT_READ, self.pump)

    def pump(self) -> None:
        """Take what has come, and pass on what can be passed on."""
        if self._input < 0:
            return
        with contextlib.suppress(BlockingIOError):
            for _ in range(16):
                data = os.read(self._input, 65536)
                if not data:
                    self._selector.unregister(self._input)
                    os.close(self._input)
                    self._input = -1
                    break
                self._take(data)
        self.flush()

    def _take(self, data: bytes) -> None:
        room = LARGEST - len(self._waiting)
        self._waiting += data[:room]
        self.dropped += max(0, len(data) - room)

    def flush(self) -> None:
        """Pass on what the port takes now."""
        with contextlib.suppress(BlockingIOError):
            while self._waiting:
                del self._waiting[: os.write(self._output, self._waiting[:32768])]
            if self.dropped > self._told:
                note = f"\n[{self.dropped - self._told} bytes of the log were dropped]\n".encode()
                self._told = self.dropped
                os.write(self._output, note)
