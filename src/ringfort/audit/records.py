"""What one record says, and its one spelling as canonical JSON.

A record's *body* is what the control plane keeps beside the change. The log seals a body into a *leaf*: its index, the
hash of the leaf before it, and the body. Personal data and secrets are in neither: a salted commitment stands there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Self, TypeAlias

from ringfort.audit.canonical import Json, canonical, parse
from ringfort.audit.errors import AuditError
from ringfort.audit.personal import Hidden, Opening, Personal, Secret, conceal, reveal_marks

Value: TypeAlias = "Json | Personal | Secret | Hidden | list[Value] | tuple[Value, ...] | Mapping[str, Value]"
"""A JSON value in which anything may be marked personal or secret."""

Text: TypeAlias = str | Personal | Hidden

LONGEST_STATE = 24 * 1024
"""Bytes of a state that a record holds whole; of a longer one it holds the hash."""

LONGEST_BODY = 60 * 1024
"""Bytes of a body; a leaf may have 65,535 (`tiles.LONGEST_ENTRY`)."""

FORMAT = 1
_WORD = r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*"
_ACTION = re.compile(rf"({_WORD}):({_WORD}):({_WORD})")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, order=True)
class Action:
    """What was done: ``source:subject:action``, as in ``control:customer:add``."""

    source: str
    subject: str
    action: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the three words.

        Raises:
            AuditError: they are not three lower-case words with colons between.
        """
        match = _ACTION.fullmatch(text)
        if match is None:
            raise AuditError(
                "audit-action", f"{text!r} is no action; write it source:subject:action in lower-case words"
            )
        return cls(*match.groups())

    def __post_init__(self) -> None:
        if not _ACTION.fullmatch(str(self)):
            raise AuditError("audit-action", f"{str(self)!r} is no action of three lower-case words")

    def __str__(self) -> str:
        return f"{self.source}:{self.subject}:{self.action}"


@dataclass(frozen=True, slots=True)
class State:
    """An object before or after a change: its value, or only the hash of what is too long or never told."""

    value: Value = None
    digest: str = ""

    @classmethod
    def hashed(cls, content: bytes) -> Self:
        """Only the hash of ``content``."""
        return cls(None, f"sha256:{sha256(content).hexdigest()}")

    @property
    def known(self) -> bool:
        """Whether the value is there, and not only its hash."""
        return not self.digest or self.value is not None


@dataclass(frozen=True, slots=True)
class Record:
    """One change: who did what, on what, from what to what, why, from where, when.

    Args:
        when: with its time zone; kept to the microsecond, in UTC.
        who: the identity, ``spiffe://...``.
        authenticated: how that was shown, as in ``mutual-tls`` or ``certificate sha256:...``.
        action: what was done.
        on: the object, as in ``customer/acme``.
        before: none when it did not exist.
        after: none when it is gone.
        why: the ticket, or the reason given.
        origin: the address the call came from.
        request: the call's idempotency key, if any.
    """

    when: datetime
    who: Text
    authenticated: str
    action: Action
    on: str
    before: State | None = None
    after: State | None = None
    why: Text = ""
    origin: Text = ""
    request: str = ""

    def conceal(self, seed: bytes) -> Concealed:
        """The body, and what opens its commitments.

        Args:
            seed: 32 random bytes, used for this record only and kept nowhere.

        Raises:
            AuditError: something has no place in a record, or the record is too long.
        """
        plain: dict[str, Any] = {
            "action": str(self.action),
            "authenticated": self.authenticated,
            "format": FORMAT,
            "on": self.on,
            "origin": self.origin,
            "request": self.request,
            "when": _moment(self.when),
            "who": self.who,
            "why": self.why,
        }
        plain = {name: value for name, value in plain.items() if value != ""}
        hidden, openings = conceal({**plain, "after": _plain(self.after), "before": _plain(self.before)}, seed)
        assert isinstance(hidden, Mapping)
        states = {name: _written(hidden[name], getattr(self, name)) for name in ("after", "before")}
        body = canonical({**hidden, **states})
        if len(body) > LONGEST_BODY:
            raise AuditError("audit-record-too-long", f"a record of {len(body)} bytes is longer than {LONGEST_BODY}")
        return Concealed(body, openings)

    def body(self) -> bytes:
        """The body of a record without anything personal or secret in clear.

        Raises:
            AuditError: something in it is marked; it needs `conceal`.
        """
        concealed = self.conceal(b"")
        if concealed.openings:
            raise AuditError("audit-personal", "this record holds personal data; conceal it with a random seed")
        return concealed.body


@dataclass(frozen=True, slots=True)
class Concealed:
    """A body that may be published, and what opens its commitments, which must not."""

    body: bytes
    openings: tuple[Opening, ...]


def _plain(state: State | None) -> Value:
    return None if state is None else state.value


def _written(value: Json, state: State | None) -> Json:
    """A state in the body. The hash is over what is published, so that it tells nothing about what is concealed."""
    if state is None:
        return None
    if not state.known:
        if not _DIGEST.fullmatch(state.digest):
            raise AuditError("audit-value", f"{state.digest!r} is no hash; write sha256: and 64 digits")
        return {"digest": state.digest}
    text = canonical(value)
    digest = f"sha256:{sha256(text).hexdigest()}"
    return {"digest": digest, "value": value} if len(text) <= LONGEST_STATE else {"digest": digest}


def _moment(when: datetime) -> str:
    if when.tzinfo is None:
        raise AuditError("audit-value", f"the time {when} has no time zone")
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


_TEXTS = frozenset({"who", "why", "origin"})
_PLAIN = frozenset({"authenticated", "on", "request"})
_KNOWN = _TEXTS | _PLAIN | {"action", "after", "before", "format", "when"}


def parse_body(body: bytes) -> Record:
    """Read a body back; what was concealed is `Hidden`.

    Raises:
        AuditError: it is not the body of a record.
    """
    value = parse(body)
    if not isinstance(value, Mapping) or value.get("format") != FORMAT or not value.keys() <= _KNOWN:
        raise AuditError("audit-record", "this is no record of a format that is known here")
    marked: Any = reveal_marks(value)
    for name in _KNOWN - {"action", "after", "before", "format", "when"}:
        allowed = (str, Hidden) if name in _TEXTS else (str,)
        if not isinstance(marked.get(name, ""), allowed):
            raise AuditError("audit-record", f"the record's {name!r} is no text")
    try:
        when = datetime.strptime(marked["when"], "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
        return Record(
            when=when,
            who=marked["who"],
            authenticated=marked["authenticated"],
            action=Action.parse(marked["action"]),
            on=marked["on"],
            before=_read_state(marked["before"]),
            after=_read_state(marked["after"]),
            why=marked.get("why", ""),
            origin=marked.get("origin", ""),
            request=marked.get("request", ""),
        )
    except (KeyError, ValueError, TypeError) as error:
        raise AuditError("audit-record", "a field of the record is missing or malformed") from error


def _read_state(written: Any) -> State | None:  # noqa: ANN401  # JSON, judged here
    if written is None:
        return None
    if not isinstance(written, Mapping) or not written.keys() <= {"digest", "value"}:
        raise AuditError("audit-record", "a state is neither nothing nor a digest and a value")
    digest = written["digest"]
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise AuditError("audit-record", "a state has no proper digest")
    return State(written.get("value"), digest)


def without_digests(state: State | None) -> Value:
    """What an object was, for people: its value, its hash where that is all there is, or nothing."""
    if state is None:
        return None
    return state.value if state.value is not None or not state.digest else state.digest


def opened(record: Record, openings: Mapping[str, Json]) -> Record:
    """``record`` with the personal values that are still kept, by commitment, in the place of their commitments."""

    def fill(value: Any) -> Any:  # noqa: ANN401  # any value of a record
        match value:
            case Hidden(personal=True, commitment=commitment) if commitment in openings:
                return openings[commitment]
            case Mapping():
                return {name: fill(item) for name, item in value.items()}
            case list() | tuple():
                return [fill(item) for item in value]
        return value

    def state(old: State | None) -> State | None:
        return None if old is None else replace(old, value=fill(old.value))

    return replace(
        record,
        who=fill(record.who),
        why=fill(record.why),
        origin=fill(record.origin),
        before=state(record.before),
        after=state(record.after),
    )
