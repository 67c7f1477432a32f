"""From what a customer wants to the instances that should be: as many as asked for, of the version in force."""

from __future__ import annotations

import secrets
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from ringfort.control.application_tables import applications, instances
from ringfort.control.calls import Call
from ringfort.control.clock import to_number


def topic_of(node: str) -> str:
    """What changes when something about a node's instances does."""
    return f"instances:{node}"


def instances_of(connection: Connection, customer: str, application: str) -> list[Row[Any]]:
    """An application's instances, by ordinal."""
    return list(
        connection.execute(
            select(instances)
            .where(instances.c.customer == customer, instances.c.application == application)
            .order_by(instances.c.ordinal)
        )
    )


def arrange(connection: Connection, call: Call, customer: str, name: str) -> tuple[str, ...]:
    """Make an application's instances what it says; the topics of the nodes that should look."""
    application = connection.execute(
        select(applications).where(applications.c.customer == customer, applications.c.name == name)
    ).one_or_none()
    present = {row.ordinal: row for row in instances_of(connection, customer, name)}
    count = application.instances if application is not None and application.deployment else 0
    touched = {row.node for ordinal, row in present.items() if ordinal >= count}
    connection.execute(
        delete(instances).where(
            instances.c.customer == customer, instances.c.application == name, instances.c.ordinal >= count
        )
    )
    for ordinal in range(count):
        assert application is not None
        wanted = {
            "deployment": application.deployment,
            "settings": application.settings,
            "state": application.state,
            "changed": to_number(call.now),
        }
        row = present.get(ordinal)
        if row is None:
            connection.execute(
                insert(instances).values(
                    name=f"i-{secrets.token_hex(6)}",
                    customer=customer,
                    application=name,
                    ordinal=ordinal,
                    held=0,
                    node="",
                    avoid="",
                    report="",
                    **wanted,
                )
            )
            touched.add("")
        elif (row.deployment, row.settings, row.state) != (
            application.deployment,
            application.settings,
            application.state,
        ):
            connection.execute(update(instances).where(instances.c.name == row.name).values(**wanted))
            touched.add(row.node)
    return tuple(topic_of(node) for node in sorted(touched))
