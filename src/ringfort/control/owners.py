"""Whose public names are, asked of a controller: `ringfort.gateway.acme.names.Names` for an ACME server."""

from __future__ import annotations

import threading
from urllib.parse import quote

from ringfort.control.client import Client


class Owners:
    """For several threads; one asks at a time."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._lock = threading.Lock()

    def customer_of(self, name: str) -> str | None:
        """As `ringfort.gateway.acme.names.Names.customer_of`."""
        with self._lock:
            found = self._client.get(f"/v1/public-names/{quote(name, safe='')}")["customer"]
        return str(found) or None
