"""What instances write: sealed piece by piece, the last of it kept, read by its customer only."""

from __future__ import annotations

import json
from datetime import datetime

from sqlalchemy import Connection, delete, func, select

from ringfort.control import application_models as models
from ringfort.control import sealed
from ringfort.control.application_tables import log_pieces
from ringfort.control.calls import Call, Outcome
from ringfort.control.operations.applications import known
from ringfort.control.operations.instances import on_node
from ringfort.control.performing import insert_once
from ringfort.control.serving import Served

MOST_BYTES = 8 * 1024 * 1024
"""Of an application's log; what is older goes."""


def topic_of(customer: str, application: str) -> str:
    """What changes when an application writes something."""
    return f"log:{customer}/{application}"


def read_log(served: Served, connection: Connection, call: Call) -> models.LogLines:
    """Lines from a piece on."""
    query = call.asked(models.LogQuery)
    row = known(connection, call)
    mine = log_pieces.c.customer == row.customer, log_pieces.c.application == row.name
    start = query.start
    if query.last and not start:
        numbers = select(log_pieces.c.number).where(*mine).order_by(log_pieces.c.number.desc()).limit(query.last)
        start = min(connection.execute(numbers).scalars(), default=0)
    pieces = connection.execute(
        select(log_pieces).where(*mine, log_pieces.c.number >= start).order_by(log_pieces.c.number).limit(query.limit)
    ).all()
    if not pieces:
        return models.LogLines(lines=[], next=start)
    key = sealed.known_key(served, connection, row.customer)
    lines = [
        models.LogLine(instance=piece.instance, at=datetime.fromisoformat(at), text=text)
        for piece in pieces
        for at, text in json.loads(key.open(sealed.log(row.name, piece.instance), piece.content))
    ]
    return models.LogLines(lines=lines, next=pieces[-1].number + 1)


def has_news(query: models.LogQuery, answer: models.LogLines) -> bool:
    """Whether an answer is given at once."""
    return bool(answer.lines) or not query.wait


def add_lines(served: Served, connection: Connection, call: Call) -> Outcome:
    """Keep what an instance wrote. It is an observation, no change: it has no record, like the hour a node was seen."""
    instance = on_node(connection, call)
    form = call.body(models.LogForm)
    key = sealed.known_key(served, connection, instance.customer)
    said = json.dumps([[line.at.isoformat(), line.text] for line in form.lines]).encode()
    content = key.seal(sealed.log(instance.application, instance.name), said)
    piece = {
        "customer": instance.customer,
        "application": instance.application,
        "instance": instance.name,
        "key": call.key,
        "size": len(content),
        "content": content,
    }
    is_new = insert_once(connection, log_pieces, piece)
    if is_new:
        _cut(connection, instance.customer, instance.application)
    topics = (topic_of(instance.customer, instance.application),) if is_new else ()
    return Outcome(models.Logged(lines=len(form.lines)), topics=topics, is_kept=False)


def _cut(connection: Connection, customer: str, application: str) -> None:
    """Let the oldest pieces go when there is too much; a tenth at once, so that it is seldom."""
    mine = log_pieces.c.customer == customer, log_pieces.c.application == application
    size = connection.execute(select(func.coalesce(func.sum(log_pieces.c.size), 0)).where(*mine)).scalar_one()
    if size <= MOST_BYTES:
        return
    rows = connection.execute(select(log_pieces.c.number, log_pieces.c.size).where(*mine).order_by(log_pieces.c.number))
    for row in rows:
        size -= row.size
        last = row.number
        if size <= MOST_BYTES * 9 // 10:
            break
    connection.execute(delete(log_pieces).where(*mine, log_pieces.c.number <= last))
