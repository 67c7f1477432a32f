"""Nodes: who they are, how they come in, what they report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from ringfort.control import models
from ringfort.control.callers import Caller
from ringfort.control.calls import Call, Change, Outcome
from ringfort.control.clock import to_number, to_time
from ringfort.control.errors import ProblemError, conflict, not_found
from ringfort.control.operations.events import add_event
from ringfort.control.operations.revocations import revoke_all_of
from ringfort.control.ports import Authority, Issued
from ringfort.control.recording import digest
from ringfort.control.serving import Served
from ringfort.control.tables import certificates, enrolment_tokens, nodes, sightings

LEAF_LIFETIME = timedelta(hours=24)


def list_nodes(connection: Connection, _call: Call) -> models.Nodes:
    """All nodes."""
    rows = connection.execute(_nodes().order_by(nodes.c.name))
    return models.Nodes(nodes=[_node(row) for row in rows])


def read_node(connection: Connection, call: Call) -> models.Node:
    """One node."""
    row = connection.execute(_nodes().where(nodes.c.name == call.parameters["name"])).one_or_none()
    if row is None:
        raise not_found(f"node {call.parameters['name']}")
    return _node(row)


def make_token(authority: Authority, connection: Connection, call: Call) -> Outcome:
    """A one-time token for a machine."""
    form = call.body(models.EnrolmentTokenForm)
    addresses = [str(address) for address in form.addresses]
    known = connection.execute(select(nodes.c.site).where(nodes.c.name == form.node)).scalar()
    if known is not None and known != form.site:
        raise conflict("node-elsewhere", f"node {form.node} belongs to site {known}")
    line, issued = authority.token(form.site, form.node, addresses, call.now, form.minutes)
    _keep_certificate(connection, issued, form.node, "token")
    connection.execute(
        insert(enrolment_tokens).values(
            authority=issued.authority,
            serial=issued.serial,
            node=form.node,
            site=form.site,
            addresses=json.dumps(addresses),
            expires=to_number(issued.expires),
        )
    )
    after = {"serial": issued.serial, "site": form.site, "addresses": addresses, "expires": issued.expires.isoformat()}
    return Outcome(
        models.EnrolmentToken(node=form.node, token=line, serial=issued.serial, expires=issued.expires),
        Change("control:enrolment-token:create", f"node/{form.node}", None, after, ()),
        201,
    )


def enrol(authority: Authority, connection: Connection, call: Call) -> Outcome:
    """A machine shows its token and becomes a node; the token is used up.

    What was issued for the machine before is trusted no longer, its services' certificates included: whoever enrols a
    machine anew may do so because somebody has had its disk.
    """
    caller = call.caller
    token = connection.execute(select(enrolment_tokens).where(*_of(enrolment_tokens, caller))).one_or_none()
    if token is None or token.node != caller.name:
        raise ProblemError(403, "token-unknown", "this token was not made here")
    if token.used is not None:
        return _reused(connection, call, token)
    addresses = json.loads(token.addresses)
    csr = call.body(models.SigningForm).csr
    issued = authority.issue(token.site, "node", token.node, addresses, csr, call.now, LEAF_LIFETIME)
    ended = revoke_all_of(connection, token.node, call.now)
    _keep_certificate(connection, issued, token.node, "leaf")
    connection.execute(update(enrolment_tokens).where(*_of(enrolment_tokens, caller)).values(used=to_number(call.now)))
    before = connection.execute(select(nodes).where(nodes.c.name == token.node)).one_or_none()
    values = {
        "site": token.site,
        "state": "active",
        "addresses": token.addresses,
        "enrolled": to_number(call.now),
        "serial": issued.serial,
        "expires": to_number(issued.expires),
    }
    if before is None:
        connection.execute(insert(nodes).values(name=token.node, report="", **values))
    else:
        connection.execute(update(nodes).where(nodes.c.name == token.node).values(**values))
    change = Change(
        "control:node:enrol",
        f"node/{token.node}",
        None if before is None else _told(dict(before._mapping)),
        _told({"addresses": token.addresses, **values}) | ({"revoked": ended} if ended else {}),
        ("enrolments", "nodes", *(("revocations",) if ended else ())),
    )
    return Outcome(_certificate(issued), change, 201)


def renew(served: Served, connection: Connection, call: Call) -> Outcome:
    """A node's certificate for the next hours, or one of a service that it serves."""
    name = call.parameters["name"]
    node = connection.execute(select(nodes).where(nodes.c.name == name)).one_or_none()
    if node is None or node.state != "active":
        raise ProblemError(403, "node-revoked", f"{name} is no node that may renew", "enrol it again")
    form = call.body(models.SigningForm)
    own = form.identity in (None, call.caller.identity)
    if own:
        role, subject, addresses = "node", name, tuple(json.loads(node.addresses))
    else:
        role, subject, addresses = served.identity(connection, name, str(form.identity))
    issued = served.authority.issue(node.site, role, subject, addresses, form.csr, call.now, LEAF_LIFETIME)
    _keep_certificate(connection, issued, name, "leaf")
    before = {"serial": node.serial} if own else None
    topics: tuple[str, ...] = ()
    if own:
        values = {"serial": issued.serial, "expires": to_number(issued.expires)}
        connection.execute(update(nodes).where(nodes.c.name == name).values(**values))
        topics = ("nodes",)
    after = {"identity": issued.identity, "serial": issued.serial, "expires": issued.expires.isoformat()}
    return Outcome(_certificate(issued), Change("control:node:renew", f"node/{name}", before, after, topics), 201)


def report(version: int, connection: Connection, call: Call) -> Outcome:
    """What a node is at. Only what differs from its last report is a change; that it still lives is none."""
    name, form = call.parameters["name"], call.body(models.ReportForm)
    node = connection.execute(select(nodes.c.report).where(nodes.c.name == name)).one_or_none()
    if node is None:
        raise not_found(f"node {name}")
    _seen(connection, name, to_number(call.now))
    new = [event for event in form.events if add_event(connection, f"node:{name}", event)]
    said = form.model_dump_json(exclude={"events"})
    answer = models.Reported(version=version, events=len(new))
    before = json.loads(node.report) if node.report else None
    after = json.loads(said)
    same = before is not None and _essence(before) == _essence(after)
    connection.execute(update(nodes).where(nodes.c.name == name).values(report=said))
    if same and not new:
        return Outcome(answer, topics=("nodes",))
    told = {"events": [{"key": event.key, "kind": event.kind, "subject": event.subject} for event in new]}
    change = Change(
        "control:node:report",
        f"node/{name}",
        _essence(before) if before is not None else None,
        {**_essence(after), **told},
        ("nodes", "events") if new else ("nodes",),
    )
    return Outcome(answer, change)


def _essence(said: Mapping[str, Any]) -> dict[str, Any]:
    """What of a report is a change when it differs: not the counters, which always do."""
    kept = {name: said[name] for name in ("version", "state", "digest", "software")}
    return {**kept, "devices": digest(json.dumps(said["devices"], sort_keys=True).encode())}


def _seen(connection: Connection, name: str, now: int) -> None:
    done = connection.execute(update(sightings).where(sightings.c.node == name).values(seen=now))
    if not done.rowcount:
        connection.execute(insert(sightings).values(node=name, seen=now))


def _reused(connection: Connection, call: Call, token: Row[Any]) -> Outcome:
    event = models.ReportedEvent(
        key=f"{token.serial[:40]}:{call.key}"[:100],
        at=call.now,
        kind="enrolment-token-reused",
        severity="alert",
        subject=f"node:{token.node}",
        detail={"serial": token.serial, "from": call.caller.address, "used": to_time(token.used).isoformat()},
    )
    add_event(connection, "controller", event)
    change = Change(
        "control:enrolment-token:refuse-reuse",
        f"node/{token.node}",
        None,
        {"serial": token.serial, "used": to_time(token.used).isoformat()},
        ("events",),
    )
    refusal = ProblemError(
        403,
        "token-used",
        f"the token for {token.node} was used already",
        "somebody may have had it before: look into it",
    )
    return Outcome(None, change, refusal=refusal)


def _nodes() -> Any:  # noqa: ANN401  # a Select of many columns
    return select(nodes, sightings.c.seen).join(sightings, sightings.c.node == nodes.c.name, isouter=True)


def _node(row: Row[Any]) -> models.Node:
    return models.Node(
        name=row.name,
        site=row.site,
        state=row.state,
        addresses=json.loads(row.addresses),
        enrolled=to_time(row.enrolled),
        serial=row.serial,
        expires=to_time(row.expires),
        seen=None if row.seen is None else to_time(row.seen),
        report=models.ReportForm.model_validate_json(row.report) if row.report else None,
    )


def _told(values: dict[str, Any]) -> dict[str, Any]:
    return {
        "state": values["state"],
        "site": values["site"],
        "addresses": json.loads(values["addresses"]),
        "serial": values["serial"],
        "expires": to_time(values["expires"]).isoformat(),
    }


def _of(table: Any, caller: Caller) -> tuple[Any, Any]:  # noqa: ANN401  # any table with these columns
    return table.c.authority == caller.authority, table.c.serial == caller.serial


def _keep_certificate(connection: Connection, issued: Issued, node: str, purpose: str) -> None:
    connection.execute(
        insert(certificates).values(
            authority=issued.authority,
            serial=issued.serial,
            identity=issued.identity,
            node=node,
            purpose=purpose,
            expires=to_number(issued.expires),
        )
    )


def _certificate(issued: Issued) -> models.Certificate:
    return models.Certificate(
        identity=issued.identity, chain=issued.chain, serial=issued.serial, expires=issued.expires
    )
