"""Audit records of changes, written in the transaction of the change."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select

from ringfort.audit.canonical import Json, canonical
from ringfort.audit.personal import SALT_BYTES, Opening, Personal
from ringfort.audit.records import Action, Record, State, Text
from ringfort.control.callers import Caller, Kind
from ringfort.control.calls import Change
from ringfort.control.clock import to_number
from ringfort.control.tables import audit_records, personal_values

_PEOPLE = (Kind.OPERATOR, Kind.CUSTOMER)


def record(connection: Connection, caller: Caller, reason: str, request: str, change: Change, now: datetime) -> int:
    """Write the record of a change; its number is its leaf's index in the log.

    Numbers have no gaps, because writers take turns (`Database.writing`) and a change that is undone undoes its record.
    """
    last = connection.execute(select(func.max(audit_records.c.sequence))).scalar()
    sequence = 0 if last is None else last + 1
    written = Record(
        when=now,
        who=_personal(caller.identity, caller.kind is Kind.OPERATOR),
        authenticated=caller.authenticated,
        action=Action.parse(change.action),
        on=change.on,
        before=_state(change.before),
        after=_state(change.after),
        why=reason,
        origin=_personal(caller.address, caller.kind in _PEOPLE),
        request=request,
    )
    concealed = written.conceal(os.urandom(SALT_BYTES))
    connection.execute(
        insert(audit_records).values(
            sequence=sequence,
            at=to_number(now),
            object=change.on,
            action=change.action,
            body=concealed.body,
            openings=openings_text(concealed.openings),
        )
    )
    for opening in concealed.openings:
        connection.execute(
            insert(personal_values).values(commitment=opening.commitment, digest=value_digest(opening.value))
        )
    return sequence


def value_digest(value: Json) -> str:
    """By what a personal value is found again."""
    return hashlib.sha256(canonical(value)).hexdigest()


def digest(content: bytes) -> str:
    """How content that is too long, or secret, stands in a record."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def openings_text(openings: Sequence[Opening]) -> str:
    """Openings as the table keeps them; "" for none."""
    if not openings:
        return ""
    return json.dumps([[opening.commitment, opening.salt.hex(), opening.value] for opening in openings])


def openings_in(text: str) -> tuple[Opening, ...]:
    """And back."""
    if not text:
        return ()
    return tuple(Opening(commitment, bytes.fromhex(salt), value) for commitment, salt, value in json.loads(text))


def _personal(text: str, person: bool) -> Text:
    """What tells of a person is concealed in the log, and can be erased."""
    return Personal(text) if person else text


def _state(values: Mapping[str, Any] | None) -> State | None:
    return None if values is None else State(values)
