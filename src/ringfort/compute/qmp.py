"""Talks to QEMU's monitor over a socket pair that nobody else holds; see QEMU's QMP Protocol Specification."""

from __future__ import annotations

import array
import json
import socket
import time
from typing import Any

from ringfort.compute.errors import SandboxError

LARGEST = 1 << 20
"""Bytes of an answer: QEMU is on the other side of the border, where a guest may have taken it over."""

Answer = dict[str, Any]


class Monitor:
    """The monitor of one QEMU. Not for two threads at once."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._rest = b""

    def close(self) -> None:
        """Let go of it."""
        self._socket.close()

    def greet(self, seconds: float) -> None:
        """Wait for the greeting, and leave the negotiation of capabilities behind.

        Raises:
            SandboxError: nothing comes, or something else.
        """
        self._read(time.monotonic() + seconds)
        self.ask("qmp_capabilities", seconds=seconds)

    def ask(self, command: str, seconds: float = 5.0, pass_on: int | None = None, **arguments: object) -> object:
        """Give a command and get what it returns; events in between are passed over.

        Args:
            pass_on: a file descriptor that goes with the command.

        Raises:
            SandboxError: QEMU refuses, is gone, or doesn't answer in time.
        """
        request = json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n"
        rights = [] if pass_on is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [pass_on]))]
        until = time.monotonic() + seconds
        try:
            self._socket.settimeout(seconds)
            self._socket.sendmsg([request], rights)
        except OSError as error:
            raise SandboxError("sandbox-monitor", f"QEMU takes no command: {error}") from error
        while True:
            answer = self._read(until)
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise SandboxError("sandbox-refused", f"QEMU refuses {command}: {answer['error'].get('desc', '')}")

    def _read(self, until: float) -> Answer:
        while b"\n" not in self._rest:
            if len(self._rest) > LARGEST:
                raise SandboxError("sandbox-monitor", "QEMU says more than anybody asked for")
            try:
                self._socket.settimeout(max(0.001, until - time.monotonic()))
                data = self._socket.recv(65536)
            except OSError as error:
                raise SandboxError("sandbox-monitor", f"QEMU does not answer: {error}") from error
            if not data:
                raise SandboxError("sandbox-gone", "QEMU has ended")
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise SandboxError("sandbox-monitor", "QEMU answers what is not JSON") from error
        if not isinstance(answer, dict):
            raise SandboxError("sandbox-monitor", "QEMU answers what is not an object")
        return answer
