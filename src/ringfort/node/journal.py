"""What a node has promised, as it stands on its disk before anything is done. Pure; `ringfort.node.disk` keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, order=True)
class Revision:
    """Something that can be in force: a version of the environment, and the digest of what was compiled from it."""

    version: int
    digest: str

    def __str__(self) -> str:
        return f"version {self.version}" if self.version else "nothing but the way to the controllers"


CLOSED = Revision(0, "")
"""What is in force before the first environment arrives: everything is refused but the way to the controllers."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A revision that is taken back at ``deadline`` (seconds since boot) unless a controller has been reached."""

    revision: Revision
    deadline: float


@dataclass(frozen=True, slots=True)
class Failure:
    """A revision that was taken back ``attempts`` times; it may be tried again at ``again`` (seconds since boot)."""

    revision: Revision
    attempts: int
    again: float
    reason: str


@dataclass(frozen=True, slots=True)
class Journal:
    """``committed`` is what holds if nothing else is said; ``boot`` names the boot whose seconds are counted."""

    committed: Revision
    boot: str
    trial: Trial | None = None
    failure: Failure | None = None

    @property
    def enforced(self) -> Revision:
        """What the kernel should hold now."""
        return self.trial.revision if self.trial else self.committed

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        document: dict[str, Any] = {"committed": _revision(self.committed), "boot": self.boot}
        if self.trial is not None:
            document["trial"] = {"revision": _revision(self.trial.revision), "deadline": self.trial.deadline}
        if self.failure is not None:
            document["failure"] = {
                "revision": _revision(self.failure.revision),
                "attempts": self.failure.attempts,
                "again": self.failure.again,
                "reason": self.failure.reason,
            }
        return document

    @staticmethod
    def from_json(document: dict[str, Any]) -> Journal:
        """The journal that `to_json` wrote.

        Raises:
            ValueError: (or KeyError, TypeError) it is none.
        """
        trial, failure = document.get("trial"), document.get("failure")
        return Journal(
            _read_revision(document["committed"]),
            str(document["boot"]),
            Trial(_read_revision(trial["revision"]), float(trial["deadline"])) if trial else None,
            Failure(
                _read_revision(failure["revision"]),
                int(failure["attempts"]),
                float(failure["again"]),
                str(failure["reason"]),
            )
            if failure
            else None,
        )


def _revision(revision: Revision) -> dict[str, Any]:
    return {"version": revision.version, "digest": revision.digest}


def _read_revision(document: dict[str, Any]) -> Revision:
    return Revision(int(document["version"]), str(document["digest"]))
