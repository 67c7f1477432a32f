"""What a node has to tell and could not yet: kept on the disk, bounded, the same thing told once with a count."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from ringfort.publishing.files import replace_file

MOST = 200
"""Events that wait; when there are more, the oldest that is no alert goes first, and a count says how many went."""

_LONGEST, _MOST_LINES = 1000, 100
"""Characters of a line and lines of a change that are reported."""


@dataclass(frozen=True, slots=True)
class Happening:
    """Something to tell about ``subject``, such as a device. ``changes`` are lines in nft's words, ``by`` who did it as
    far as is known, ``key`` what tells two of them apart."""

    kind: str
    subject: str
    what: str
    alert: bool
    first: datetime
    last: datetime
    changes: tuple[str, ...] = ()
    by: str = ""
    count: int = 1
    key: str = field(default_factory=lambda: secrets.token_hex(8))

    def to_json(self) -> dict[str, Any]:
        """As JSON, for the disk."""
        return {
            "key": self.key,
            "kind": self.kind,
            "subject": self.subject,
            "what": self.what,
            "alert": self.alert,
            "first": self.first.isoformat(timespec="milliseconds"),
            "last": self.last.isoformat(timespec="milliseconds"),
            "changes": list(self.changes),
            "by": self.by,
            "count": self.count,
        }

    def to_report(self) -> dict[str, Any]:
        """As a controller takes it (``ReportedEvent``)."""
        detail: dict[str, Any] = {"what": self.what[:_LONGEST], "count": self.count}
        if self.changes:
            detail["changes"] = [line[:_LONGEST] for line in self.changes[:_MOST_LINES]]
            if len(self.changes) > _MOST_LINES:
                detail["changes"].append(f"and {len(self.changes) - _MOST_LINES} more")
        if self.by:
            detail["by"] = self.by[:_LONGEST]
        return {
            "key": self.key,
            "at": self.last.isoformat(timespec="milliseconds"),
            "kind": self.kind,
            "severity": "alert" if self.alert else "notice",
            "subject": self.subject,
            "detail": detail,
        }

    @staticmethod
    def from_json(document: dict[str, Any]) -> Happening:
        """What `to_json` wrote.

        Raises:
            ValueError: (or KeyError, TypeError) it is none.
        """
        return Happening(
            str(document["kind"]),
            str(document["subject"]),
            str(document["what"]),
            bool(document["alert"]),
            datetime.fromisoformat(document["first"]),
            datetime.fromisoformat(document["last"]),
            tuple(map(str, document["changes"])),
            str(document["by"]),
            int(document["count"]),
            str(document["key"]),
        )


class Outbox:
    """Happenings in order; safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._waiting = self._read()
        self._dropped = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, happening: Happening) -> None:
        """Tell this, too. The same as one that waits already only counts it."""
        with self._lock:
            for number, other in enumerate(self._waiting):
                if _same(other, happening):
                    # Under a key of its own: the one before may be on its way with the smaller count.
                    again = replace(happening, first=other.first, count=other.count + 1)
                    self._waiting[number] = again
                    break
            else:
                self._waiting.append(happening)
                self._bound()
            self._write()

    def waiting(self, most: int = 50) -> tuple[Happening, ...]:
        """The first that wait."""
        with self._lock:
            return tuple(self._waiting[:most])

    def told(self, happenings: Iterable[Happening]) -> None:
        """These have arrived."""
        keys = {happening.key for happening in happenings}
        with self._lock:
            self._waiting = [happening for happening in self._waiting if happening.key not in keys]
            self._write()

    @property
    def dropped(self) -> int:
        """How many had to go untold since the start of this process."""
        return self._dropped

    def _bound(self) -> None:
        while len(self._waiting) > MOST:
            quiet = next((n for n, happening in enumerate(self._waiting) if not happening.alert), 0)
            del self._waiting[quiet]
            self._dropped += 1

    def _read(self) -> list[Happening]:
        try:
            return [Happening.from_json(document) for document in json.loads(self._path.read_bytes())]
        except (OSError, ValueError, KeyError, TypeError):
            return []

    def _write(self) -> None:
        try:
            replace_file(self._path, json.dumps(_documents(self._waiting)).encode(), 0o600)
        except OSError:
            return  # it is still in memory; a full disk must not stop a node


def _same(one: Happening, other: Happening) -> bool:
    return (one.kind, one.subject, one.what, one.changes) == (other.kind, other.subject, other.what, other.changes)


def _documents(happenings: Sequence[Happening]) -> list[dict[str, Any]]:
    return [happening.to_json() for happening in happenings]
