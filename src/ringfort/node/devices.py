"""This machine's devices: hold what a policy says, hear of changes, find what was changed. For one thread only."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from ringfort.errors import RingfortError
from ringfort.kernel import netns
from ringfort.kernel.changes import Author, Changes
from ringfort.node.enforcer import Enforcer, Finding, Foreign
from ringfort.node.policy import Part, Policy

SETTLE_SECONDS = 0.05
"""How long after news of a change to look: several transactions of one hand are seen as one."""

BETWEEN_SECONDS = 0.2
"""Two looks at a namespace are at least this far apart, also when somebody fights for it."""

POLL_SECONDS = 2.0
"""How often to compare the number of a ruleset's generation, in case that news was lost."""

SETTINGS_POLLS = 2
"""At every so many polls kernel settings are compared, too, which the kernel does not announce."""

COUNT_SECONDS = 20.0
"""How old the counters may be that are reported: to list them takes as long as everything else in a report."""


@dataclass(frozen=True, slots=True)
class Drift:
    """What was changed by others. ``devices`` in words."""

    devices: tuple[str, ...]
    changes: tuple[str, ...]
    by: str


@dataclass(slots=True)
class _Space:
    """One namespace that is watched."""

    name: str
    inode: int | None
    changes: Changes
    parts: tuple[Part, ...]
    finding: Finding = field(default_factory=lambda: Finding({}))
    generation: int = -1
    authors: list[Author] = field(default_factory=list)
    due: float | None = None
    looked: float = 0.0
    told: frozenset[Foreign] = frozenset()


class Devices:
    """Everything that the node holds in the kernel. ``now`` is always seconds since boot."""

    def __init__(
        self,
        enforcer: Enforcer,
        *,
        sysctl: bool = True,
        watched: Callable[[Changes, bool], None] = lambda _changes, _on: None,
    ) -> None:
        self._enforcer = enforcer
        self._sysctl = sysctl
        self._watched = watched
        self._spaces: dict[str, _Space] = {}
        self._counted: dict[str, dict[str, int]] = {}
        self._counted_at = -COUNT_SECONDS
        self._next_poll = 0.0
        self._polls = 0

    def close(self) -> None:
        """Stop listening; what is in the kernel stays."""
        for name in list(self._spaces):
            self._forget(name)

    # --- loading ---

    def load(self, policy: Policy, devices: Iterable[str], now: float) -> list[str]:
        """Make devices (all if none is named) hold what a policy says; why some did not, in words."""
        wanted, failures = set(devices), []
        try:
            spaces = self._enforcer.namespaces(policy)
        except RingfortError as error:
            return [error.message]
        for name in set(self._spaces) - set(spaces):
            self._forget(name)
        for name, parts in spaces.items():
            chosen = [part for part in parts if not wanted or str(part.device) in wanted]
            if chosen:
                failures += self._load(name, tuple(parts), now)
        return failures

    def _load(self, name: str, parts: tuple[Part, ...], now: float) -> list[str]:
        try:
            space = self._watch(name, parts)
            generation = space.changes.generation()
            held = space.finding if generation == space.generation else None
            space.finding = self._enforcer.load(name, parts, sysctl=self._sysctl, held=held)
            space.generation = generation if not space.finding.loaded else space.changes.generation()
            space.looked, space.due = now, None
        except (RingfortError, OSError) as error:
            self._forget(name)
            return [f"{', '.join(str(part.device) for part in parts)}: {error}"]
        return []

    def strange(self, policy: Policy, also: Policy | None) -> list[Drift]:
        """What is neither as ``policy`` nor as ``also`` says: changed while nobody watched. Nothing is changed here."""
        found = []
        others = {str(part.device): part.digest for part in also.parts} if also is not None else {}
        for name, parts in self._enforcer.namespaces(policy).items():
            try:
                seen = self._enforcer.look(name, parts)
            except RingfortError:
                continue  # loading says so
            odd = [device for device in seen.differing if seen.digests[device] != others.get(device)]
            changes = tuple(
                change
                for change in seen.changes
                if any(change.startswith(f"{device}: ") for device in odd) or change.startswith("the ruleset: ")
            )
            if changes:
                devices = tuple(odd) or tuple(str(part.device) for part in parts)
                found.append(Drift(devices, changes, "somebody, while the node did not run"))
        return found

    # --- watching ---

    def heard(self, now: float) -> None:
        """Read what the kernel has announced, for every namespace."""
        for space in self._spaces.values():
            others = [author for author in space.changes.read() if author.pid != os.getpid()]
            if others:
                space.authors += others[: max(0, 20 - len(space.authors))]
                self._look_soon(space, now)

    def wake(self) -> float:
        """When `due` has something to do."""
        times = [space.due for space in self._spaces.values() if space.due is not None]
        return min([*times, self._next_poll])

    def due(self, now: float) -> list[Drift]:
        """Look where something may have changed; what was changed."""
        found = []
        is_time = False
        if now >= self._next_poll:
            self._next_poll = now + POLL_SECONDS
            self._polls += 1
            is_time = self._polls % SETTINGS_POLLS == 0
            self._poll(now)
        for space in list(self._spaces.values()):
            if space.due is not None and now >= space.due:
                found += self._look(space, now)
        if is_time:
            found += self._look_at_settings()
        return found

    def foreign(self) -> tuple[tuple[str, Foreign], ...]:
        """Tables of others that are there, with their namespace."""
        return tuple((space.name, other) for space in self._spaces.values() for other in space.finding.foreign)

    def new_foreign(self) -> list[str]:
        """Tables of others that are left where they are, each once, in words."""
        found = []
        for space in self._spaces.values():
            where = ", ".join(str(part.device) for part in space.parts)
            for other in sorted(set(space.finding.foreign) - space.told, key=str):
                why = "cannot be removed: its owner holds it" if other.hooked else "sees no packet and is left alone"
                found.append(f"{where}: {other} of somebody else {why}")
            space.told = frozenset(space.finding.foreign)
        return found

    def readback(self) -> dict[str, str]:
        """Device (in words) -> the digest of what the kernel held when it was looked at last."""
        found: dict[str, str] = {}
        for space in self._spaces.values():
            found.update(space.finding.digests)
        return found

    def counters(self, now: float) -> dict[str, dict[str, int]]:
        """Device (in words) -> packets by counter; not older than `COUNT_SECONDS`."""
        if now < self._counted_at + COUNT_SECONDS:
            return self._counted
        self._counted, self._counted_at = {}, now
        for space in self._spaces.values():
            with suppress(RingfortError):  # a namespace that has just gone: the next poll says so
                self._counted.update(self._enforcer.counters(space.name, space.parts))
        return self._counted

    def _look_soon(self, space: _Space, now: float) -> None:
        if space.due is None:
            space.due = max(now + SETTLE_SECONDS, space.looked + BETWEEN_SECONDS)

    def _poll(self, now: float) -> None:
        for space in self._spaces.values():
            if netns.identity(space.name) != space.inode:
                space.due = now  # another namespace under this name, or none: looking will say
                continue
            try:
                if space.changes.generation() != space.generation:
                    self._look_soon(space, now)
            except RingfortError:
                space.due = now

    def _look(self, space: _Space, now: float) -> list[Drift]:
        space.due, space.looked = None, now
        authors, space.authors = space.authors, []
        names = tuple(str(part.device) for part in space.parts)
        try:
            space = self._watch(space.name, space.parts)
            generation = space.changes.generation()
            space.finding = self._enforcer.look(space.name, space.parts)
            space.generation = generation
        except (RingfortError, OSError) as error:
            self._forget(space.name)
            return [Drift(names, (f"{', '.join(names)}: {error}",), _by(authors))]
        if not space.finding.changes:
            return []
        return [Drift(space.finding.differing or names, space.finding.changes, _by(authors))]

    def _look_at_settings(self) -> list[Drift]:
        found = []
        for space in self._spaces.values() if self._sysctl else ():
            names = tuple(str(part.device) for part in space.parts)
            try:
                changes = self._enforcer.settings(space.name, space.parts)
            except RingfortError:
                continue  # the namespace has gone: `_poll` sees it
            if changes:
                found.append(Drift(names, changes, ""))
        return found

    def _watch(self, name: str, parts: tuple[Part, ...]) -> _Space:
        """Listen in the namespace that has this name now."""
        inode = netns.identity(name)
        known = self._spaces.get(name)
        if known is not None and known.inode == inode:
            known.parts = parts
            return known
        self._forget(name)
        space = _Space(name, inode, Changes(name), parts)
        self._spaces[name] = space
        self._watched(space.changes, True)
        return space

    def _forget(self, name: str) -> None:
        space = self._spaces.pop(name, None)
        if space is not None:
            self._watched(space.changes, False)
            space.changes.close()


def _by(authors: Iterable[Author]) -> str:
    return ", ".join(dict.fromkeys(str(author) for author in authors))
