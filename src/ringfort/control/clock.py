"""Times as the tables keep them: microseconds since 1970, UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def now() -> datetime:
    """The time; the only place in this package that asks for it."""
    return datetime.now(UTC)


def to_number(time: datetime) -> int:
    """A time as the tables keep it."""
    return (time - EPOCH) // _MICROSECOND


def to_time(number: int) -> datetime:
    """And back."""
    return EPOCH + number * _MICROSECOND
