"""Whether the application answers, asked from inside the guest."""

from __future__ import annotations

import http.client
import socket

GOOD = range(200, 400)


def answers(address: str, port: int, path: str, timeout: float) -> str:
    """Why the application is not healthy; empty when it is. Without a path a connection is enough."""
    try:
        if not path:
            socket.create_connection((address, port), timeout).close()
            return ""
        connection = http.client.HTTPConnection(address, port, timeout=timeout)
        try:
            connection.request("GET", path, headers={"User-Agent": "ringfort-health"})
            status = connection.getresponse().status
        finally:
            connection.close()
    except (OSError, http.client.HTTPException) as error:
        return f"{type(error).__name__}: {error}"[:200]
    return "" if status in GOOD else f"status {status}"
