"""Personal values beside a log: find them, show them, erase them, and note that they were erased."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from ringfort.audit.errors import AuditError
from ringfort.audit.history import Entry
from ringfort.audit.keeping import FILE, Keeping
from ringfort.audit.log import Log
from ringfort.audit.personal import Hidden
from ringfort.audit.records import Record, opened, parse_body

NOTES = "erasures"
"""Beside the log: a line of JSON for each erasure. The commitments are in it, the values are not."""


def commitments_of(directory: Path, values: Sequence[str], records: Sequence[int]) -> list[str]:
    """The commitments to personal values, and those in records.

    Raises:
        AuditError: there is no log, or no such record.
    """
    found: list[str] = []
    with Log(directory) as log, Keeping(log.private) as keeping:
        for value in values:
            found += keeping.holding(value)
        for index in records:
            bodies = log.bodies(index, index + 1)
            if not bodies:
                raise AuditError("audit-no-such-record", f"there is no record {index} among {log.size}")
            present = [mark.commitment for mark in hidden_in(parse_body(bodies[0])) if mark.personal]
            kept = keeping.values(present)
            found += [commitment for commitment in present if commitment in kept]
    return list(dict.fromkeys(found))


def erase(directory: Path, commitments: Sequence[str], why: str, now: datetime) -> int:
    """Erase, and note it durably first; gives how many there were.

    Raises:
        AuditError: there is no log, or the disk takes nothing.
    """
    with Log(directory) as log, Keeping(log.private) as keeping:
        note = {"at": now.isoformat(), "why": why, "commitments": list(commitments)}
        file = os.open(log.private / NOTES, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(file, json.dumps(note).encode() + b"\n")
            os.fsync(file)
        finally:
            os.close(file)
        return keeping.erase(commitments)


def opened_beside(directory: Path, entry: Entry) -> Entry:
    """A record with the personal values that are still kept beside the log.

    Raises:
        AuditError: they are not here: ``directory`` is no log's own.
    """
    if not (directory / "private").is_dir():
        raise AuditError("audit-personal", f"personal values are not in {directory}", "give the log's own directory")
    if not (directory / "private" / FILE).exists():
        return entry
    with Keeping(directory / "private") as keeping:
        values = keeping.values(mark.commitment for mark in hidden_in(entry.record))
    return Entry(entry.index, opened(entry.record, values))


def hidden_in(record: Record) -> Iterator[Hidden]:
    """Every concealed value of a record."""
    states = [state.value for state in (record.before, record.after) if state is not None]
    yield from _hidden([record.who, record.why, record.origin, *states])


def _hidden(value: Any) -> Iterator[Hidden]:  # noqa: ANN401  # any value of a record
    match value:
        case Hidden():
            yield value
        case Mapping():
            for item in value.values():
                yield from _hidden(item)
        case list() | tuple():
            for item in value:
                yield from _hidden(item)
