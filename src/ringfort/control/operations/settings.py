"""Configuration and secrets of an application: sealed, configuration shown to its customer, secrets to nobody."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from ringfort.compute.sealing import CustomerKey
from ringfort.compute.words import RESERVED
from ringfort.control import application_models as models
from ringfort.control import sealed
from ringfort.control.application_tables import applications, settings
from ringfort.control.calls import Call, Change, Outcome
from ringfort.control.clock import to_number, to_time
from ringfort.control.errors import ProblemError, conflict
from ringfort.control.operations.applications import description_in_force, known, known_or_new
from ringfort.control.operations.arranging import arrange
from ringfort.control.serving import Served

MOST_SETTINGS = 600
MOST_BYTES = 512 * 1024
"""Of an application's settings together."""

CONFIGURATION, SECRET = "configuration", "secret"


def read_configuration(served: Served, connection: Connection, call: Call) -> models.Configuration:
    """What instances find in their environment, and from where it is."""
    row = known(connection, call)
    key = sealed.key_of(served, connection, row.customer)
    if key is None:
        return models.Configuration(settings=row.settings, values=[])
    said = configuration_said(connection, key, row)
    mine = opened(connection, key, row.customer, row.name, CONFIGURATION)
    values = [
        models.ConfigurationValue(name=name, value=value, origin="set" if name in mine else "app.yaml")
        for name, value in sorted({**said, **mine}.items())
    ]
    return models.Configuration(settings=row.settings, values=values)


def list_secrets(served: Served, connection: Connection, call: Call) -> models.Secrets:
    """Which secrets there are and which are needed; no values."""
    row = known(connection, call)
    key = sealed.key_of(served, connection, row.customer)
    said = {} if key is None else description_in_force(connection, key, row)
    needed = set(said.get("secrets", []))
    rows = connection.execute(select(settings.c.name, settings.c.changed).where(*_of(row), settings.c.kind == SECRET))
    there = {found.name: to_time(found.changed) for found in rows}
    return models.Secrets(
        settings=row.settings,
        secrets=[
            models.Secret(name=name, needed=name in needed, changed=there.get(name))
            for name in sorted(needed | there.keys())
        ],
    )


def change_configuration(served: Served, connection: Connection, call: Call) -> Outcome:
    """Set and unset configuration values."""
    return _changed(served, connection, call, CONFIGURATION)


def change_secrets(served: Served, connection: Connection, call: Call) -> Outcome:
    """Set and unset secrets."""
    return _changed(served, connection, call, SECRET)


def configuration_said(connection: Connection, key: CustomerKey, row: Row[Any]) -> dict[str, str]:
    """The configuration that app.yaml holds."""
    return dict(description_in_force(connection, key, row).get("configuration", {}))


def opened(connection: Connection, key: CustomerKey, customer: str, application: str, kind: str) -> dict[str, str]:
    """All values of one kind that were set."""
    rows = connection.execute(
        select(settings.c.name, settings.c.value).where(
            settings.c.customer == customer, settings.c.application == application, settings.c.kind == kind
        )
    )
    return {row.name: key.open(sealed.setting(kind, application, row.name), row.value).decode() for row in rows}


def _changed(served: Served, connection: Connection, call: Call, kind: str) -> Outcome:
    form = call.body(models.SettingsForm)
    both = sorted(form.set.keys() & set(form.unset))
    if both or not (form.set or form.unset):
        what = f"{', '.join(both)} can't be set and unset at once" if both else "say what to set or to unset"
        raise ProblemError(422, "invalid", what)
    if any(name.startswith(RESERVED) for name in form.set):
        raise ProblemError(422, "setting-reserved", f"names that begin with {RESERVED} are the platform's own")
    row = known_or_new(connection, call)
    key = sealed.new_or_known_key(served, connection, row.customer, call.now)
    before = opened(connection, key, row.customer, row.name, kind)
    after = {name: value for name, value in {**before, **form.set}.items() if name not in form.unset}
    if after == before:
        return Outcome(models.SettingsChanged(settings=row.settings, set=[], unset=[]))
    _refuse_other_kind(connection, row, kind, form.set)
    changed = {name: value for name, value in after.items() if before.get(name) != value}
    gone = sorted(before.keys() - after.keys())
    connection.execute(delete(settings).where(*_of(row), settings.c.name.in_([*changed, *gone])))
    for name, value in sorted(changed.items()):
        connection.execute(
            insert(settings).values(
                customer=row.customer,
                application=row.name,
                name=name,
                kind=kind,
                value=key.seal(sealed.setting(kind, row.name, name), value.encode()),
                changed=to_number(call.now),
            )
        )
    _refuse_too_much(connection, row)
    return _told(connection, call, row, kind, key, before, after)


def _told(
    connection: Connection,
    call: Call,
    row: Row[Any],
    kind: str,
    key: CustomerKey,
    before: Mapping[str, str],
    after: Mapping[str, str],
) -> Outcome:
    number = row.settings + 1
    mine = applications.c.customer == row.customer, applications.c.name == row.name
    connection.execute(update(applications).where(*mine).values(settings=number, changed=to_number(call.now)))
    topics = arrange(connection, to_number(call.now), row.customer, row.name)
    differ = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    change = Change(
        f"control:application:change-{kind}",
        f"application/{row.customer}/{row.name}",
        {"settings": row.settings, "values": _prints(key, kind, before, differ)},
        {"settings": number, "values": _prints(key, kind, after, differ)},
        topics,
    )
    answer = models.SettingsChanged(
        settings=number,
        set=[name for name in differ if name in after],
        unset=[name for name in differ if name not in after],
    )
    return Outcome(answer, change)


def _prints(key: CustomerKey, kind: str, values: Mapping[str, str], names: list[str]) -> dict[str, str]:
    """What stands for values in a record: a hash would give short ones away, so it is made with the customer's key."""
    return {name: f"hmac:{key.fingerprint(kind, values[name].encode())}" for name in names if name in values}


def _refuse_other_kind(connection: Connection, row: Row[Any], kind: str, names: Mapping[str, str]) -> None:
    others = connection.execute(
        select(settings.c.name).where(*_of(row), settings.c.kind != kind, settings.c.name.in_(list(names)))
    ).scalars()
    taken = sorted(others)
    if taken:
        other = SECRET if kind == CONFIGURATION else CONFIGURATION
        raise conflict(
            "setting-of-another-kind", f"{', '.join(taken)}: there is a {other} of that name", "unset it first"
        )


def _refuse_too_much(connection: Connection, row: Row[Any]) -> None:
    count, size = connection.execute(
        select(func.count(), func.coalesce(func.sum(func.length(settings.c.value)), 0)).where(*_of(row))
    ).one()
    if count > MOST_SETTINGS or size > MOST_BYTES:
        message = f"an application has at most {MOST_SETTINGS} settings of {MOST_BYTES:,} bytes together"
        raise conflict("too-many-settings", message)


def _of(row: Row[Any]) -> tuple[Any, Any]:
    return settings.c.customer == row.customer, settings.c.application == row.name
