"""The health check, against servers of several kinds."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ringfort.compute.guest.checking import answers


@contextmanager
def server(answer: bytes) -> Iterator[int]:
    """A server that gives one answer, whatever is asked."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.settimeout(2)
                try:
                    connection.recv(4096)
                    connection.sendall(answer)
                except OSError:
                    return

        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1]
        thread.join()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nhello", ""),
        (b"HTTP/1.0 204 No Content\r\n\r\n", ""),
        (b"HTTP/1.1 302\r\n\r\n", ""),
        (b"HTTP/1.1 500 Oh\r\n\r\n", "status 500"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "status 404"),
        (b"SSH-2.0-x\r\n", "the answer is not HTTP"),
        (b"", "the answer is not HTTP"),
        (b"x" * 10_000, "the answer is not HTTP"),
    ],
)
def test_an_answer_tells_whether_it_is_well(answer: bytes, reason: str) -> None:
    with server(answer) as port:
        assert answers("127.0.0.1", port, "/health", 2.0) == reason


def test_a_connection_is_enough_without_a_path() -> None:
    with server(b"") as port:
        assert answers("127.0.0.1", port, "", 2.0) == ""


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert "refused" in answers("127.0.0.1", port, "/", 2.0)
