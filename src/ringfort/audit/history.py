"""The versions of an object, each with its author and what it changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ringfort.audit.canonical import canonical
from ringfort.audit.errors import AuditError
from ringfort.audit.personal import Hidden
from ringfort.audit.records import Record, State, Value, parse_body
from ringfort.audit.sealing import unseal

LONGEST_SHOWN = 200
"""Characters of one value in a difference."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A record with its place in the log."""

    index: int
    record: Record


@dataclass(frozen=True, slots=True)
class Version:
    """What a record did to its object.

    Args:
        difference: a line for each value that was added (``+``), removed (``-``) or changed (``~``).
        gap: whether the object was not, before, what the last record left.
    """

    entry: Entry
    difference: tuple[str, ...]
    gap: bool


def read_entry(leaf: bytes) -> Entry:
    """The record in a leaf.

    Raises:
        AuditError: it holds none.
    """
    sealed = unseal(leaf)
    return Entry(sealed.index, parse_body(sealed.body))


def maybe_on(leaf: bytes, on: str) -> bool:
    """Whether a leaf can be of a record on an object; quick, and sometimes true for nothing."""
    return b'"on":' + canonical(on) in leaf


def versions(entries: Sequence[Entry]) -> Iterator[Version]:
    """The versions of one object, oldest first."""
    left: State | None = None
    for number, entry in enumerate(entries):
        record = entry.record
        gap = number > 0 and _identity(left) != _identity(record.before)
        yield Version(entry, tuple(difference(record.before, record.after)), gap)
        left = record.after


def _identity(state: State | None) -> str:
    return "" if state is None else state.digest


def difference(before: State | None, after: State | None) -> Iterator[str]:
    """The difference of two states, for people."""
    hashed = [state for state in (before, after) if state is not None and not state.known]
    if hashed:
        old, new = (_hash(state) for state in (before, after))
        yield f"~ {old} -> {new} (only the hash is recorded)"
        return
    old_values = {} if before is None else dict(flattened(before.value))
    new_values = {} if after is None else dict(flattened(after.value))
    for path in sorted({*old_values, *new_values}):
        name = path or "value"
        if path not in new_values:
            yield f"- {name}: {old_values[path]}"
        elif path not in old_values:
            yield f"+ {name}: {new_values[path]}"
        elif old_values[path] != new_values[path]:
            yield f"~ {name}: {old_values[path]} -> {new_values[path]}"


def _hash(state: State | None) -> str:
    return "nothing" if state is None else state.digest[: len("sha256:") + 12]


def flattened(value: Value, path: str = "") -> Iterator[tuple[str, str]]:
    """Each single value inside a value, with its path."""
    match value:
        case Mapping() if value:
            for name, item in value.items():
                yield from flattened(item, f"{path}.{name}" if path else name)
        case list() | tuple() if value:
            for number, item in enumerate(value):
                yield from flattened(item, f"{path}[{number}]")
        case _:
            yield path, shown(value)


def shown(value: Value) -> str:
    """A single value, for people."""
    if isinstance(value, Hidden):
        return str(value)
    try:
        text = canonical(value).decode()  # type: ignore[arg-type]  # anything else is refused
    except AuditError:
        text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."
