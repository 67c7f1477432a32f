"""Instances: to their node all that running them takes; to operators where they are, and nothing of what is in them."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from sqlalchemy import Connection, Row, select, update

from ringfort.control import application_models as models
from ringfort.control import sealed
from ringfort.control.application_tables import applications, deployments, instances, uploads
from ringfort.control.calls import Call, Change, Outcome
from ringfort.control.clock import to_number
from ringfort.control.errors import conflict, not_found
from ringfort.control.hosting import HOSTING, WORDS, beat, refuse_others
from ringfort.control.operations.applications import description_of
from ringfort.control.operations.arranging import EDGE, topic_of
from ringfort.control.operations.placements import place_for, told
from ringfort.control.operations.settings import CONFIGURATION, SECRET, opened
from ringfort.control.operations.uploads import part_at
from ringfort.control.serving import Served

# -- as nodes see them -----------------------------------------------------------------------------------------------


def wanted_on(served: Served, connection: Connection, call: Call) -> models.WantedInstances:
    """All that a node should run."""
    refuse_others(served, connection, call.parameters["name"])
    rows = connection.execute(
        select(instances, uploads.c.digest, uploads.c.size)
        .join(
            deployments,
            (deployments.c.customer == instances.c.customer)
            & (deployments.c.application == instances.c.application)
            & (deployments.c.number == instances.c.deployment),
        )
        .join(uploads, uploads.c.name == deployments.c.upload)
        .where(instances.c.node == call.parameters["name"])
        .order_by(instances.c.name)
    )
    wanted = [_wanted(served, connection, row) for row in rows]
    text = json.dumps([one.model_dump(mode="json") for one in wanted], sort_keys=True)
    return models.WantedInstances(revision=hashlib.sha256(text.encode()).hexdigest(), instances=wanted)


def has_news(query: models.WantedQuery, answer: models.WantedInstances) -> bool:
    """Whether an answer is given at once."""
    return query.known != answer.revision


def read_settings(served: Served, connection: Connection, call: Call) -> models.InstanceSettings:
    """What an instance finds when it starts."""
    row = on_node(connection, call)
    key = sealed.known_key(served, connection, row.customer)
    said = description_of(connection, key, row.customer, row.application, row.deployment)
    number = connection.execute(
        select(applications.c.settings).where(
            applications.c.customer == row.customer, applications.c.name == row.application
        )
    ).scalar_one()
    configuration = opened(connection, key, row.customer, row.application, CONFIGURATION)
    secrets = opened(connection, key, row.customer, row.application, SECRET)
    return models.InstanceSettings(
        settings=number,
        configuration={**said.get("configuration", {}), **configuration},
        secrets={name: value for name, value in secrets.items() if name in said.get("secrets", [])},
        disk_key=key.derived(sealed.disk(row.name)).hex(),
    )


def fetch_software(served: Served, connection: Connection, call: Call) -> bytes:
    """The part of an instance's software that begins at an offset; empty at its end."""
    row = on_node(connection, call)
    upload = connection.execute(
        select(uploads)
        .join(deployments, deployments.c.upload == uploads.c.name)
        .where(
            deployments.c.customer == row.customer,
            deployments.c.application == row.application,
            deployments.c.number == row.deployment,
        )
    ).one()
    key = sealed.known_key(served, connection, row.customer)
    offset = int(call.parameters["offset"])
    content = part_at(connection, key, upload, offset)
    if not content and offset != upload.size:
        raise not_found(f"part of this software that begins at {offset}")
    return content


def report(served: Served, connection: Connection, call: Call) -> Outcome:
    """How a node's instances are, and that it lives. Only what differs is a change, and has a record."""
    name, form, now = call.parameters["name"], call.body(models.NodeInstancesForm), to_number(call.now)
    refuse_others(served, connection, name)
    was_lost, differs = beat(connection, name, form.room.model_dump_json() if form.room is not None else "")
    rows = connection.execute(select(instances.c.name, instances.c.report).where(instances.c.node == name))
    known = {row.name: row.report for row in rows}
    said = {one.instance: one.model_dump_json(exclude={"instance"}) for one in form.instances if one.instance in known}
    new = {instance: text for instance, text in said.items() if known[instance] != text}
    for instance, text in new.items():
        connection.execute(update(instances).where(instances.c.name == instance).values(report=text, reported=now))
    topics = ((HOSTING,) if differs else ()) + ((EDGE,) if new or was_lost else ())
    answer = models.NodeInstances(known=len(said))
    if not new and not was_lost:
        return Outcome(answer, topics=topics, is_kept=False)
    before = {instance: json.loads(known[instance]) if known[instance] else None for instance in sorted(new)}
    after = {instance: json.loads(text) for instance, text in sorted(new.items())}
    if was_lost:
        before["lost"], after["lost"] = True, False
    return Outcome(
        answer, Change("control:node:report-instances", f"node/{name}", before, after, topics), is_kept=False
    )


def on_node(connection: Connection, call: Call) -> Row[Any]:
    """The instance that a node's call is about, if it is that node's.

    Raises:
        ProblemError: no such instance is there.
    """
    row = connection.execute(
        select(instances).where(
            instances.c.name == call.parameters["instance"], instances.c.node == call.parameters["name"]
        )
    ).one_or_none()
    if row is None:
        raise not_found(f"instance {call.parameters['instance']} on {call.parameters['name']}")
    return row


def _wanted(served: Served, connection: Connection, row: Row[Any]) -> models.WantedInstance:
    key = sealed.known_key(served, connection, row.customer)
    return models.WantedInstance(
        instance=row.name,
        place=row.place,
        customer=row.customer,
        application=row.application,
        ordinal=row.ordinal,
        deployment=row.deployment,
        settings=row.settings,
        state="stopped" if row.held else row.state,
        digest=row.digest,
        size=row.size,
        description=description_of(connection, key, row.customer, row.application, row.deployment),
    )


# -- as operators see them -------------------------------------------------------------------------------------------


def list_instances(connection: Connection, _call: Call) -> models.Instances:
    """All instances."""
    rows = connection.execute(
        select(instances).order_by(instances.c.customer, instances.c.application, instances.c.ordinal)
    )
    return models.Instances(instances=[_shown(row) for row in rows])


def stop(connection: Connection, call: Call) -> Outcome:
    """Stop an instance, whatever its customer wants, until an operator lets it go."""
    return _changed(connection, call, "hold", held=1)


def start(connection: Connection, call: Call) -> Outcome:
    """Let an instance go that an operator stopped."""
    return _changed(connection, call, "release", held=0)


def move(served: Served, connection: Connection, call: Call) -> Outcome:
    """Move an instance to a node, or away from the one where it is: at once, or not at all."""
    row, form = _one(connection, call), call.body(models.MoveForm)
    if form.node is None and not row.node:
        raise conflict("not-placed", f"{row.name} has no place", WORDS.get(row.waits, ""))
    if form.node is not None and form.node == row.node:
        return Outcome(_shown(row))
    place, node = place_for(served, connection, row.name, form.node)
    return _changed(connection, call, "move", place=place, node=node, avoid=row.node, waits="")


def _one(connection: Connection, call: Call) -> Row[Any]:
    name = call.parameters["instance"]
    row = connection.execute(select(instances).where(instances.c.name == name)).one_or_none()
    if row is None:
        raise not_found(f"instance {name}")
    return row


def _changed(connection: Connection, call: Call, what: str, **values: object) -> Outcome:
    old = _one(connection, call)
    if all(getattr(old, name) == value for name, value in values.items()):
        return Outcome(_shown(old))
    report = {"report": "", "reported": 0} if "node" in values else {}
    connection.execute(
        update(instances).where(instances.c.name == old.name).values(changed=to_number(call.now), **values, **report)
    )
    new = _one(connection, call)
    change = Change(
        f"control:instance:{what}",
        f"instance/{new.name}",
        _told(old),
        _told(new),
        (*(topic_of(node) for node in sorted({old.node, new.node})), EDGE),
    )
    return Outcome(_shown(new), change)


def _told(row: Row[Any]) -> dict[str, Any]:
    return {**told(row.customer, row.application, row.place, row.node), "held": bool(row.held)}


def _shown(row: Row[Any]) -> models.Instance:
    return models.Instance(
        instance=row.name,
        customer=row.customer,
        application=row.application,
        ordinal=row.ordinal,
        deployment=row.deployment,
        state=row.state,
        held=bool(row.held),
        place=row.place,
        node=row.node,
        reason=WORDS.get(row.waits, ""),
        reported=json.loads(row.report)["state"] if row.report else "",
    )
