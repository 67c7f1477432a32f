"""Events: what happened and somebody should know."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, select

from ringfort.control import models
from ringfort.control.calls import Call
from ringfort.control.clock import to_number, to_time
from ringfort.control.performing import insert_once
from ringfort.control.tables import events


def add_event(connection: Connection, source: str, event: models.ReportedEvent) -> bool:
    """Keep an event; whether it is new."""
    detail: Mapping[str, Any] = event.detail
    return insert_once(
        connection,
        events,
        {
            "source": source,
            "key": event.key,
            "at": to_number(event.at),
            "kind": event.kind,
            "severity": event.severity,
            "subject": event.subject,
            "detail": json.dumps(detail),
        },
    )


def list_events(connection: Connection, call: Call) -> models.Events:
    """Events from a number on."""
    query = call.asked(models.EventQuery)
    rows = connection.execute(
        select(events).where(events.c.number >= query.start).order_by(events.c.number).limit(query.limit)
    ).all()
    following = rows[-1].number + 1 if len(rows) == query.limit else None
    return models.Events(events=[_event(row) for row in rows], next=following)


def _event(row: Row[Any]) -> models.Event:
    return models.Event(
        number=row.number,
        source=row.source,
        at=to_time(row.at),
        kind=row.kind,
        severity=row.severity,
        subject=row.subject,
        detail=json.loads(row.detail),
    )
