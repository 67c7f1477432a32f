"""Applications: deployed, scaled, stopped, taken back, removed; by their customer and nobody else."""

from __future__ import annotations

import json
from collections.abc import Container
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from ringfort.compute.application import Application, document, load
from ringfort.compute.bundle import Bundle, verify
from ringfort.compute.sealing import CustomerKey
from ringfort.control import application_models as models
from ringfort.control import sealed
from ringfort.control.application_tables import (
    applications,
    deployments,
    instances,
    log_pieces,
    public_certificates,
    public_names,
    settings,
)
from ringfort.control.calls import Call, Change, Outcome
from ringfort.control.clock import to_number, to_time
from ringfort.control.errors import ProblemError, conflict, not_found
from ringfort.control.hosting import WORDS, lost_nodes
from ringfort.control.operations import uploads
from ringfort.control.operations.arranging import EDGE, arrange, instances_of
from ringfort.control.problems import RefusedSoftwareError
from ringfort.control.serving import Served
from ringfort.control.state import State
from ringfort.errors import RingfortError

MOST_APPLICATIONS = 200
MOST_INSTANCES = 200
KEPT_DEPLOYMENTS = 10


def list_applications(connection: Connection, call: Call) -> models.Applications:
    """What a customer wants to run."""
    rows = connection.execute(
        select(applications).where(applications.c.customer == call.parameters["name"]).order_by(applications.c.name)
    )
    return models.Applications(applications=[_shown(connection, row) for row in rows])


def read_application(connection: Connection, call: Call) -> models.Application:
    """One of them."""
    return _shown(connection, known(connection, call))


def list_deployments(connection: Connection, call: Call) -> models.Deployments:
    """The versions that are kept, newest first."""
    known(connection, call)
    rows = connection.execute(
        select(deployments).where(*_mine(deployments, call)).order_by(deployments.c.number.desc())
    )
    shown = [
        models.Deployment(number=row.number, digest=row.digest, origin=row.origin, created=to_time(row.created))
        for row in rows
    ]
    return models.Deployments(deployments=shown)


# -- deploying -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verified:
    """Software that was verified, outside of any transaction: an upload that is whole never changes."""

    upload: str
    bundle: Bundle


def verify_software(served: Served, connection: Connection, call: Call) -> Verified:
    """Read the software whole, and find nothing wrong with it.

    Raises:
        ProblemError: it isn't here; or it is refused, with the reason's own code.
    """
    customer, form = call.parameters["name"], call.body(models.DeploymentForm)
    upload = uploads.one(connection, customer, form.upload)
    if upload.received != upload.size:
        message = f"{upload.received} of {upload.size} bytes of this software are here"
        raise conflict("upload-unfinished", message, "send the rest")
    key = sealed.known_key(served, connection, customer)
    try:
        bundle = verify(uploads.Stored(connection, key, upload), digest=upload.digest)
    except RingfortError as error:
        raise RefusedSoftwareError(error) from error
    if bundle.application.application != call.parameters["application"]:
        message = f"app.yaml is about {bundle.application.application}, not {call.parameters['application']}"
        raise ProblemError(422, "application-differs", message)
    return Verified(upload.name, bundle)


def deploy(served: Served, _state: State, connection: Connection, call: Call) -> Outcome:
    """Put software in force that was verified."""
    customer, name = call.parameters["name"], call.parameters["application"]
    verified = call.prepared
    assert isinstance(verified, Verified)
    upload = uploads.one(connection, customer, verified.upload)
    old = known_or_new(connection, call)
    wanted = verified.bundle.application
    _refuse_missing_secrets(connection, call, wanted)
    _claim_names(connection, call, wanted)
    key = sealed.known_key(served, connection, customer)
    count = wanted.instances.count if old.deployment == 0 else old.instances
    _refuse_too_many(connection, customer, name, count)
    number = _next(connection, call)
    said = json.dumps(document(wanted), sort_keys=True, separators=(",", ":")).encode()
    connection.execute(
        insert(deployments).values(
            customer=customer,
            application=name,
            number=number,
            upload=upload.name,
            digest=upload.digest,
            description=key.seal(sealed.description(name, number), said),
            origin=0,
            created=to_number(call.now),
            plan=_plan(wanted),
        )
    )
    return _in_force(connection, call, old, "deploy", {"deployment": number, "instances": count}, 201)


def roll_back(served: Served, _state: State, connection: Connection, call: Call) -> Outcome:
    """Put an earlier version in force again: as a new deployment, so that history only grows."""
    customer, name = call.parameters["name"], call.parameters["application"]
    old, form = known(connection, call), call.body(models.RollbackForm)
    earlier = select(deployments).where(*_mine(deployments, call), deployments.c.number != old.deployment)
    earlier = (
        earlier.where(deployments.c.number < old.deployment)
        if form.to is None
        else earlier.where(deployments.c.number == form.to)
    )
    target = connection.execute(earlier.order_by(deployments.c.number.desc()).limit(1)).first()
    if target is None:
        wanted = "before this one" if form.to is None else f"with the number {form.to}"
        raise conflict("no-such-deployment", f"no other deployment {wanted} is kept", "list those that are")
    key = sealed.known_key(served, connection, customer)
    said = key.open(sealed.description(name, target.number), target.description)
    _claim_names(connection, call, load(said))
    number = _next(connection, call)
    connection.execute(
        insert(deployments).values(
            customer=customer,
            application=name,
            number=number,
            upload=target.upload,
            digest=target.digest,
            description=key.seal(sealed.description(name, number), said),
            origin=target.number,
            created=to_number(call.now),
            plan=target.plan,
        )
    )
    return _in_force(connection, call, old, "roll-back", {"deployment": number}, 201)


def take_back(served: Served, connection: Connection, call: Call) -> Change | None:
    """Put the last version in force again that was healthy, after one that never was; None if there is none.

    It keeps its number, so that instances that still run it go on.
    """
    old = known(connection, call)
    mine = *_mine(deployments, call), deployments.c.number == old.reached_deployment
    target = connection.execute(select(deployments).where(*mine)).one_or_none()
    if target is None or target.number == old.deployment:
        return None
    key = sealed.known_key(served, connection, old.customer)
    _claim_names(connection, call, load(key.open(sealed.description(old.name, target.number), target.description)))
    return _in_force(connection, call, old, "take-back", {"deployment": target.number}).change


# -- how many, whether, and no more ----------------------------------------------------------------------------------


def scale(connection: Connection, call: Call) -> Outcome:
    """How many instances there are."""
    old, form = known(connection, call), call.body(models.ScaleForm)
    if old.instances == form.count:
        return Outcome(_shown(connection, old))
    _refuse_too_many(connection, old.customer, old.name, form.count)
    return _in_force(connection, call, old, "scale", {"instances": form.count})


def stop(connection: Connection, call: Call) -> Outcome:
    """Run it no more, and keep everything."""
    return _switched(connection, call, "stop", "stopped")


def start(connection: Connection, call: Call) -> Outcome:
    """Run it again."""
    return _switched(connection, call, "start", "running")


def remove(connection: Connection, call: Call) -> Outcome:
    """The end of an application: its software, settings and logs go."""
    customer, name = call.parameters["name"], call.parameters["application"]
    old = known(connection, call)
    answer, before = _shown(connection, old), _told(connection, old)
    connection.execute(delete(applications).where(applications.c.customer == customer, applications.c.name == name))
    topics = arrange(connection, to_number(call.now), customer, name)
    needed = list(connection.execute(select(deployments.c.upload).where(*_mine(deployments, call))).scalars())
    for table in (deployments, settings, public_names, log_pieces):
        connection.execute(delete(table).where(*_mine(table, call)))
    uploads.remove_unneeded(connection, needed)
    return Outcome(answer, Change("control:application:remove", _on(call), before, None, topics))


def close(connection: Connection, customer: str) -> tuple[str, ...]:
    """The end of all that a customer has; the topics of the nodes that should look."""
    sealed.forget(connection, customer)
    nodes = connection.execute(select(instances.c.node).where(instances.c.customer == customer).distinct()).scalars()
    topics = (*(f"instances:{node}" for node in sorted(nodes)), EDGE)
    for table in (instances, applications, deployments, settings, public_names, public_certificates, log_pieces):
        connection.execute(delete(table).where(table.c.customer == customer))
    uploads.remove_all(connection, customer)
    return topics


def names_of(connection: Connection, customer: str) -> list[str]:
    """Names of a customer's applications."""
    rows = connection.execute(select(applications.c.name).where(applications.c.customer == customer))
    return sorted(rows.scalars())


# -- common ----------------------------------------------------------------------------------------------------------


def known(connection: Connection, call: Call) -> Row[Any]:
    """The application that a call is about.

    Raises:
        ProblemError: there is none of that name.
    """
    row = _found(connection, call)
    if row is None:
        raise not_found(f"application {call.parameters['application']}")
    return row


def _found(connection: Connection, call: Call) -> Row[Any] | None:
    mine = applications.c.customer == call.parameters["name"], applications.c.name == call.parameters["application"]
    return connection.execute(select(applications).where(*mine)).one_or_none()


def known_or_new(connection: Connection, call: Call) -> Row[Any]:
    """The application that a call is about, begun if there is none of that name."""
    found = _found(connection, call)
    if found is not None:
        return found
    customer, now = call.parameters["name"], to_number(call.now)
    if len(names_of(connection, customer)) >= MOST_APPLICATIONS:
        raise conflict("too-many-applications", f"there are {MOST_APPLICATIONS} already")
    connection.execute(
        insert(applications).values(
            customer=customer,
            name=call.parameters["application"],
            state="running",
            deployment=0,
            instances=1,
            settings=0,
            created=now,
            changed=now,
            reached_deployment=0,
            reached_settings=0,
        )
    )
    return known(connection, call)


def description_in_force(connection: Connection, key: CustomerKey, row: Row[Any]) -> dict[str, Any]:
    """What the app.yaml of an application's version in force says; nothing before the first deployment."""
    return description_of(connection, key, row.customer, row.name, row.deployment)


def description_of(connection: Connection, key: CustomerKey, customer: str, name: str, number: int) -> dict[str, Any]:
    """What the app.yaml of a version says; nothing for version 0."""
    content = connection.execute(
        select(deployments.c.description).where(
            deployments.c.customer == customer, deployments.c.application == name, deployments.c.number == number
        )
    ).scalar()
    return {} if content is None else dict(json.loads(key.open(sealed.description(name, number), content)))


def _plan(wanted: Application) -> str:
    """What decides how a version is placed and updated; nothing of it is a secret."""
    health, resources = wanted.health, wanted.resources
    plan = {
        "minimum-healthy": wanted.instances.minimum_healthy,
        "update": wanted.domains.update,
        "fault": wanted.domains.fault,
        "cpu": resources.cpu,
        "memory": resources.memory,
        "disk": resources.disk,
        "ports": sorted({endpoint.port for endpoint in wanted.endpoints}),
    }
    return json.dumps(plan if health is None else {**plan, "start": health.start}, sort_keys=True)


def _next(connection: Connection, call: Call) -> int:
    last = connection.execute(select(func.max(deployments.c.number)).where(*_mine(deployments, call))).scalar()
    return (last or 0) + 1


def _switched(connection: Connection, call: Call, what: str, state: str) -> Outcome:
    old = known(connection, call)
    if old.state == state:
        return Outcome(_shown(connection, old))
    return _in_force(connection, call, old, what, {"state": state})


def _in_force(
    connection: Connection, call: Call, old: Row[Any], what: str, values: dict[str, Any], status: int = 200
) -> Outcome:
    before = _told(connection, old)
    mine = applications.c.customer == old.customer, applications.c.name == old.name
    connection.execute(update(applications).where(*mine).values(changed=to_number(call.now), **values))
    topics = arrange(connection, to_number(call.now), old.customer, old.name, keep_spare=what not in ("scale", "stop"))
    _prune(connection, call)
    new = known(connection, call)
    change = Change(f"control:application:{what}", _on(call), before, _told(connection, new), topics)
    return Outcome(_shown(connection, new), change, status)


def _prune(connection: Connection, call: Call) -> None:
    """Keep the last versions only, those that instances are told, the last one reached; and the software of these."""
    rows = connection.execute(
        select(deployments.c.number, deployments.c.upload)
        .where(*_mine(deployments, call))
        .order_by(deployments.c.number.desc())
    ).all()
    told = connection.execute(select(instances.c.deployment).where(*_mine(instances, call))).scalars()
    application = known(connection, call)
    needed = {*told, application.deployment, application.reached_deployment}
    old = [row for row in rows[KEPT_DEPLOYMENTS:] if row.number not in needed]
    if old:
        numbers = [row.number for row in old]
        connection.execute(delete(deployments).where(*_mine(deployments, call), deployments.c.number.in_(numbers)))
        uploads.remove_unneeded(connection, [row.upload for row in old])


def _refuse_missing_secrets(connection: Connection, call: Call, wanted: Application) -> None:
    there = set(
        connection.execute(select(settings.c.name).where(*_mine(settings, call), settings.c.kind == "secret")).scalars()
    )
    missing = [name for name in wanted.secrets if name not in there]
    if missing:
        hint = f"ringfort application secret set {wanted.application} {missing[0]}"
        raise conflict("secrets-missing", f"app.yaml needs secrets that are not set: {', '.join(missing)}", hint)


def _refuse_too_many(connection: Connection, customer: str, name: str, count: int) -> None:
    others = connection.execute(
        select(func.coalesce(func.sum(applications.c.instances), 0)).where(
            applications.c.customer == customer, applications.c.name != name
        )
    ).scalar_one()
    if others + count > MOST_INSTANCES:
        raise conflict("too-many-instances", f"with these, there would be more than {MOST_INSTANCES} instances")


def _claim_names(connection: Connection, call: Call, wanted: Application) -> None:
    """Take the public names that a version answers to, and let go of those that it doesn't."""
    names = {endpoint.public_name for endpoint in wanted.endpoints if endpoint.public_name}
    connection.execute(delete(public_names).where(*_mine(public_names, call)))
    taken = set(connection.execute(select(public_names.c.name).where(public_names.c.name.in_(names))).scalars())
    if taken:
        raise conflict("public-name-taken", f"another application answers to {', '.join(sorted(taken))}")
    for name in sorted(names):
        connection.execute(
            insert(public_names).values(
                name=name, customer=call.parameters["name"], application=call.parameters["application"]
            )
        )


def _mine(table: Any, call: Call) -> tuple[Any, Any]:  # noqa: ANN401  # any table with these columns
    return table.c.customer == call.parameters["name"], table.c.application == call.parameters["application"]


def _on(call: Call) -> str:
    return f"application/{call.parameters['name']}/{call.parameters['application']}"


def _digest(connection: Connection, row: Row[Any]) -> str:
    found = connection.execute(
        select(deployments.c.digest).where(
            deployments.c.customer == row.customer,
            deployments.c.application == row.name,
            deployments.c.number == row.deployment,
        )
    ).scalar()
    return found or ""


def _told(connection: Connection, row: Row[Any]) -> dict[str, Any]:
    return {
        "state": row.state,
        "deployment": row.deployment,
        "software": _digest(connection, row),
        "instances": row.instances,
        "settings": row.settings,
    }


def _shown(connection: Connection, row: Row[Any]) -> models.Application:
    names = connection.execute(
        select(public_names.c.name).where(
            public_names.c.customer == row.customer, public_names.c.application == row.name
        )
    ).scalars()
    lost = lost_nodes(connection)
    return models.Application(
        name=row.name,
        state=row.state,
        deployment=row.deployment,
        digest=_digest(connection, row),
        count=row.instances,
        settings=row.settings,
        changed=to_time(row.changed),
        public_names=sorted(names),
        instances=[_instance(one, lost) for one in instances_of(connection, row.customer, row.name)],
    )


def _instance(row: Row[Any], lost: Container[str]) -> models.RunningInstance:
    said = json.loads(row.report) if row.report else {}
    state: Any = said.get("state", "starting") if row.place else "waiting"
    is_lost = bool(row.node) and row.node in lost
    reason = WORDS.get(row.waits, "")
    return models.RunningInstance(
        instance=row.name,
        ordinal=row.ordinal,
        deployment=said.get("deployment", row.deployment),
        state="lost" if is_lost else state,
        held=bool(row.held),
        place=row.place,
        node=row.node,
        reason=f"its node gives no sign of life; {reason}" if is_lost and reason else reason,
    )
