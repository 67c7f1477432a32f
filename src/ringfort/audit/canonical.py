"""One spelling for each JSON value (RFC 8785, without fractions), so that equal values have equal hashes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from ringfort.audit.errors import AuditError

Json: TypeAlias = "bool | int | str | Sequence[Json] | Mapping[str, Json] | None"

EXACT_INTEGER = 2**53 - 1
"""The largest integer that every JSON reader keeps exactly (RFC 7493, section 2.2)."""

MOST_DEEP = 32
"""Levels of nesting that are taken."""

_encode = json.JSONEncoder(ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":")).encode


def canonical(value: Json) -> bytes:
    """``value`` as canonical JSON in UTF-8.

    Raises:
        AuditError: a value has no canonical form here: a fraction, an integer beyond 2**53 - 1, half a surrogate pair,
            a name that is no string, or nesting deeper than `MOST_DEEP`.
    """
    try:
        return _encode(_ordered(value, 0)).encode()
    except UnicodeEncodeError as error:
        raise AuditError("audit-value", "a text holds half of a surrogate pair; it has no UTF-8 form") from error


def parse(text: bytes) -> Json:
    """The value of a JSON text in canonical form.

    Raises:
        AuditError: ``text`` is no JSON, or not in canonical form.
    """
    try:
        value: Json = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise AuditError("audit-value", "this is not JSON") from error
    if canonical(value) != text:
        raise AuditError("audit-value", "this is JSON, but not in canonical form")
    return value


def _ordered(value: Any, depth: int) -> Json:  # noqa: ANN401  # whatever it is, it is judged here
    if depth > MOST_DEEP:
        raise AuditError("audit-value", f"a value is nested deeper than {MOST_DEEP} levels")
    match value:
        case None | bool() | str():
            return value
        case int():
            if abs(value) > EXACT_INTEGER:
                raise AuditError("audit-value", f"{value} is too large for JSON; write it as a text")
            return value
        case Mapping():
            return {name: _ordered(value[name], depth + 1) for name in sorted(value, key=_name_order)}
        case list() | tuple():
            return [_ordered(item, depth + 1) for item in value]
        case _:
            raise AuditError("audit-value", f"{value!r} has no place in a record; write it as a text")


def _name_order(name: object) -> bytes:
    """Names are ordered by UTF-16 code units (RFC 8785, section 3.2.3)."""
    if not isinstance(name, str):
        raise AuditError("audit-value", f"{name!r} is the name of a value, and no text")
    return name.encode("utf-16-be")
