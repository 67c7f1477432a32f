"""The host's end of a guest's two ports: requests and answers on one, the application's log on the other.

Everything that comes from the guest is an attacker's word: lines are bounded, answers nobody asked for are dropped, and
what the log brings is kept in bounded files.
"""

from __future__ import annotations

import contextlib
import queue
import selectors
import socket
import threading
import time
from typing import Any

from ringfort.compute.errors import SandboxError
from ringfort.compute.guest import wire
from ringfort.compute.logs import LogFile

UNASKED = 100
"""So many messages that nobody asked for are heard in all; an honest guest has two to tell."""

LOG_BYTES, LOG_SECONDS = 256 << 10, 0.25
"""So much of the log is taken in so long; a guest that writes more waits, or loses lines."""


class Conversation:
    """With one guest; a thread listens until `close`."""

    def __init__(self, control: socket.socket, log: socket.socket, kept: LogFile) -> None:
        self._control, self._log, self._kept = control, log, kept
        self._asking = threading.Lock()
        self._answers: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._number = 0
        self._unasked = 0
        self._room, self._resume = LOG_BYTES, 0.0
        self._lines = wire.Lines(wire.LARGEST_ANSWER)
        self.ready = threading.Event()
        self.gone = threading.Event()
        self.exited = threading.Event()
        self.code: int | None = None
        self._thread = threading.Thread(target=self._listen, name="guest", daemon=True)
        self._thread.start()

    def ask(self, what: str, within: float, **arguments: object) -> dict[str, Any]:
        """Ask the guest for something and get its answer.

        Args:
            within: seconds that it may take.

        Raises:
            SandboxError: it doesn't answer in time, is gone, or answers that it can't.
        """
        with self._asking:
            self._number += 1
            line = wire.encode({"id": self._number, "do": what, **arguments})
            try:
                self._control.settimeout(within)
                self._control.sendall(line)
            except OSError as error:
                raise SandboxError("sandbox-silent", f"the guest takes no request: {error}") from error
            while True:
                try:
                    answer = self._answers.get(timeout=within)
                except queue.Empty as error:
                    raise SandboxError("sandbox-silent", f"the guest does not answer to {what}") from error
                if not answer:
                    raise SandboxError("sandbox-gone", "the virtual machine has ended")
                if answer.get("id") == self._number:
                    break
        if answer.get("ok") is not True:
            reason = str(answer.get("error", "no reason given"))[:500]
            raise SandboxError("sandbox-guest", f"the guest can't {what}: {reason}")
        return answer

    def close(self) -> None:
        """End it."""
        for end in (self._control, self._log):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        for end in (self._control, self._log):
            end.close()
        self._kept.close()

    def _listen(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._control, selectors.EVENT_READ, self._hear)
            selector.register(self._log, selectors.EVENT_READ, self._keep)
            while selector.get_map():
                for key, _ in selector.select(LOG_SECONDS if self._room <= 0 else None):
                    if not key.data():
                        selector.unregister(key.fileobj)
                self._pace(selector)
        self.gone.set()
        self._answers.put({})

    def _pace(self, selector: selectors.BaseSelector) -> None:
        """Turn away from the log for a while when it has brought enough."""
        now = time.monotonic()
        watched = any(key.fileobj is self._log for key in selector.get_map().values())
        if self._room <= 0 and watched:
            selector.unregister(self._log)
            self._resume = now + LOG_SECONDS
        elif self._room <= 0 and now >= self._resume:
            self._room = LOG_BYTES
            selector.register(self._log, selectors.EVENT_READ, self._keep)

    def _hear(self) -> bool:
        data = _receive(self._control)
        try:
            for message in self._lines.feed(data):
                self._take(message)
        except wire.WireError:
            return False  # a guest that doesn't keep to the protocol is not heard any more
        return bool(data) and self._unasked <= UNASKED

    def _take(self, message: dict[str, Any]) -> None:
        match message.get("event"):
            case None if self._asking.locked() and self._answers.empty():
                self._answers.put(message)
            case "ready":
                self._unasked += 1
                self.ready.set()
            case "exited":
                self._unasked += 1
                code = message.get("code")
                self.code = code if isinstance(code, int) else None
                self.exited.set()
            case _:
                self._unasked += 1

    def _keep(self) -> bool:
        data = _receive(self._log)
        if data:
            self._kept.write(data)
            self._room -= len(data)
        return bool(data)


def _receive(end: socket.socket) -> bytes:
    """What is there to read; nothing at the end. Called only when there is something."""
    try:
        return end.recv(65536, socket.MSG_DONTWAIT)
    except OSError:
        return b""
