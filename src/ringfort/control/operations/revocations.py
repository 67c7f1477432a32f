"""Certificates that are no longer trusted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import Connection, Row, select, update

from ringfort.control import lists, models
from ringfort.control.calls import Call, Change, Outcome
from ringfort.control.clock import to_number, to_time
from ringfort.control.errors import ProblemError, not_found
from ringfort.control.performing import insert_once
from ringfort.control.tables import certificates, nodes, revocations


def list_revocations(connection: Connection, _call: Call) -> models.Revocations:
    """All of them."""
    rows = connection.execute(select(revocations).order_by(revocations.c.revoked, revocations.c.serial))
    return models.Revocations(revocations=[_revocation(row) for row in rows])


def fetch_lists(connection: Connection, _call: Call) -> bytes:
    """The signed lists of all authorities that are known, in PEM: a CRL file as HAProxy and OpenSSL take it."""
    return b"".join(crl.public_bytes(Encoding.PEM) for crl in lists.stored(connection).values())


def revoke(connection: Connection, call: Call) -> Outcome:
    """Trust a certificate, or all that were issued here for an identity, no longer; a node then has to enrol again."""
    form = call.body(models.RevocationForm)
    now = to_number(call.now)
    named = _named(connection, form, now)
    new = [
        serial
        for authority, serial, identity in named
        if insert_once(
            connection,
            revocations,
            {"authority": authority, "serial": serial, "identity": identity, "reason": form.reason, "revoked": now},
        )
    ]
    stopped = _stop_node(connection, form.identity) if form.identity else False
    answer = list_revocations(connection, call)
    if not new and not stopped:
        return Outcome(answer)
    after = {"serials": sorted(new), "reason": form.reason}
    on = form.identity or _identity(connection, form) or f"certificate/{form.serial}"
    topics = ("revocations", "nodes", "enrolments")
    return Outcome(answer, Change("control:certificate:revoke", _object(on), None, after, topics), 201)


def revoke_all_of(connection: Connection, node: str, now: datetime) -> list[str]:
    """Revoke what was issued for a node and its hosts' services, and is still valid; the serial numbers, sorted."""
    rows = connection.execute(
        select(certificates.c.authority, certificates.c.serial, certificates.c.identity).where(
            certificates.c.node == node, certificates.c.purpose == "leaf", certificates.c.expires > to_number(now)
        )
    )
    return sorted(
        row.serial
        for row in rows.all()
        if insert_once(
            connection,
            revocations,
            {
                "authority": row.authority,
                "serial": row.serial,
                "identity": row.identity,
                "reason": "the machine was enrolled anew",
                "revoked": to_number(now),
            },
        )
    )


def _named(connection: Connection, form: models.RevocationForm, now: int) -> Sequence[tuple[str, str, str]]:
    """Authority, serial and identity of each certificate that is meant."""
    if form.authority is not None and form.serial is not None and form.identity is None:
        return [(form.authority, form.serial, _identity(connection, form))]
    if form.authority is None and form.serial is None and form.identity is not None:
        return _issued(connection, form, now)
    raise ProblemError(422, "invalid", "name either an identity, or authority and serial")


def _identity(connection: Connection, form: models.RevocationForm) -> str:
    found = connection.execute(
        select(certificates.c.identity).where(
            certificates.c.authority == form.authority, certificates.c.serial == form.serial
        )
    ).scalar()
    return found or ""


def _issued(connection: Connection, form: models.RevocationForm, now: int) -> Sequence[tuple[str, str, str]]:
    rows = connection.execute(
        select(certificates.c.authority, certificates.c.serial, certificates.c.identity).where(
            certificates.c.identity == form.identity, certificates.c.expires > now
        )
    ).all()
    if not rows:
        raise not_found(f"certificate issued here for {form.identity} that is still valid")
    return [(row.authority, row.serial, row.identity) for row in rows]


def _stop_node(connection: Connection, identity: str) -> bool:
    """Let a node whose identity is revoked renew no more."""
    _, _, path = identity.partition("://")
    _, role, name = path.split("/")
    if role != "node":
        return False
    done = connection.execute(
        update(nodes).where(nodes.c.name == name, nodes.c.state == "active").values(state="revoked")
    )
    return bool(done.rowcount)


def _object(identity: str) -> str:
    """``spiffe://DOMAIN/node/web-1`` is known as ``node/web-1`` everywhere else."""
    if not identity.startswith("spiffe://"):
        return identity
    role, name = identity.split("/")[3:5]
    return f"{role}/{name}"


def _revocation(row: Row[Any]) -> models.Revocation:
    return models.Revocation(
        authority=row.authority,
        serial=row.serial,
        identity=row.identity,
        reason=row.reason,
        revoked=to_time(row.revoked),
    )
