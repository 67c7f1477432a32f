"""The log on the disk of whoever keeps it.

``public/`` holds the static files (C2SP tlog-tiles) that anybody may serve: checkpoint, checkpoints/, tile/.
``private/`` holds the journal, locks and what opens the commitments to personal data. Any number of threads and
processes may append; they take turns at a lock that the kernel drops when its holder dies.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from ringfort.audit import journal as journals
from ringfort.audit.checkpoint import SignedCheckpoint, parse_checkpoint
from ringfort.audit.errors import AuditError
from ringfort.audit.journal import Journal, replace_file, sync_directory
from ringfort.audit.notes import good_name
from ringfort.audit.reading import Directory, bodies_in
from ringfort.audit.sealing import seal_all, unseal
from ringfort.audit.tiles import LONGEST_ENTRY

SEAL_BYTES = 120
"""What a seal adds to a body, at most."""


class Log:
    """An open log. Safe for any number of threads; use it in a ``with``, or `close` it.

    Args:
        directory: made by `create`.

    Raises:
        AuditError: there is no log, or its journal is damaged.
    """

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(directory)
        self.public = self.directory / "public"
        self.private = self.directory / "private"
        try:
            self.origin = (self.private / "origin").read_text().strip()
        except OSError as error:
            raise AuditError("audit-no-log", f"there is no log in {directory}", "make one with Log.create") from error
        self._threads = threading.Lock()
        self._lock = os.open(self.private / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._journal = Journal(self.private / "journal")
        except OSError as error:
            os.close(self._lock)
            raise AuditError("audit-no-log", f"the journal of {directory} can't be opened: {error.strerror}") from error
        except BaseException:
            os.close(self._lock)
            raise
        self._published = self._published_size()

    @classmethod
    def create(cls, directory: str | Path, origin: str) -> Self:
        """Make an empty log, unless it is there already.

        Args:
            origin: the log's name in its checkpoints, a URL without scheme by custom.

        Raises:
            AuditError: the name can't be one, or a log of another name is there.
        """
        if not good_name(origin):
            raise AuditError("audit-origin", f"{origin!r} can't name a log: no space, no plus, not empty")
        place = Path(directory)
        (place / "public" / "tile").mkdir(parents=True, exist_ok=True)
        (place / "private").mkdir(mode=0o700, exist_ok=True)
        private = place / "private"
        with _locked(private / "lock"):
            if not (private / "journal").exists():
                journals.create(private / "journal")
            if not (private / "origin").exists():
                replace_file(private / "origin", (origin + "\n").encode(), 0o600)
            for made in (private, place / "public", place, place.parent):
                sync_directory(made)
        log = cls(place)
        if log.origin != origin:
            log.close()
            raise AuditError("audit-origin", f"the log in {directory} is {log.origin}, not {origin}")
        return log

    def close(self) -> None:
        """Close files. Nothing is lost: what was acknowledged is on the disk."""
        with self._threads:
            self._journal.close()
            os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def size(self) -> int:
        """How many records are acknowledged, published or not."""
        with self.locked() as journal:
            return journal.position.index

    def append(self, bodies: Sequence[bytes], first: int | None = None) -> range:
        """Seal bodies and append them, in order, all or none; durable when this returns.

        Args:
            bodies: of records, canonical JSON (`Record.conceal`).
            first: the index that the first body has to get. Bodies that are there already, at their places, are not
                appended again: after a crash one may simply repeat the call.

        Returns:
            the indexes of the bodies.

        Raises:
            AuditError: ``audit-log-gap``: the log ends before ``first``; ``audit-log-conflict``: another record is
                there; ``audit-log-full``: the disk took nothing; ``audit-journal-damaged``.
        """
        check(bodies)
        with self.locked() as journal:
            start = journal.position.index if first is None else first
            known = self._known(journal, start, bodies)
            _append(journal, bodies[known:])
        return range(start, start + len(bodies))

    def append_groups(
        self, groups: Sequence[Sequence[bytes]], meanwhile: Callable[[], None] | None = None
    ) -> list[range]:
        """Append the bodies of several callers as one group: one write, one fdatasync.

        Bodies have been through `check`; ``meanwhile`` is called when only the disk has to be waited for. Raises as
        `append` does.
        """
        with self.locked() as journal:
            start = journal.position.index
            _append(journal, [body for bodies in groups for body in bodies], meanwhile)
        ranges = []
        for bodies in groups:
            ranges.append(range(start, start + len(bodies)))
            start += len(bodies)
        return ranges

    def bodies(self, first: int, end: int) -> list[bytes]:
        """Bodies of acknowledged records, published or not; fewer if the log ends before."""
        with self.locked() as journal:
            return self._bodies(journal, first, min(end, journal.position.index))

    def checkpoint(self) -> SignedCheckpoint | None:
        """The last published checkpoint; none if there is none yet."""
        try:
            return parse_checkpoint((self.public / "checkpoint").read_bytes())
        except FileNotFoundError:
            return None

    @contextmanager
    def locked(self) -> Iterator[Journal]:
        """The journal, up to date, while nobody else appends."""
        with self._threads:
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            try:
                if not self._journal.current:
                    fresh = Journal(self._journal.path)
                    self._journal.close()
                    self._journal = fresh
                    self._published = self._published_size()
                self._journal.catch_up(self._published)
                yield self._journal
            finally:
                fcntl.flock(self._lock, fcntl.LOCK_UN)

    def published(self, size: int) -> None:
        """Take note that bundles hold the first ``size`` records, durably."""
        self._published = max(self._published, size)

    def begin_journal(self, journal: Journal) -> None:
        """Begin a new journal with the records that are in no bundle yet; the caller holds `locked`."""
        leaves = list(journal.leaves)
        base = journal.position.index - len(leaves)
        previous = unseal(leaves[0]).previous if leaves else journal.position.previous
        journals.create(journal.path, base, previous, leaves)

    def _published_size(self) -> int:
        last = self.checkpoint()
        return last.checkpoint.size if last else 0

    def _known(self, journal: Journal, first: int, bodies: Sequence[bytes]) -> int:
        """How many of ``bodies`` are in the log already, at their places."""
        end = journal.position.index
        if first > end:
            raise AuditError("audit-log-gap", f"the log ends before record {first}: it has {end}")
        there = self._bodies(journal, first, min(end, first + len(bodies)))
        for index, (old, new) in enumerate(zip(there, bodies, strict=False), first):
            if old != new:
                raise AuditError("audit-log-conflict", f"the log holds another record {index} than the one given")
        return len(there)

    def _bodies(self, journal: Journal, first: int, end: int) -> list[bytes]:
        kept = journal.position.index - len(journal.leaves)
        published = bodies_in(Directory(self.public), first, min(end, kept), self._published) if first < kept else []
        begin = max(first, kept) - kept
        return published + [unseal(leaf).body for leaf in journal.leaves[begin : max(begin, end - kept)]]


def check(bodies: Sequence[bytes]) -> None:
    """Refuse a body that doesn't fit into a leaf.

    Raises:
        AuditError: it is too long, or no JSON object.
    """
    for body in bodies:
        if len(body) > LONGEST_ENTRY - SEAL_BYTES:
            raise AuditError("audit-record-too-long", f"a record of {len(body)} bytes doesn't fit into a leaf")
        if body[:1] != b"{" or body[-1:] != b"}":
            raise AuditError("audit-record", "a body is a JSON object")


def _append(journal: Journal, bodies: Sequence[bytes], meanwhile: Callable[[], None] | None = None) -> None:
    if bodies:
        leaves, previous = seal_all(bodies, journal.position.index, journal.position.previous)
        journal.append(leaves, previous, meanwhile)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
