"""The customer's side of sending software: part by part, from wherever it stopped, on a line that may fail."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, BinaryIO

from ringfort.control.client import CallRefusedError, Client
from ringfort.control.errors import ControlError
from ringfort.errors import RingfortError

ATTEMPTS = 8
"""Failures in a row, with pauses that double from a quarter of a second, before giving up: about half a minute."""

Told = Callable[[int, int], None]
"""Is told how many bytes are there, of how many."""


def send(client: Client, customer: str, file: BinaryIO, digest: str, size: int, told: Told) -> str:
    """Send software, or what is missing of it; its name there.

    Raises:
        CallRefusedError: the controller refuses it.
        ControlError: it can't be reached, again and again.
    """
    uploads = f"/v1/customers/{customer}/uploads"
    state = _insisting(lambda: client.call("POST", uploads, {"digest": digest, "size": size}))
    path = f"{uploads}/{state['upload']}"
    told(state["received"], size)
    while state["received"] < size:
        state = _insisting(lambda: _next(client, path, file))
        told(state["received"], size)
    return str(state["upload"])


def _next(client: Client, path: str, file: BinaryIO) -> dict[str, Any]:
    """Send the part that is missing first."""
    state = client.get(path)
    if state["received"] == state["size"]:
        return dict(state)
    file.seek(state["received"])
    piece = file.read(state["part"])
    return dict(client.put(f"{path}/parts/{state['received']}", piece))


def _insisting(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    attempt = 0
    while True:
        try:
            return work()
        except RingfortError as error:
            attempt += 1
            if attempt == ATTEMPTS or not _may_pass(error):
                raise
            time.sleep(2**attempt / 8)


def _may_pass(error: RingfortError) -> bool:
    if isinstance(error, CallRefusedError):
        return error.status in (408, 409, 429, 503) and error.code not in ("too-many-uploads", "too-much-software")
    return isinstance(error, ControlError) and error.code == "controller-unreachable"
