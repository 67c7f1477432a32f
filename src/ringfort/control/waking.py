"""Waiting until somebody calls, or time has passed."""

from __future__ import annotations

import asyncio
import contextlib


async def called(event: asyncio.Event, seconds: float) -> None:
    """Wait until the event is set, at most for so long; it is clear afterwards."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    event.clear()
