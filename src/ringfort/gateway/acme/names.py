"""Which public names there are, and whose: the one thing that the server has to be told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Protocol

from ringfort.gateway.edge.model import check_public_name
from ringfort.identity.errors import IdentityError


class Names(Protocol):
    """Who owns what."""

    def customer_of(self, name: str) -> str | None:
        """The customer whose endpoint has that public name now; None for nobody's.

        Raises:
            RingfortError: that can't be said at present.
        """
        ...


class FileNames:
    """Names in a file: one JSON object, public name -> customer. It is read again when it changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = (0, 0, 0)
        self._names: dict[str, str] = {}
        self.customer_of("")

    def customer_of(self, name: str) -> str | None:
        """As `Names.customer_of`."""
        try:
            state = self._path.stat()
            seen = (state.st_mtime_ns, state.st_ino, state.st_size)
            if seen != self._seen:
                self._names = _read(self._path.read_bytes())
                self._seen = seen
        except OSError as error:
            raise IdentityError("acme-names", f"{self._path} can't be read: {error.strerror}") from error
        return self._names.get(name)


def _read(text: bytes) -> dict[str, str]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise IdentityError("acme-names", f"the names are not JSON: {error}") from error
    if not isinstance(value, dict) or not all(isinstance(customer, str) and customer for customer in value.values()):
        raise IdentityError("acme-names", "the names are one JSON object, public name -> customer")
    return {check_public_name(name): customer for name, customer in value.items()}
