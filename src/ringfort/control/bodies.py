"""Reading bodies: bounded in bytes, in time, and in how many large ones are in memory at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from ringfort.control.errors import ProblemError
from ringfort.control.problems import InvalidError

F = TypeVar("F", bound=BaseModel)

SECONDS = 10.0
SLOWEST = 128 * 1024
"""Bytes a second that a large body has to arrive at."""

SMALL = 64 * 1024
LARGE_AT_ONCE = 2
HEAVY_FOR_ONE, HEAVY_AT_ONCE = 2, 8
PARSED_ASIDE = 256 * 1024


class Bodies:
    """Reads the bodies of one server."""

    def __init__(self, large_at_once: int = LARGE_AT_ONCE) -> None:
        self._large = asyncio.Semaphore(large_at_once)

    async def read(self, request: web.Request, largest: int) -> bytes:
        """The body.

        Raises:
            ProblemError: 413 too large, 415 encoded in some way, 408 too slow.
        """
        if request.headers.get("Content-Encoding", "identity") != "identity":
            raise ProblemError(415, "encoding-unsupported", "bodies are taken as they are only", close=True)
        announced = request.content_length
        if announced is not None and announced > largest:
            raise _too_large(largest)
        if announced is not None and announced <= SMALL:
            return await self._within(request, largest, SECONDS)
        async with self._large:
            return await self._within(request, largest, SECONDS + largest / SLOWEST)

    async def _within(self, request: web.Request, largest: int, seconds: float) -> bytes:
        try:
            async with asyncio.timeout(seconds):
                return await _all(request, largest)
        except TimeoutError as error:
            raise ProblemError(
                408, "too-slow", f"the body did not arrive within {seconds:.0f} s", close=True
            ) from error


class Slots:
    """How much heavy work goes on at once: for everybody together, and for one caller, who shall not take all of it."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()

    @asynccontextmanager
    async def taken(self, caller: str) -> AsyncIterator[None]:
        """Take one while something is done.

        Raises:
            ProblemError: 429, all are taken.
        """
        if self._taken[caller] >= HEAVY_FOR_ONE or self._taken.total() >= HEAVY_AT_ONCE:
            raise ProblemError(429, "busy", "too much is sent or verified at once", "try again", close=True)
        self._taken[caller] += 1
        try:
            yield
        finally:
            self._taken[caller] -= 1
            if not self._taken[caller]:
                del self._taken[caller]


async def _all(request: web.Request, largest: int) -> bytes:
    pieces, size = [], 0
    async for piece in request.content.iter_any():
        size += len(piece)
        if size > largest:
            raise _too_large(largest)
        pieces.append(piece)
    return b"".join(pieces)


def _too_large(largest: int) -> ProblemError:
    return ProblemError(413, "too-large", f"a body here has at most {largest} bytes", close=True)


async def parsed(request: web.Request, body: bytes, kind: type[F]) -> F:
    """A JSON body as what the operation takes.

    Raises:
        ProblemError: 415 it says to be something else, 400 it is no JSON, 422 it is not of that form.
    """
    if request.content_type != "application/json":
        raise ProblemError(415, "media-type", "the body has to be application/json")
    if len(body) > PARSED_ASIDE:
        return await asyncio.to_thread(_parse, body, kind)
    return _parse(body, kind)


def _parse(body: bytes, kind: type[F]) -> F:
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        if error.errors(include_url=False, include_input=False)[0]["type"] == "json_invalid":
            raise ProblemError(400, "not-json", "the body is not JSON") from error
        raise InvalidError(error, "body") from error


def queried(request: web.Request, kind: type[F] | None) -> F | None:
    """The query as what the operation takes.

    Raises:
        ProblemError: 422, it has what the operation does not take.
    """
    if kind is None:
        if request.query_string:
            raise ProblemError(422, "invalid", "this call takes no query")
        return None
    values: dict[str, str] = {}
    for name, value in request.query.items():
        if name in values:
            raise ProblemError(422, "invalid", f"{name[:50]!r} stands twice in the query")
        values[name] = value
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise InvalidError(error, "query") from error
