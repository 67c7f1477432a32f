"""What the protocol speaks of (RFC 8555, 7.1), and how one state follows from others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class Status(StrEnum):
    """Of accounts, orders, authorisations and challenges (RFC 8555, 7.1.6)."""

    PENDING = "pending"
    READY = "ready"
    PROCESSING = "processing"
    VALID = "valid"
    INVALID = "invalid"
    DEACTIVATED = "deactivated"
    EXPIRED = "expired"


ORDER_LIFETIME = timedelta(hours=1)
"""An order is finalized in that time. Each proves its names anew: a proof is never used for another order."""


@dataclass(frozen=True, slots=True)
class Account:
    """Who asks. ``key`` is canonical JSON."""

    id: str
    thumbprint: str
    key: str
    status: Status


@dataclass(frozen=True, slots=True)
class Authorisation:
    """Whether an account may have a certificate for a name, in one order; it has one challenge, http-01."""

    id: str
    order: str
    account: str
    name: str
    customer: str
    status: Status
    token: str
    expires: datetime
    validated: datetime | None
    error: dict[str, object] | None

    @property
    def challenge(self) -> Status:
        """The state of its challenge."""
        done = self.validated is not None
        return Status.VALID if done else Status.INVALID if self.error is not None else _CHALLENGE[self.status]


_CHALLENGE = {
    Status.PENDING: Status.PENDING,
    Status.PROCESSING: Status.PROCESSING,
    Status.VALID: Status.VALID,
    Status.INVALID: Status.INVALID,
    Status.DEACTIVATED: Status.INVALID,
    Status.EXPIRED: Status.INVALID,
}


@dataclass(frozen=True, slots=True)
class Order:
    """A certificate that is wanted, for names that belong to one customer."""

    id: str
    account: str
    customer: str
    expires: datetime
    authorisations: tuple[Authorisation, ...]
    certificate: str | None

    @property
    def names(self) -> tuple[str, ...]:
        """In order."""
        return tuple(sorted(one.name for one in self.authorisations))

    def status(self, now: datetime) -> Status:
        """Its state; an order that was not finalized in time is invalid."""
        return order_status([one.status for one in self.authorisations], self.certificate, self.expires, now)

    @property
    def error(self) -> dict[str, object] | None:
        """Why it is invalid, of the first name for which that is known."""
        return next((one.error for one in self.authorisations if one.error is not None), None)


def order_status(authorisations: Sequence[Status], certificate: str | None, expires: datetime, now: datetime) -> Status:
    """The state of an order (RFC 8555, 7.1.6)."""
    if certificate is not None:
        return Status.VALID
    if now >= expires or not authorisations:
        return Status.INVALID
    if any(one not in (Status.PENDING, Status.PROCESSING, Status.VALID) for one in authorisations):
        return Status.INVALID
    return Status.READY if all(one is Status.VALID for one in authorisations) else Status.PENDING


@dataclass(frozen=True, slots=True)
class Certificate:
    """One that was issued. ``chain`` is PEM: itself, then its issuer."""

    id: str
    account: str
    serial: str
    chain: str
    is_revoked: bool


@dataclass(frozen=True, slots=True)
class Limits:
    """What may be asked for (RFC 8555, 6.6).

    Attributes:
        accounts: new ones of one source address in an hour, per server process.
        orders: of one account in an hour.
        failures: proofs of one name that failed in an hour, whoever tried.
        certificates: for one name in a week.
        names: in one order.
    """

    accounts: int = 20
    orders: int = 100
    failures: int = 20
    certificates: int = 50
    names: int = 50


def error_text(document: dict[str, object]) -> str:
    """A problem as it is kept."""
    return json.dumps(document, sort_keys=True)
