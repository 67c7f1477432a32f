"""A controller that has been taken over: its address, certificate and online key, and somebody else's will.

It answers what nodes ask, and checks nothing. What it may serve is whatever can be made without the approvers' keys.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET, AF_INET6

from ringfort.environment.model import Address

LARGEST = 1 << 20
PREFIX = "/v1/environment/"


@contextmanager
def impostor(
    addresses: tuple[tuple[Address, int], ...], context: ssl.SSLContext, files: Mapping[str, bytes], version: int
) -> Iterator[None]:
    """Play the controllers at some addresses while inside; call it in their namespace.

    Args:
        files: what it serves of the repository, by path (``metadata/timestamp.json``).
        version: the version that it claims to want.
    """
    servers = [_server(address, port, context, files, version) for address, port in addresses]
    threads = [threading.Thread(target=server.serve_forever, daemon=True) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()


def _server(
    address: Address, port: int, context: ssl.SSLContext, files: Mapping[str, bytes], version: int
) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 5.0

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path.endswith("/desired"):
                self._say(200, json.dumps({"version": version}).encode())
            elif path.startswith(PREFIX):
                content = files.get(path.removeprefix(PREFIX))
                self._say(404 if content is None else 200, content or b"{}")
            else:
                self._say(404, b"{}")

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

    class Server(ThreadingHTTPServer):
        address_family = AF_INET6 if address.version == 6 else AF_INET
        daemon_threads = True
        allow_reuse_address = True

        def finish_request(self, request: object, client_address: object) -> None:
            """The handshake in the connection's own thread, so that nobody waits for another's."""
            secured = context.wrap_socket(request, server_side=True)  # type: ignore[arg-type]
            with secured:
                Handler(secured, client_address, self)

        def handle_error(self, request: object, client_address: object) -> None:
            """A caller that leaves is no matter."""

    return Server((str(address), port), Handler)
