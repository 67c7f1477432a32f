"""The platform's key that wraps customers' keys: which is in use, and another one in its place."""

from __future__ import annotations

from sqlalchemy import Connection, func, select, update

from ringfort.control import application_models as models
from ringfort.control import sealed
from ringfort.control.application_tables import customer_keys
from ringfort.control.calls import Call, Change, Outcome
from ringfort.control.serving import Served


def read(served: Served, connection: Connection, _call: Call) -> models.DataKey:
    """Which keys this controller holds, and how many customers' keys each of all wraps."""
    return _shown(served, connection)


def rotate(served: Served, connection: Connection, _call: Call) -> Outcome:
    """Wrap every customer's key with the controller's key instead of its former one: all of them, or none.

    Raises:
        ProblemError: this controller holds no key.
        SealedError: a customer's key was wrapped by a key that this controller doesn't hold.
    """
    before = _shown(served, connection)
    platform = sealed.platform_key(served)
    rows = connection.execute(select(customer_keys).where(customer_keys.c.platform_key != platform.name)).all()
    for row in rows:
        key = sealed.unwrapped(served, row)
        wrapped = platform.wrap(row.customer, key)
        connection.execute(
            update(customer_keys)
            .where(customer_keys.c.customer == row.customer)
            .values(platform_key=platform.name, wrapped=wrapped)
        )
    after = _shown(served, connection)
    if not rows:
        return Outcome(after)
    change = Change("control:data-key:rotate", "data-key", {"wraps": before.wraps}, {"wraps": after.wraps}, ())
    return Outcome(after, change)


def _shown(served: Served, connection: Connection) -> models.DataKey:
    counts = select(customer_keys.c.platform_key, func.count()).group_by(customer_keys.c.platform_key)
    return models.DataKey(
        key=served.data_key.name if served.data_key is not None else "",
        former=served.former_data_key.name if served.former_data_key is not None else "",
        wraps={name: count for name, count in connection.execute(counts).all()},  # noqa: C416  # rows are no pairs
    )
