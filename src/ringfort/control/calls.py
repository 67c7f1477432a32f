"""One call and what comes of it: values that pass between the server and the operations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from pydantic import BaseModel

from ringfort.control.callers import Caller
from ringfort.control.errors import ProblemError

F = TypeVar("F", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Call:
    """A call that is authenticated.

    Attributes:
        parameters: the variable parts of the path.
        form: the body, checked; None if the operation takes none.
        query: the query, checked; None if the operation takes none.
        reason: why, from the header ``Ringfort-Ticket``; "" if nothing was said.
        key: the header ``Idempotency-Key``; "" for reads.
        content: the body, where it is bytes and no form.
        prepared: what the operation's ``prepare`` found out before the transaction.
    """

    caller: Caller
    parameters: Mapping[str, str]
    form: BaseModel | None
    query: BaseModel | None
    reason: str
    key: str
    now: datetime
    content: bytes = b""
    prepared: object = None

    def body(self, kind: type[F]) -> F:
        """The body as what the operation declares."""
        assert isinstance(self.form, kind)
        return self.form

    def asked(self, kind: type[F]) -> F:
        """The query as what the operation declares."""
        assert isinstance(self.query, kind)
        return self.query


@dataclass(frozen=True, slots=True)
class Change:
    """What a call changes, for its audit record. ``before`` and ``after`` hold no secret: hashes in its place.

    Attributes:
        action: ``source:subject:action``.
        on: the object, ``kind/name``.
        topics: of `tables.revisions`; what other controllers have to look at again.
    """

    action: str
    on: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    topics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a changing call: the answer, and what changed; ``change`` is None if it all was so already.

    A ``refusal`` is answered instead, when refusing is itself something to write down. ``is_kept`` says whether the
    answer is kept under the call's key: not for frequent observations that tell a repetition by themselves.
    """

    answer: BaseModel | None
    change: Change | None = None
    status: int = 200
    refusal: ProblemError | None = None
    topics: tuple[str, ...] = field(default=())
    is_kept: bool = True
