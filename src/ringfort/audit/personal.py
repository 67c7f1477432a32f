"""Salted commitments in the place of personal data and secrets.

A commitment is HMAC-SHA256 under a salt of 32 random bytes. Whoever has the salt and the value can show that they
belong to a record; without the salt nobody can find the value by trying. Erasing both leaves every proof of the log as
it was.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ringfort.audit.canonical import MOST_DEEP, Json, canonical
from ringfort.audit.errors import AuditError

SALT_BYTES: Final = 32
_PERSONAL: Final = "personal"
_SECRET: Final = "secret"  # noqa: S105  # the name of a mark
_DOMAIN: Final = b"ringfort audit commitment v1\n"


@dataclass(frozen=True, slots=True)
class Personal:
    """A value that concerns a person: concealed in the log, kept beside it, erasable."""

    value: Json


@dataclass(frozen=True, slots=True)
class Secret:
    """A value nobody may read: the record tells only whether it was changed. Nothing is kept that would open it."""

    value: Json = field(repr=False)


@dataclass(frozen=True, slots=True)
class Hidden:
    """A concealed value, as a reader of the log sees it."""

    personal: bool
    commitment: str

    def __str__(self) -> str:
        return f"<{_PERSONAL if self.personal else _SECRET} {self.commitment[:12]}>"


@dataclass(frozen=True, slots=True)
class Opening:
    """What opens a commitment. To be kept private, and to be erased."""

    commitment: str
    salt: bytes = field(repr=False)
    value: Json = field(repr=False)

    def holds(self) -> bool:
        """Whether salt and value are what was committed to."""
        return hmac.compare_digest(commit(self.salt, self.value), self.commitment)


def commit(salt: bytes, value: Json) -> str:
    """The commitment to a value, in 64 hexadecimal digits."""
    return hmac.new(salt, _DOMAIN + canonical(value), hashlib.sha256).hexdigest()


def conceal(value: Any, seed: bytes) -> tuple[Json, tuple[Opening, ...]]:  # noqa: ANN401  # JSON with marks in it
    """``value`` with commitments in the place of what is marked, and what opens the personal ones.

    Args:
        seed: 32 random bytes; every salt is derived from it. Secrets of one value share one salt, so that equal ones
            are seen to be equal (*before* and *after*), inside this one value only. May be empty if nothing is marked.

    Raises:
        AuditError: something is marked and the seed is not 32 bytes; or a plain object looks like a commitment.
    """
    openings: list[Opening] = []

    def salt(number: int) -> bytes:
        if len(seed) != SALT_BYTES:
            raise AuditError(
                "audit-personal", f"this holds personal data or secrets; it takes {SALT_BYTES} random bytes"
            )
        return hmac.new(seed, b"salt %d" % number, hashlib.sha256).digest()

    def mark(item: Personal | Secret | Hidden) -> Json:
        match item:
            case Personal(value=inner):
                opening = Opening(commit(salt(len(openings) + 1), inner), salt(len(openings) + 1), inner)
                openings.append(opening)
                return {_PERSONAL: opening.commitment}
            case Secret(value=inner):
                return {_SECRET: commit(salt(0), inner)}
            case Hidden():
                return {_PERSONAL if item.personal else _SECRET: item.commitment}

    return _map(value, mark, 0), tuple(openings)


def _map(value: Any, mark: Callable[[Any], Json], depth: int) -> Json:  # noqa: ANN401  # as above
    if depth > MOST_DEEP:
        raise AuditError("audit-value", f"a value is nested deeper than {MOST_DEEP} levels")
    match value:
        case Personal() | Secret() | Hidden():
            return mark(value)
        case Mapping():
            if value.keys() in ({_PERSONAL}, {_SECRET}):
                raise AuditError("audit-value", "an object with nothing but 'personal' or 'secret' means a commitment")
            return {name: _map(item, mark, depth + 1) for name, item in value.items()}
        case list() | tuple():
            return [_map(item, mark, depth + 1) for item in value]
        case _:
            plain: Json = value
            return plain


def reveal_marks(value: Json) -> Any:  # noqa: ANN401  # JSON with marks in it
    """``value`` with `Hidden` in the place of each commitment."""
    match value:
        case {"personal": str(commitment), **rest} if not rest:
            return Hidden(personal=True, commitment=commitment)
        case {"secret": str(commitment), **rest} if not rest:
            return Hidden(personal=False, commitment=commitment)
        case Mapping():
            return {name: reveal_marks(item) for name, item in value.items()}
        case list() | tuple():
            return [reveal_marks(item) for item in value]
    return value
