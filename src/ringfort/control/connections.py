"""Connections: bounded in number and in idleness, each with the caller that its certificate proved."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Any

from aiohttp import web

from ringfort.control.authorisation import Judge
from ringfort.control.callers import Caller
from ringfort.control.errors import ControlError, ProblemError
from ringfort.control.problems import MEDIA_TYPE, problem_bytes
from ringfort.control.proxied import Doorway

log = logging.getLogger("ringfort.control")

MOST_CONNECTIONS = 4000
HANDSHAKE_SECONDS = 5.0
IDLE_SECONDS = 40.0
"""Longer than a long poll's pause between two calls; a head that takes longer to arrive ends the connection, too."""

HEAD_BYTES = 8190
LINGER_SECONDS = 1.0
"""How long what is still sent after a refusal is thrown away, so that the refusal can be read."""


class Connection(web.RequestHandler):
    """One connection. ``caller``, and who decides for it, are known from the first call on.

    ``origin``: where the caller is, if it came through the door; "" if it is the other end.
    ``allowed``: (operation, path) of reads -> the generation of the controller's state under which it was found that
    this caller may make them (`ringfort.control.dispatch`).
    """

    __slots__ = ("allowed", "caller", "judge", "origin")

    def __init__(self, manager: web.Server, origin: str = "", **options: Any) -> None:  # noqa: ANN401  # aiohttp's own
        super().__init__(manager, **options)
        self.origin = origin
        self.caller: Caller | None = None
        self.judge: Judge | None = None
        self.allowed: dict[tuple[str, str], int] = {}

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """What aiohttp can't read, or an error past our own handlers, as a problem document."""
        if status >= 500:
            log.error("error in %s %s", request.method, request.path, exc_info=exc)
            error = ProblemError(status, "own-error", "this is an error of the controller", "see its log")
        else:
            error = ProblemError(status, "http-malformed", "this is not HTTP as it should be")
        response = web.Response(status=status, body=problem_bytes(error), content_type=MEDIA_TYPE)
        response.force_close()
        return response


class Listener:
    """An application on its sockets."""

    def __init__(self, application: web.Application) -> None:
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=2.0, handler_cancellation=True)
        self._servers: list[asyncio.Server] = []
        self._doorways: list[Doorway] = []

    def _connection(self, origin: str = "") -> asyncio.BaseProtocol:
        manager = self._runner.server
        assert manager is not None
        handler = Connection(
            manager,
            origin,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=IDLE_SECONDS,
            access_log=None,
            logger=_Quiet("ringfort.control.http"),
            max_line_size=HEAD_BYTES,
            max_field_size=HEAD_BYTES,
            lingering_time=LINGER_SECONDS,
            auto_decompress=False,
        )
        return _Refused() if len(manager.connections) >= MOST_CONNECTIONS else handler

    async def listen_behind_door(
        self, addresses: list[tuple[str, int]], context: ssl.SSLContext
    ) -> list[tuple[str, int]]:
        """As `listen`, on loopback, for what the customers' door hands on: the caller's address stands in front."""
        await self._runner.setup()
        doorway = Doorway(self._connection, context, HANDSHAKE_SECONDS)
        self._doorways.append(doorway)
        return [doorway.listen(host, port) for host, port in addresses]

    async def listen(self, addresses: list[tuple[str, int]], context: ssl.SSLContext) -> list[tuple[str, int]]:
        """Listen; the addresses as they came out (port 0 becomes the one that was free).

        Raises:
            ControlError: an address can't be listened on.
        """
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        for host, port in addresses:
            try:
                server = await loop.create_server(
                    self._connection,
                    host,
                    port,
                    ssl=context,
                    backlog=512,
                    ssl_handshake_timeout=HANDSHAKE_SECONDS,
                    ssl_shutdown_timeout=1.0,
                )
            except OSError as error:
                message = f"{host} port {port} can't be listened on: {error.strerror}"
                raise ControlError("address-unusable", message) from error
            self._servers.append(server)
        return [_name(bound) for server in self._servers for bound in server.sockets]

    def end(self, distrusted: Callable[[Caller], bool]) -> int:
        """End every connection of a caller who is no longer trusted; how many there were."""
        ended = 0
        for connection in list(self._runner.server.connections if self._runner.server else ()):
            assert isinstance(connection, Connection)
            if connection.caller is not None and connection.transport is not None and distrusted(connection.caller):
                connection.transport.abort()
                ended += 1
        return ended

    async def close(self) -> None:
        """Listen no more; end what stands."""
        for doorway in self._doorways:
            await doorway.close()
        for server in self._servers:
            server.close()
        await self._runner.cleanup()


class _Refused(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        log.warning("more than %d connections: one is refused", MOST_CONNECTIONS)
        assert isinstance(transport, asyncio.Transport)
        transport.abort()


class _Quiet(logging.LoggerAdapter[logging.Logger]):
    """Malformed requests and broken connections are the callers' business, and fill no log."""

    def __init__(self, name: str) -> None:
        super().__init__(logging.getLogger(name), {})

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802  # logging's name
        return level >= logging.CRITICAL


def _name(bound: socket.socket) -> tuple[str, int]:
    host, port = bound.getsockname()[:2]
    return host, port
