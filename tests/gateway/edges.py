"""A real edge for tests: HAProxy on loopback, applications behind it, certificates of an own authority."""

from __future__ import annotations

import contextlib
import http.server
import shutil
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from ringfort.gateway import process
from ringfort.gateway.acme.authority import PublicIssuer, PublicRoot
from ringfort.gateway.edge import running
from ringfort.gateway.edge.certificates import issue
from ringfort.gateway.edge.model import Edge, Endpoint, Health, Server, TlsMode
from ringfort.gateway.edge.render import Place
from ringfort.identity.certificates import to_pem
from ringfort.lab.state import write_private

EDGE = "127.0.0.1"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a visitor who left


class Application:
    """An instance: says its name, and what it was asked, as headers that begin with ``Seen-``."""

    def __init__(self, name: str, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.name, self.delay, self.status = name, 0.0, 200
        self.answers: dict[str, str] = {}
        self.connections = set[socket.socket]()
        self.files: Path | None = None
        self.seen: list[str] | None = None
        self.served = 0
        application = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                application.connections.add(self.connection)

            def finish(self) -> None:
                application.connections.discard(self.connection)
                with contextlib.suppress(OSError):
                    super().finish()

            def do_GET(self) -> None:
                application.serve(self)

            do_POST = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self._server = _Server(("127.0.0.1", port), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def serve(self, request: http.server.BaseHTTPRequestHandler) -> None:
        if self.seen is not None:
            self.seen.append(request.path)
        length = int(request.headers.get("Content-Length") or 0)
        request.rfile.read(length)
        time.sleep(self.delay)
        known = self.answers.get(request.path)
        if self.files is not None and (file := self.files / request.path.strip("/")).is_file():
            known = file.read_text()
        body = (known or f"{self.name} {length}\n").encode()
        request.send_response(self.status)
        for name, value in request.headers.items():
            request.send_header(f"Seen-{name}", value)
        request.send_header("X-Powered-By", "secrets")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)
        self.served += request.path != "/health"

    def server(self, name: str = "") -> Server:
        return Server(name or self.name, ip_address("127.0.0.1"), self.port)

    def die(self) -> None:
        """End without a word, whoever is there."""
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.close()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@dataclass
class World:
    """An edge and whatever a test puts behind it."""

    directory: Path
    root: PublicRoot
    issuer: PublicIssuer
    edge: Edge
    place: Place
    applications: list[Application] = field(default_factory=list)

    def certificate(self, name: str, now: datetime | None = None) -> str:
        """The file of a new certificate."""
        path = self.directory / f"{name}.pem"
        write_private(path, issue(self.issuer, name, now or datetime.now(UTC)))
        return str(path)

    def application(self, name: str, tls: ssl.SSLContext | None = None) -> Application:
        found = Application(name, tls=tls)
        self.applications.append(found)
        return found

    def endpoint(
        self, name: str, *servers: Server, tls: TlsMode = TlsMode.PLATFORM, customer: str = "acme"
    ) -> Endpoint:
        ends = tls in (TlsMode.PLATFORM, TlsMode.CERTIFICATE)
        health = Health("/health", seconds=1)
        return Endpoint(name, customer, "shop", tls, servers, health, self.certificate(name) if ends else "")

    def serve(self, *endpoints: Endpoint, **changes: object) -> running.Applied:
        self.edge = replace(self.edge, endpoints=endpoints, **changes)  # type: ignore[arg-type]
        return running.apply(self.edge, self.place, write_private, leave=10, come=5)

    @property
    def bundle(self) -> str:
        return str(self.directory / "public-root.pem")

    def context(self, *protocols: str) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.bundle)
        if protocols:
            context.set_alpn_protocols(list(protocols))
        return context

    def visit(self, name: str, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        connection = (context or self.context()).wrap_socket(socket.socket(), server_hostname=name)
        connection.settimeout(10)
        try:
            connection.connect((EDGE, self.edge.tls_port))
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        process.end(self.place)
        for application in self.applications:
            application.close()


def ask(connection: socket.socket, name: str, path: str = "/", extra: str = "") -> tuple[int, dict[str, str], bytes]:
    """One request on a connection that stays open: status, headers in lower case, body."""
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {name}\r\n{extra}\r\n".encode())
    return answer(connection)


def answer(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65536)
        if not part:
            raise ConnectionResetError(f"the connection ended after {data!r}")
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers: dict[str, str] = {}
    for name, _, value in (line.partition(":") for line in lines):
        before = headers.get(name.lower())
        headers[name.lower()] = value.strip() if before is None else f"{before} AND {value.strip()}"
    while len(body) < int(headers.get("content-length", "0")):
        body += connection.recv(65536)
    return int(first.split()[1]), headers, body


@contextlib.contextmanager
def world() -> Iterator[World]:
    """An empty one. HAProxy's account has to reach into its directory, so it is not in pytest's."""
    directory = Path(tempfile.mkdtemp(prefix="ringfort-edge-"))
    now = datetime.now(UTC)
    root = PublicRoot.create("tests", now)
    issuer = root.issuer(["shop.example"], now, timedelta(days=100))
    edge = Edge((ip_address(EDGE),), (), plain_port=free_port(), tls_port=free_port(), alive_port=free_port())
    account = process.account()
    place = Place(str(directory / "edge"), account)
    (directory / "public-root.pem").write_bytes(to_pem([root.certificate]))
    made = World(directory, root, issuer, edge, place)
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(directory)
