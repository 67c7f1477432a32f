"""Audit records as the database keeps them, and the files of the log as they are."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, Row, select

from ringfort.audit.canonical import Json
from ringfort.audit.keeping import Keeping
from ringfort.audit.personal import Hidden
from ringfort.audit.records import opened, parse_body
from ringfort.control import models
from ringfort.control.calls import Call
from ringfort.control.clock import to_time
from ringfort.control.errors import not_found
from ringfort.control.recording import openings_in
from ringfort.control.serving import Served
from ringfort.control.tables import audit_records


def list_records(served: Served, connection: Connection, call: Call) -> models.AuditRecords:
    """Records from a number on, of one object if asked."""
    query = call.asked(models.AuditQuery)
    wanted = select(audit_records).where(audit_records.c.sequence >= query.start)
    if query.object:
        wanted = wanted.where(audit_records.c.object == query.object)
    rows = connection.execute(wanted.order_by(audit_records.c.sequence).limit(query.limit)).all()
    following = rows[-1].sequence + 1 if len(rows) == query.limit else None
    return models.AuditRecords(records=[_record(served, row) for row in rows], next=following)


def read_record(served: Served, connection: Connection, call: Call) -> models.AuditRecord:
    """One record."""
    number = int(call.parameters["sequence"])
    row = connection.execute(select(audit_records).where(audit_records.c.sequence == number)).one_or_none()
    if row is None:
        raise not_found(f"record {number}")
    return _record(served, row)


def fetch_file(served: Served, _connection: Connection, call: Call) -> bytes:
    """A file of the log: its checkpoint, a tile, a bundle of entries."""
    name = call.parameters["path"]
    public = None if served.log is None else (served.log / "public").resolve()
    if public is None or not (path := (public / name).resolve()).is_relative_to(public) or not path.is_file():
        raise not_found(f"file {name} in the log")
    return path.read_bytes()


def _record(served: Served, row: Row[Any]) -> models.AuditRecord:
    known: dict[str, Json] = {opening.commitment: opening.value for opening in openings_in(row.openings)}
    record = parse_body(row.body)
    hidden = [text.commitment for text in (record.who, record.origin) if isinstance(text, Hidden)]
    if served.log is not None and not known and hidden and (served.log / "private").is_dir():
        with Keeping(served.log / "private") as keeping:
            known = dict(keeping.values(hidden))
    shown = opened(record, known)
    return models.AuditRecord(
        sequence=row.sequence,
        at=to_time(row.at),
        object=row.object,
        action=row.action,
        who=shown.who if isinstance(shown.who, str) else None,
        origin=shown.origin if isinstance(shown.origin, str) else None,
        record=json.loads(row.body),
    )
