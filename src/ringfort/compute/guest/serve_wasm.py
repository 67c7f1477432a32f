"""Listens for a WebAssembly module and runs it once for each request, by CGI's rules (RFC 3875): the request in the
environment and on standard input, the answer with its headers on standard output.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from ringfort.compute.guest.partial_trust import Grants, Program

IDLE_SECONDS = 15
LARGEST_REQUEST = 8 << 20
AT_ONCE = 8
"""Runs at the same time, on all endpoints."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS
    server_version, sys_version = "ringfort", ""

    def __init__(self, program: Program, turns: threading.Semaphore, *arguments: object) -> None:
        self._program, self._turns = program, turns
        super().__init__(*arguments)  # type: ignore[arg-type]

    def handle_request(self) -> None:
        """Run the module for one request, whatever its method."""
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > LARGEST_REQUEST or "Transfer-Encoding" in self.headers:
            self.close_connection = True
            self.send_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return
        body = self.rfile.read(int(length))
        with self._turns:
            outcome = self._program.run(body, self._variables())
        if outcome.failure:
            sys.stderr.write(f"{self.command} {self.path!a} failed: {outcome.failure!a}\n")
            self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR)
            return
        status, headers, content = answer_of(outcome.output)
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = handle_request  # noqa: N815

    def _variables(self) -> dict[str, str]:
        """The request as RFC 3875, 4.1 has it."""
        parts = urlsplit(self.path)
        found = {
            f"HTTP_{name.upper().replace('-', '_')}": value
            for name, value in self.headers.items()
            if name.upper() != "PROXY"  # httpoxy: HTTP_PROXY means something else to HTTP libraries
        }
        found |= {"REQUEST_METHOD": self.command, "PATH_INFO": parts.path, "QUERY_STRING": parts.query}
        found |= {"SERVER_PROTOCOL": self.request_version, "GATEWAY_INTERFACE": "CGI/1.1", "SCRIPT_NAME": ""}
        found |= {"REMOTE_ADDR": str(self.client_address[0]), "CONTENT_TYPE": self.headers.get("Content-Type", "")}
        found["CONTENT_LENGTH"] = self.headers.get("Content-Length", "0")
        return {name: value.replace("\0", "") for name, value in found.items()}

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        """One line for each request, without what could steer a terminal."""
        sys.stdout.write(f"{self.address_string()} {(format % args)!a}\n")


def answer_of(output: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
    """Status, headers and body of what a module wrote (RFC 3875, 6.2). Without headers it is all body, plain text."""
    head, separator, content = output.replace(b"\r\n", b"\n", 1).partition(b"\n\n")
    lines = head.decode("latin-1").replace("\r", "").split("\n")
    if not separator or not all(":" in line for line in lines):
        return 200, [("Content-Type", "text/plain; charset=utf-8")], output
    status, headers = 200, []
    for line in lines:
        name, _, value = line.partition(":")
        if name.lower() == "status":
            code = value.strip()[:3]
            status = int(code) if code.isdecimal() and 200 <= int(code) < 600 else 500
        elif name.lower() not in ("content-length", "transfer-encoding", "connection"):
            headers.append((name.strip(), value.strip()))
    return status, headers, content


def main() -> None:
    """Serve until told to stop."""
    options = json.load(sys.stdin)
    directories = {seen_at: (path, writable) for seen_at, path, writable in options["directories"]}
    grants = Grants(directories, options["environment"], options["clock"], options["fuel"], options["memory"])
    with open(os.path.join("/app", options["module"]), "rb") as file:
        program = Program(file.read(), grants)
    handler = partial(Handler, program, threading.Semaphore(AT_ONCE))
    servers = [ThreadingHTTPServer(("", port), handler) for port in options["ports"]]
    threads = [threading.Thread(target=server.serve_forever) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
