"""Two ends of real TCP connections on loopback: a server that judges each caller, and callers of every kind."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from queue import Queue

from ringfort.identity.errors import IdentityRefused, Refusal
from ringfort.identity.peers import Peer
from ringfort.identity.revocation import Revocations
from ringfort.identity.tls import Party, peer, refusal_of
from ringfort.identity.verification import Expected, anyone

PATIENCE = 10


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Server:
    """Accepts one caller after the other; says what it made of each, and answers ``hello`` to those it accepts."""

    party: Party
    expected: Expected = anyone
    revoked: Revocations | None = None
    outcomes: Queue[Peer | Refusal] = field(default_factory=Queue)
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    serve: Callable[[ssl.SSLSocket, Peer], None] = field(default=lambda connection, _: connection.sendall(b"hello"))

    @property
    def port(self) -> int:
        port: int = self.listener.getsockname()[1]
        return port

    def run(self) -> None:
        while True:
            try:
                raw, address = self.listener.accept()
            except OSError:
                return
            raw.settimeout(PATIENCE)
            with raw:
                self.outcomes.put(self._judge(raw, address[0]))

    def _judge(self, raw: socket.socket, address: str) -> Peer | Refusal:
        try:
            with self.party.server.wrap_socket(raw, server_side=True) as connection:
                found = peer(
                    connection, address, self.party.bundle, now(), expected=self.expected, revoked=self.revoked
                )
                self.serve(connection, found)
                with contextlib.suppress(OSError):
                    connection.unwrap()
                return found
        except ssl.SSLError as error:
            return refusal_of(error)
        except IdentityRefused as refused:
            return refused.refusal

    def outcome(self) -> Peer | Refusal:
        """What it made of the next caller."""
        return self.outcomes.get(timeout=PATIENCE)


@contextlib.contextmanager
def serving(server: Server) -> Iterator[Server]:
    """The server at work, in a thread of its own."""
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server
    finally:
        server.listener.shutdown(socket.SHUT_RDWR)
        server.listener.close()
        thread.join(PATIENCE)
        assert not thread.is_alive()


def call(server: Server, context: ssl.SSLContext | None, source: str = "127.0.0.1", say: bytes = b"") -> bytes:
    """Call under a context, or in clear; what came back, or nothing where the server hung up."""
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE, source_address=(source, 0)) as raw:
        try:
            if context is None:
                raw.sendall(say)
                return raw.recv(100)
            with context.wrap_socket(raw) as connection:
                return connection.recv(100)
        except (ssl.SSLError, ConnectionError):
            return b""
