"""A guestbook: GET shows what visitors wrote, POST adds a line. Needs nothing but Python."""

from __future__ import annotations

import html
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

BOOK = Path(os.environ.get("HOME", ".")) / "guestbook.txt"
LARGEST = 500
MOST_LINES = 1000


class Page(BaseHTTPRequestHandler):
    """One visitor."""

    protocol_version = "HTTP/1.1"
    timeout = 15

    def do_GET(self) -> None:  # the name that the base class asks for
        """The page, or a word that all is well."""
        if self.path == "/health":
            self._answer(200, "ok\n", "text/plain")
            return
        lines = BOOK.read_text(encoding="utf-8").splitlines() if BOOK.exists() else []
        greeting = html.escape(os.environ.get("GREETING", "Hello"))
        items = "".join(f"<li>{html.escape(line)}" for line in lines)
        self._answer(200, f"<!doctype html><title>{greeting}</title><h1>{greeting}</h1><ol>{items}</ol>", "text/html")

    def do_POST(self) -> None:
        """One line more."""
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > LARGEST:
            self.close_connection = True
            self._answer(413, "too much\n", "text/plain")
            return
        line = " ".join(self.rfile.read(int(length)).decode("utf-8", "replace").split())
        lines = BOOK.read_text(encoding="utf-8").splitlines() if BOOK.exists() else []
        BOOK.write_text("\n".join([*lines, line][-MOST_LINES:]) + "\n", encoding="utf-8")
        self._answer(200, "thank you\n", "text/plain")

    def _answer(self, status: int, text: str, kind: str) -> None:
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


if __name__ == "__main__":
    ThreadingHTTPServer(("", 8080), Page).serve_forever()
