"""Whether the application answers, asked from inside the guest. Plain sockets: HTTP libraries take the guest's first
process longer to load than all the rest of it."""

from __future__ import annotations

import socket
import time

GOOD = range(200, 400)
LONGEST_LINE = 1024


def answers(address: str, port: int, path: str, timeout: float) -> str:
    """Why the application is not healthy; empty when it is. Without a path a connection is enough."""
    until = time.monotonic() + timeout
    try:
        with socket.create_connection((address, port), timeout) as connection:
            if not path:
                return ""
            host = f"[{address}]" if ":" in address else address
            request = f"GET {path} HTTP/1.0\r\nHost: {host}:{port}\r\nUser-Agent: ringfort-health\r\n\r\n"
            connection.sendall(request.encode())
            line = b""
            while b"\n" not in line and len(line) < LONGEST_LINE:
                connection.settimeout(max(0.01, until - time.monotonic()))
                data = connection.recv(LONGEST_LINE)
                if not data:
                    break
                line += data
    except OSError as error:
        return f"{type(error).__name__}: {error}"[:200]
    return judged(line.partition(b"\n")[0])


def judged(line: bytes) -> str:
    """Why a status line (RFC 9112, 4) is none of a healthy application; empty when it is."""
    words = line.split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        return "the answer is not HTTP"
    return "" if int(words[1]) in GOOD else f"status {int(words[1])}"
