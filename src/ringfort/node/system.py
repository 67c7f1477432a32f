"""What a service says to the system it runs on, and how its one thread is woken."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from importlib.metadata import PackageNotFoundError, version
from typing import Self


class Bell:
    """Wakes the loop from other threads, and for signals."""

    def __enter__(self) -> Self:
        self._reader, self._writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._before = -1
        if threading.current_thread() is threading.main_thread():
            self._before = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        return self

    def __exit__(self, *_: object) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.set_wakeup_fd(self._before)
        os.close(self._reader)
        os.close(self._writer)

    def fileno(self) -> int:
        """For poll(2)."""
        return self._reader

    def ring(self) -> None:
        """Wake whoever waits; from any thread."""
        with contextlib.suppress(BlockingIOError):  # it rings already
            os.write(self._writer, b"!")

    def quiet(self) -> None:
        """Wait anew."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self._reader, 4096):
                pass


def software() -> str:
    """The version of this software; empty when it runs from no installation."""
    try:
        return version("ringfort")
    except PackageNotFoundError:
        return ""


def log(kind: str, what: str, changes: tuple[str, ...], *, alert: bool) -> None:
    """A line for the journal of the system; ``<4>`` and ``<5>`` are its levels (sd-daemon(3))."""
    lines = "".join(f"\n    {line}" for line in changes)
    with contextlib.suppress(OSError, ValueError):
        os.write(2, f"<{4 if alert else 5}>{kind}: {what}{lines}\n".encode(errors="replace"))


def notify(state: str) -> None:
    """Tell the service manager, if there is one (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifying:
            notifying.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)
