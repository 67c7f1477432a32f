"""The ACME server's memory: questions and changes, each on a transaction of the caller."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from ringfort.gateway.acme.model import Account, Authorisation, Certificate, Order, Status
from ringfort.gateway.acme.tables import accounts, authorisations, certificates, issued, nonces, orders


def seconds(time: datetime) -> int:
    """As it is kept."""
    return int(time.timestamp())


def moment(value: int) -> datetime:
    """As it was."""
    return datetime.fromtimestamp(value, UTC)


def use_nonce(connection: Connection, nonce: bytes, now: datetime, forget: timedelta) -> None:
    """Remember that a nonce was used, and forget those that are no longer good.

    Raises:
        Conflict: it was used before.
    """
    connection.execute(delete(nonces).where(nonces.c.used < seconds(now - forget)))
    connection.execute(insert(nonces).values(nonce=nonce, used=seconds(now)))


def account_of_key(connection: Connection, thumbprint: str) -> Account | None:
    """The account with a key."""
    return _account(connection.execute(select(accounts).where(accounts.c.thumbprint == thumbprint)).one_or_none())


def account(connection: Connection, identifier: str) -> Account | None:
    """An account."""
    return _account(connection.execute(select(accounts).where(accounts.c.id == identifier)).one_or_none())


def _account(row: Row[Any] | None) -> Account | None:
    return None if row is None else Account(row.id, row.thumbprint, row.key, Status(row.status))


def add_account(connection: Connection, new: Account, now: datetime) -> None:
    """Keep a new account."""
    row = {"id": new.id, "thumbprint": new.thumbprint, "key": new.key, "status": new.status, "created": seconds(now)}
    connection.execute(insert(accounts).values(row))


def change_account(connection: Connection, identifier: str, **values: str) -> None:
    """Give an account another status, or another key with its thumbprint."""
    connection.execute(update(accounts).where(accounts.c.id == identifier).values(**values))


def add_order(connection: Connection, order: Order, now: datetime) -> None:
    """Keep a new order with its authorisations."""
    connection.execute(
        insert(orders).values(
            id=order.id, account=order.account, customer=order.customer, created=seconds(now),
            expires=seconds(order.expires),
        )
    )  # fmt: skip
    rows = [
        {"id": one.id, "order_id": order.id, "name": one.name, "status": one.status, "token": one.token}
        for one in order.authorisations
    ]
    connection.execute(insert(authorisations), rows)


_WITH_ORDER = select(
    authorisations, orders.c.account, orders.c.customer, orders.c.expires
).join(orders, authorisations.c.order_id == orders.c.id)  # fmt: skip


def authorisation(connection: Connection, identifier: str) -> Authorisation | None:
    """An authorisation."""
    row = connection.execute(_WITH_ORDER.where(authorisations.c.id == identifier)).one_or_none()
    return None if row is None else _authorisation(row)


def waiting(connection: Connection) -> list[str]:
    """Authorisations whose challenge is being looked at, by a process that may have ended meanwhile."""
    found = select(authorisations.c.id).where(authorisations.c.status == Status.PROCESSING)
    return list(connection.execute(found).scalars())


def _authorisation(row: Row[Any]) -> Authorisation:
    validated = None if row.validated is None else moment(row.validated)
    error = None if row.error is None else json.loads(row.error)
    return Authorisation(
        row.id, row.order_id, row.account, row.name, row.customer, Status(row.status), row.token,
        moment(row.expires), validated, error,
    )  # fmt: skip


def change_authorisation(connection: Connection, identifier: str, known: Sequence[Status], **values: object) -> bool:
    """Change an authorisation that is in one of the known states; whether it was."""
    change = update(authorisations).where(authorisations.c.id == identifier, authorisations.c.status.in_(known))
    return connection.execute(change.values(**values)).rowcount == 1


def order(connection: Connection, identifier: str) -> Order | None:
    """An order with its authorisations."""
    row = connection.execute(select(orders).where(orders.c.id == identifier)).one_or_none()
    if row is None:
        return None
    found = connection.execute(_WITH_ORDER.where(orders.c.id == identifier).order_by(authorisations.c.name))
    its = tuple(map(_authorisation, found))
    return Order(row.id, row.account, row.customer, moment(row.expires), its, row.certificate)


def orders_of(connection: Connection, owner: str, most: int) -> list[str]:
    """An account's latest orders."""
    found = select(orders.c.id).where(orders.c.account == owner).order_by(orders.c.created.desc()).limit(most)
    return list(connection.execute(found).scalars())


def add_certificate(
    connection: Connection, new: Certificate, order: Order, key: str, times: tuple[datetime, datetime]
) -> None:
    """Keep a certificate that was issued for an order; ``times``: when, and until when it is good."""
    created, expires = map(seconds, times)
    connection.execute(
        insert(certificates).values(
            id=new.id, account=new.account, customer=order.customer, serial=new.serial, key=key, chain=new.chain,
            created=created, expires=expires,
        )
    )  # fmt: skip
    connection.execute(
        insert(issued), [{"certificate": new.id, "name": name, "created": created} for name in order.names]
    )
    connection.execute(update(orders).where(orders.c.id == order.id).values(certificate=new.id))


def certificate(connection: Connection, *, identifier: str = "", serial: str = "") -> Certificate | None:
    """A certificate by its identifier or its serial number."""
    wanted = certificates.c.id == identifier if identifier else certificates.c.serial == serial
    row = connection.execute(select(certificates).where(wanted)).one_or_none()
    return None if row is None else Certificate(row.id, row.account, row.serial, row.chain, row.revoked is not None)


def revoke(connection: Connection, identifier: str, reason: int, now: datetime) -> bool:
    """Revoke a certificate; False if it was before."""
    change = update(certificates).where(certificates.c.id == identifier, certificates.c.revoked.is_(None))
    return connection.execute(change.values(revoked=seconds(now), reason=reason)).rowcount == 1


def revoked(connection: Connection, now: datetime) -> Iterable[tuple[int, datetime, int]]:
    """Serial number, time and reason of each certificate that was revoked and would still be good."""
    found = select(certificates.c.serial, certificates.c.revoked, certificates.c.reason)
    found = found.where(certificates.c.revoked.is_not(None), certificates.c.expires >= seconds(now))
    return [(int(row.serial, 16), moment(row.revoked), row.reason or 0) for row in connection.execute(found)]


def is_compromised(connection: Connection, key: str) -> bool:
    """Whether somebody revoked a certificate because its key was in wrong hands."""
    found = select(certificates.c.id).where(certificates.c.key == key, certificates.c.reason == 1).limit(1)
    return connection.execute(found).first() is not None


def count_orders(connection: Connection, owner: str, since: datetime) -> int:
    """Orders of an account."""
    return _count(connection, orders.c.account == owner, orders.c.created >= seconds(since))


def count_failures(connection: Connection, name: str, since: datetime) -> int:
    """Proofs of a name that failed."""
    return _count(connection, authorisations.c.name == name, authorisations.c.failed >= seconds(since))


def count_certificates(connection: Connection, name: str, since: datetime) -> int:
    """Certificates for a name."""
    return _count(connection, issued.c.name == name, issued.c.created >= seconds(since))


def _count(connection: Connection, *conditions: Any) -> int:  # noqa: ANN401  # columns' comparisons
    return connection.execute(select(func.count()).where(*conditions)).scalar_one()


def forget(connection: Connection, orders_before: datetime, certificates_before: datetime) -> None:
    """Forget orders that are over, and certificates that expired long ago; not those of stolen keys."""
    is_over = orders.c.expires < seconds(orders_before)
    old = select(orders.c.id).where(is_over)
    connection.execute(delete(authorisations).where(authorisations.c.order_id.in_(old)))
    connection.execute(delete(orders).where(is_over))
    is_gone = certificates.c.expires < seconds(certificates_before)
    gone = select(certificates.c.id).where(is_gone)
    connection.execute(delete(issued).where(issued.c.certificate.in_(gone)))
    is_stolen = certificates.c.reason.is_not(None) & (certificates.c.reason == 1)
    connection.execute(delete(certificates).where(is_gone, ~is_stolen))
