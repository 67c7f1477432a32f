"""A change, whole: is it new, is the caller still trusted, the change itself, its audit record, its answer kept."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, Table, insert, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from ringfort.control.callers import Kind, serial_text
from ringfort.control.calls import Call, Outcome
from ringfort.control.clock import to_number
from ringfort.control.errors import ProblemError
from ringfort.control.problems import problem_bytes
from ringfort.control.recording import record
from ringfort.control.tables import customer_certificates, customers, idempotency, revisions, revocations

Operation = Callable[[Connection, Call], Outcome]


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer as it is sent. ``topics``: what changed; empty for an answer given before."""

    status: int
    body: bytes
    topics: tuple[str, ...] = ()
    repeated: bool = False


def fingerprint(secret: bytes, method: str, path: str, body: bytes) -> str:
    """What tells whether a key is used for the same call again; with a secret, it gives away no value in the body."""
    return hmac.digest(secret, b"\0".join((method.encode(), path.encode(), body)), "sha256").hex()


def perform(connection: Connection, call: Call, mark: str, operation: Operation) -> Answered:
    """Do ``operation`` in a transaction, or answer as before if this very call was done already.

    Raises:
        ProblemError: the key belongs to another call, the caller is no longer trusted, or the operation refuses.
    """
    scope = call.caller.identity
    kept = connection.execute(
        select(idempotency.c.fingerprint, idempotency.c.status, idempotency.c.body).where(
            idempotency.c.caller == scope, idempotency.c.key == call.key
        )
    ).one_or_none()
    _still_trusted(connection, call)
    if kept is not None:
        if kept.fingerprint != mark:
            raise ProblemError(
                422, "idempotency-key-reused", "this key was used for another call", "take a new key for each new call"
            )
        return Answered(kept.status, kept.body, repeated=True)
    outcome = operation(connection, call)
    topics = outcome.topics
    if outcome.change is not None:
        record(connection, call.caller, call.reason, call.key, outcome.change, call.now)
        topics = (*topics, *outcome.change.topics)
    bump(connection, topics)
    answered = _answered(outcome, topics)
    if not outcome.is_kept:
        return answered
    connection.execute(
        insert(idempotency).values(
            caller=scope,
            key=call.key,
            fingerprint=mark,
            status=answered.status,
            body=answered.body,
            at=to_number(call.now),
        )
    )
    return answered


def bump(connection: Connection, topics: Iterable[str]) -> None:
    """Let other controllers know that something about these topics changed."""
    for topic in sorted(set(topics)):
        changed = connection.execute(
            update(revisions).where(revisions.c.topic == topic).values(number=revisions.c.number + 1)
        )
        if not changed.rowcount:
            connection.execute(insert(revisions).values(topic=topic, number=1))


def insert_once(connection: Connection, table: Table, values: Mapping[str, object]) -> bool:
    """Insert one row unless one of the same key is there; whether it was inserted."""
    builder = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    key = next(iter(table.primary_key))
    once = builder(table).values(**values).on_conflict_do_nothing().returning(key)
    return connection.execute(once).first() is not None


def _answered(outcome: Outcome, topics: tuple[str, ...]) -> Answered:
    if outcome.refusal is not None:
        return Answered(outcome.refusal.status, problem_bytes(outcome.refusal), topics)
    body = outcome.answer.model_dump_json(by_alias=True).encode() if outcome.answer is not None else b""
    return Answered(outcome.status, body, topics)


def _still_trusted(connection: Connection, call: Call) -> None:
    """What is known in memory may be half a second old; a change must not be."""
    caller = call.caller
    if caller.kind is Kind.CUSTOMER:
        found = connection.execute(
            select(customers.c.name)
            .join(customer_certificates, customer_certificates.c.customer == customers.c.name)
            .where(customer_certificates.c.thumbprint == caller.thumbprint, customers.c.state == "active")
        ).scalar()
        trusted = found == caller.name
    else:
        revoked = connection.execute(
            select(revocations.c.serial).where(
                tuple_(revocations.c.authority, revocations.c.serial).in_(
                    [(caller.authority, caller.serial), (caller.issuer[0], serial_text(caller.issuer[1]))]
                )
            )
        ).scalar()
        trusted = revoked is None
    if not trusted:
        raise ProblemError(401, "certificate-revoked", "this certificate is no longer trusted", close=True)
