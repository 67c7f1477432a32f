"""Customers' keys as the database keeps them, and what each sealed column is sealed for."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select

from ringfort.compute.sealing import CustomerKey, PlatformKey
from ringfort.control.application_tables import customer_keys
from ringfort.control.clock import to_number
from ringfort.control.errors import ProblemError
from ringfort.control.serving import Served


def part(upload: str, offset: int) -> str:
    """The purpose of a part of software."""
    return f"upload/{upload}/{offset}"


def description(application: str, deployment: int) -> str:
    """The purpose of what a deployment's app.yaml says."""
    return f"description/{application}/{deployment}"


def setting(kind: str, application: str, name: str) -> str:
    """The purpose of a configuration value or secret."""
    return f"{kind}/{application}/{name}"


def log(application: str, instance: str) -> str:
    """The purpose of lines that an instance wrote."""
    return f"log/{application}/{instance}"


def disk(instance: str) -> str:
    """The purpose of an instance's disk key."""
    return f"disk/{instance}"


def key_of(served: Served, connection: Connection, customer: str) -> CustomerKey | None:
    """A customer's key; None before it has one, and after it was deleted.

    Raises:
        ProblemError: this controller has no platform key.
        SealedError: the key was wrapped by another one.
    """
    row = connection.execute(select(customer_keys).where(customer_keys.c.customer == customer)).one_or_none()
    return None if row is None else unwrapped(served, row)


def unwrapped(served: Served, row: Row[Any]) -> CustomerKey:
    """The key in a row of the table; raises as `key_of`."""
    former = served.former_data_key
    if former is not None and former.name == row.platform_key:
        return former.unwrap(row.customer, row.wrapped)
    return platform_key(served).unwrap(row.customer, row.wrapped)


def known_key(served: Served, connection: Connection, customer: str) -> CustomerKey:
    """A customer's key where something was sealed under it.

    Raises:
        ProblemError: it is gone; else as `key_of`.
    """
    key = key_of(served, connection, customer)
    if key is None:
        raise ProblemError(404, "not-found", f"there is nothing of {customer} that can be read")
    return key


def new_or_known_key(served: Served, connection: Connection, customer: str, now: datetime) -> CustomerKey:
    """A customer's key, made if there is none yet; raises as `key_of`."""
    key = key_of(served, connection, customer)
    if key is not None:
        return key
    platform = _wrapping(served, connection)
    wrapped = platform.new_key(customer)
    connection.execute(
        insert(customer_keys).values(
            customer=customer, platform_key=platform.name, wrapped=wrapped, created=to_number(now)
        )
    )
    return platform.unwrap(customer, wrapped)


def forget(connection: Connection, customer: str) -> None:
    """Make all that is a customer's unreadable, for good."""
    connection.execute(delete(customer_keys).where(customer_keys.c.customer == customer))


def _wrapping(served: Served, connection: Connection) -> PlatformKey:
    """The key for a new customer: the former one until all are wrapped anew, for not every controller may have both."""
    former = served.former_data_key
    if former is not None:
        of_former = select(customer_keys.c.customer).where(customer_keys.c.platform_key == former.name).limit(1)
        if connection.execute(of_former).first() is not None:
            return former
    return platform_key(served)


def platform_key(served: Served) -> PlatformKey:
    """The key that wraps customers' keys.

    Raises:
        ProblemError: this controller has none.
    """
    if served.data_key is None:
        raise ProblemError(
            503, "data-key-missing", "this controller holds no key for customers' data", "ask another controller"
        )
    return served.data_key
