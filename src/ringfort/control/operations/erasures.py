"""Erasing personal values: the log keeps its commitments, and what opens them goes, at every controller."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sqlalchemy import Connection, delete, select, update

from ringfort.audit.erasing import hidden_in
from ringfort.audit.keeping import Keeping
from ringfort.audit.records import parse_body
from ringfort.control import models
from ringfort.control.calls import Call, Change, Outcome
from ringfort.control.errors import ProblemError, not_found
from ringfort.control.performing import insert_once
from ringfort.control.recording import openings_in, openings_text, value_digest
from ringfort.control.serving import Served
from ringfort.control.tables import audit_records, erasures, personal_values


def erase(served: Served, connection: Connection, call: Call) -> Outcome:
    """Note what may no longer be kept, and drop it where it waits for the log; `AuditPublisher` erases it beside it."""
    form = call.body(models.ErasureForm)
    if not form.values and not form.records:
        raise ProblemError(422, "invalid", "say what to erase: values, records, or both")
    meant = {*_of_records(connection, form.records), *_of_values(served, connection, form.values)}
    new = sorted(one for one in meant if insert_once(connection, erasures, {"commitment": one}))
    _drop(connection, frozenset(meant))
    if not new:
        return Outcome(models.Erasure(erased=0))
    change = Change("control:audit:erase", "audit/personal-values", None, {"commitments": new}, ())
    return Outcome(models.Erasure(erased=len(new)), change, 201)


def _of_records(connection: Connection, records: Iterable[int]) -> Iterator[str]:
    for number in records:
        body = connection.execute(select(audit_records.c.body).where(audit_records.c.sequence == number)).scalar()
        if body is None:
            raise not_found(f"record {number}")
        yield from (mark.commitment for mark in hidden_in(parse_body(body)) if mark.personal)


def _of_values(served: Served, connection: Connection, values: Iterable[str]) -> Iterator[str]:
    wanted = frozenset(values)
    if not wanted:
        return
    digests = [value_digest(value) for value in wanted]
    yield from connection.execute(
        select(personal_values.c.commitment).where(personal_values.c.digest.in_(digests))
    ).scalars()
    if (
        served.log is not None and (served.log / "private").is_dir()
    ):  # what was carried there before there was the table
        with Keeping(served.log / "private") as keeping:
            for value in wanted:
                yield from keeping.holding(value)


def _drop(connection: Connection, commitments: frozenset[str]) -> None:
    """What has not been carried to the log yet is not to arrive there, and nothing is to be found by the values."""
    for one in commitments:
        connection.execute(delete(personal_values).where(personal_values.c.commitment == one))
    waiting = select(audit_records.c.sequence, audit_records.c.openings).where(audit_records.c.openings != "")
    for row in connection.execute(waiting).all():
        openings = openings_in(row.openings)
        rest = [opening for opening in openings if opening.commitment not in commitments]
        if len(rest) < len(openings):
            this = audit_records.c.sequence == row.sequence
            connection.execute(update(audit_records).where(this).values(openings=openings_text(rest)))
