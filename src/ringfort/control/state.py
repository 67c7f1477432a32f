"""What a controller knows in memory, so that most calls ask no database, and how it stays true.

Every change raises a number for its topic. Controllers look at these numbers twice a second, and at once after a change
of their own; what belongs to a topic whose number is another is read again.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cryptography import x509
from sqlalchemy import Connection, select

from ringfort.control import lists
from ringfort.control.callers import Assignment
from ringfort.control.database import Database
from ringfort.control.serving import published
from ringfort.control.tables import customer_certificates, nodes, revisions, revocations
from ringfort.environment.serialise import control_in

POLL_SECONDS = 0.5
STALE_SECONDS = 4.0
"""Without a look at the database for so long nobody knows what was revoked, and every call is refused."""

MOST_KEPT, SMALL = 2048, 16 * 1024
MOST_LARGE = 2
"""Answers that are kept: so many of at most so many bytes, and two of any size: the environment, which all nodes ask
for at once, before and after; they share its bytes."""


@dataclass(slots=True)
class State:
    """What is known.

    ``generation``: another one whenever anything else of this was set, so that what was found out by it can be kept.
    ``numbers``: of topics. ``recorded``, ``listed``, ``revoked``: authority and serial of what is revoked by calls, by
    signed lists, by either. ``lists``: the signed lists, by authority. ``authorities``: key identifiers of the issuing
    authorities in the bundle, whose digest is ``bundle``. ``configured``, ``declared``: what operators may act as, by
    the controller's file, and by the environment in force. ``customers``: thumbprint -> (customer, DER). ``sites``:
    node -> site. ``looked``: when the database was asked last, on the monotonic clock.
    """

    generation: int = field(default=0, compare=False)
    numbers: dict[str, int] = field(default_factory=dict)
    recorded: frozenset[tuple[str, int]] = frozenset()
    listed: frozenset[tuple[str, int]] = frozenset()
    revoked: frozenset[tuple[str, int]] = frozenset()
    lists: Mapping[str, x509.CertificateRevocationList] = field(default_factory=dict)
    authorities: frozenset[str] = frozenset()
    configured: Mapping[str, Assignment] = field(default_factory=dict)
    declared: Mapping[str, Assignment] = field(default_factory=dict)
    bundle: str = ""
    customers: Mapping[str, tuple[str, bytes]] = field(default_factory=dict)
    sites: Mapping[str, str] = field(default_factory=dict)
    version: int = 0
    root: int = 0
    looked: float = 0.0

    def __setattr__(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)
        if name not in ("generation", "looked"):
            object.__setattr__(self, "generation", self.generation + 1)

    @property
    def is_fresh(self) -> bool:
        """Whether the database was looked at lately."""
        return time.monotonic() - self.looked < STALE_SECONDS

    @property
    def operators(self) -> Mapping[str, Assignment]:
        """What operators may act as: what approvers signed counts alone, as soon as it says anything."""
        return self.declared or self.configured

    def heed(self, listed: frozenset[tuple[str, int]]) -> None:
        """Take what signed lists say."""
        self.listed = listed
        self.revoked = self.recorded | listed


def load(state: State, connection: Connection, pinned: bytes | None) -> frozenset[str]:
    """Read what changed since the last time; the topics that did. ``pinned``: the approvers' first root."""
    numbers = {row.topic: row.number for row in connection.execute(select(revisions))}
    changed = frozenset(
        topic for topic in numbers.keys() | state.numbers.keys() if numbers.get(topic) != state.numbers.get(topic)
    )
    if "revocations" in changed:
        rows = connection.execute(select(revocations.c.authority, revocations.c.serial))
        state.recorded = frozenset((row.authority, int(row.serial, 16)) for row in rows)
        state.revoked = state.recorded | state.listed
    if "lists" in changed:
        state.lists = lists.stored(connection)
    if "customers" in changed:
        certificates = connection.execute(select(customer_certificates))
        state.customers = {row.thumbprint: (row.customer, row.certificate) for row in certificates}
    if "enrolments" in changed:
        state.sites = {row.name: row.site for row in connection.execute(select(nodes.c.name, nodes.c.site))}
    if "environment" in changed:
        found, text = published(connection, pinned)
        state.version, state.root = found.version, found.root
        control = control_in(text) if text is not None else None
        state.declared = {one.name: Assignment.of(one.roles, one.sites) for one in control.operators} if control else {}
    state.numbers = numbers
    return changed


class Watcher:
    """Keeps a `State` true, and tells listeners what changed."""

    def __init__(self, database: Database, pinned: bytes | None = None) -> None:
        self.state = State()
        self._pinned = pinned
        self._database = database
        self._listeners: list[Callable[[frozenset[str]], None]] = []
        self._lock = asyncio.Lock()
        self._begun = 0
        self._waiting: dict[frozenset[str], asyncio.Event] = {}

    def on_change(self, listener: Callable[[frozenset[str]], None]) -> None:
        """Call ``listener`` with the topics after each change."""
        self._listeners.append(listener)

    async def look(self) -> None:
        """Look now; afterwards everything committed before the call is known."""
        needed = self._begun + 1
        async with self._lock:
            if self._begun >= needed:  # somebody's look began after this call
                return
            self._begun += 1
            started = time.monotonic()
            changed = await asyncio.to_thread(self._load)
            self.state.looked = started
        if changed:
            self.tell(changed)

    def tell(self, changed: frozenset[str]) -> None:
        """Tell everybody who listens or waits that these topics changed."""
        for topics in [waiting for waiting in self._waiting if waiting & changed]:
            self._waiting.pop(topics).set()
        for listener in self._listeners:
            listener(changed)

    async def changed(self, topics: frozenset[str], seconds: float) -> bool:
        """Wait for a change of one of the topics; whether there was one in time."""
        event = self._waiting.setdefault(topics, asyncio.Event())
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return False
        return True

    def _load(self) -> frozenset[str]:
        with self._database.reading() as connection:
            return load(self.state, connection, self._pinned)


class Kept:
    """Answers to reads, for as long as no topic that they depend on changes."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._answers: OrderedDict[str, tuple[tuple[int, ...], bytes]] = OrderedDict()
        self._large: OrderedDict[str, tuple[tuple[int, ...], bytes]] = OrderedDict()

    def numbers(self, topics: tuple[str, ...]) -> tuple[int, ...]:
        """The state of these topics."""
        known = self._state.numbers
        return tuple([known.get(topic, 0) for topic in topics])

    def get(self, path: str, numbers: tuple[int, ...]) -> bytes | None:
        """The answer for a path and query, if it is still true."""
        found = self._answers.get(path) or self._large.get(path)
        return found[1] if found is not None and found[0] == numbers else None

    def put(self, path: str, numbers: tuple[int, ...], answer: bytes) -> None:
        """Keep an answer that was read when the topics had ``numbers``."""
        kept, most = (self._answers, MOST_KEPT) if len(answer) <= SMALL else (self._large, MOST_LARGE)
        kept[path] = (numbers, answer)
        kept.move_to_end(path)
        if len(kept) > most:
            kept.popitem(last=False)
