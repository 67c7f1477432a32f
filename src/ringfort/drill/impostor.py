"""A controller that has been taken over: its address, certificate and online key, and somebody else's will.

It answers what nodes ask, and checks nothing. What it may serve is whatever can be made without the approvers' keys.
Like a true controller it keeps a node's question open until it claims another version, so what it serves next is looked
at at once.
"""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET, AF_INET6, SHUT_RDWR
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from ringfort.environment.model import Address

LARGEST = 1 << 20
PREFIX = "/v1/environment/"
POLL_SECONDS = 20.0
SOCKET_SECONDS = 30.0
"""How long a connection may be silent."""


class Impostor:
    """Plays the controllers at some addresses while inside; make and enter it in their namespace."""

    def __init__(self, places: tuple[tuple[Address, int], ...], context: ssl.SSLContext) -> None:
        self.context = context
        self._news = threading.Condition()
        self._files: Mapping[str, bytes] = {}
        self._version = 0
        self._is_over = False
        self._connections: set[ssl.SSLSocket] = set()
        self._servers = [_Server(address, port, self) for address, port in places]

    def __enter__(self) -> Self:
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Nobody is answered any more, on a connection that is open as little as on a new one."""
        for server in self._servers:
            server.shutdown()
            server.server_close()
        with self._news:
            self._is_over = True
            self._news.notify_all()
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(SHUT_RDWR)

    def serve(self, files: Mapping[str, bytes], version: int) -> None:
        """Serve these files of the repository from now on, by path (``metadata/timestamp.json``), and claim a version
        to everybody who waits for another."""
        with self._news:
            self._files, self._version = files, version
            self._news.notify_all()

    def claim(self, known: int) -> int:
        """The version that is claimed, once it is another than ``known``; in the end ``known``.

        Raises:
            ConnectionError: it is over.
        """
        with self._news:
            self._news.wait_for(lambda: self._is_over or self._version not in (0, known), POLL_SECONDS)
            if self._is_over:
                raise ConnectionAbortedError
            return self._version or known

    def file(self, path: str) -> bytes | None:
        """What is served at a path."""
        with self._news:
            return self._files.get(path)

    @contextlib.contextmanager
    def kept(self, connection: ssl.SSLSocket) -> Iterator[None]:
        """A connection that ends with the impostor, if not before."""
        with self._news:
            if self._is_over:
                raise ConnectionAbortedError
            self._connections.add(connection)
        try:
            yield
        finally:
            with self._news:
                self._connections.discard(connection)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, address: Address, port: int, impostor: Impostor) -> None:
        self.impostor = impostor
        self.address_family = AF_INET6 if address.version == 6 else AF_INET
        super().__init__((str(address), port), _Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """The handshake in the connection's own thread, so that nobody waits for another's."""
        request.settimeout(SOCKET_SECONDS)
        with self.impostor.context.wrap_socket(request, server_side=True) as secured, self.impostor.kept(secured):
            _Handler(secured, client_address, self)

    def handle_error(self, request: object, client_address: object) -> None:
        """A caller that leaves is no matter."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path.endswith("/desired"):
            known = int(parse_qs(url.query).get("known", ["0"])[0])
            self._say(200, json.dumps({"version": self.server.impostor.claim(known)}).encode())
            return
        content = self.server.impostor.file(url.path.removeprefix(PREFIX)) if url.path.startswith(PREFIX) else None
        self._say(404 if content is None else 200, content or b"{}")

    def do_POST(self) -> None:
        self.rfile.read(min(int(self.headers.get("Content-Length") or 0), LARGEST))
        self._say(503, b"{}")  # what a node has to tell is kept for a controller that listens

    def _say(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""
