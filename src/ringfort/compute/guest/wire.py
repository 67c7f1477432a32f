"""What host and guest say to each other over the virtio-serial port: one JSON object a line, in both directions.

The host asks, ``{"id": 1, "do": "health", ...}``, and gets one answer with the same id, ``{"id": 1, "ok": true, ...}``;
the guest tells on its own, ``{"event": "exited", ...}``. Neither end believes the other's lengths.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

CONTROL = "ringfort.control"
LOG = "ringfort.log"
"""Names of the virtio-serial ports."""

BASE, APPLICATION, DATA = "base", "application", "data"
"""Serial numbers of the disks."""

LARGEST_REQUEST = 4 << 20
LARGEST_ANSWER = 64 << 10
"""Bytes of a line, from the host and from the guest."""


class WireError(Exception):
    """The other end doesn't keep to the protocol."""


def encode(message: dict[str, Any]) -> bytes:
    """A message as its line."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


class Lines:
    """Bytes in, messages out."""

    def __init__(self, largest: int) -> None:
        self._largest = largest
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        """The messages that are complete now.

        Raises:
            WireError: a line is too long or holds no JSON object.
        """
        self._rest += data
        while (end := self._rest.find(b"\n")) >= 0:
            line = bytes(self._rest[:end])
            del self._rest[: end + 1]
            if line:
                yield _decode(line, self._largest)
        if len(self._rest) > self._largest:
            raise WireError(f"a line has more than {self._largest} bytes")


def _decode(line: bytes, largest: int) -> dict[str, Any]:
    if len(line) > largest:
        raise WireError(f"a line has more than {largest} bytes")
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise WireError("a line is not JSON") from error
    if not isinstance(message, dict):
        raise WireError("a line is not a JSON object")
    return message
