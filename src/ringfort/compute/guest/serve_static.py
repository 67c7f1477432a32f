"""Serves the files of a folder over HTTP: no listings, no hidden files. Standard input says which."""

from __future__ import annotations

import io
import json
import os
import sys
import threading
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import BinaryIO

IDLE_SECONDS = 15


class Handler(SimpleHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS
    server_version, sys_version = "ringfort", ""

    def list_directory(self, path: str | os.PathLike[str]) -> None:
        """Nothing is listed."""
        self.send_error(HTTPStatus.NOT_FOUND)

    def send_head(self) -> io.BytesIO | BinaryIO | None:
        """Refuse what is hidden or leads out by a link."""
        path = os.path.realpath(self.translate_path(self.path))
        inside = os.path.relpath(path, self.directory)
        if any(part.startswith(".") and part != "." for part in inside.split("/")):
            self.send_error(HTTPStatus.NOT_FOUND)
            return None
        return super().send_head()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        """One line for each request, without what could steer a terminal."""
        sys.stdout.write(f"{self.address_string()} {(format % args)!a}\n")


def main() -> None:
    """Serve until told to stop."""
    options = json.load(sys.stdin)
    folder = os.path.realpath(os.path.join("/app", options.get("directory", "public")))

    ThreadingHTTPServer.request_queue_size = 128
    handler = partial(Handler, directory=folder)
    threads = [
        threading.Thread(target=ThreadingHTTPServer(("", port), handler).serve_forever) for port in options["ports"]
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
