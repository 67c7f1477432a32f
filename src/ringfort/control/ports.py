"""What the controller needs of others, one protocol each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from ringfort.identity.bundle import Bundle


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate that was just made. ``chain``: PEM, the leaf first, no root. ``authority``, ``serial``: hex."""

    identity: str
    chain: str
    authority: str
    serial: str
    expires: datetime


class Authority(Protocol):
    """Makes certificates."""

    @property
    def bundle(self) -> Bundle:
        """Whom everybody trusts."""
        ...

    def issue(
        self, site: str, role: str, name: str, addresses: Sequence[str], csr: str, now: datetime, lifetime: timedelta
    ) -> Issued:
        """A leaf certificate for the public key of a request.

        Raises:
            ProblemError: the request is none, its signature is wrong, its key too weak, or the site has no issuer.
        """
        ...

    def token(self, site: str, node: str, addresses: Sequence[str], now: datetime, minutes: int) -> tuple[str, Issued]:
        """A one-time token: one line with a key and its short-lived certificate."""
        ...
