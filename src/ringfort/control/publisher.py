"""Carries audit records from the database to the log, in order, and has its checkpoints cosigned.

Records are numbered without gaps in the transactions of the changes; their number is their place in the log. So
carrying them is idempotent: what the log has already is not appended again, and a crash anywhere loses nothing and
doubles nothing. One controller at a time does it; the lease only spares work.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from datetime import timedelta
from ssl import SSLSocket

from sqlalchemy import Connection, func, insert, select, update

from ringfort.audit.fetching import Check, RemoteWitness
from ringfort.audit.keeping import Keeping
from ringfort.audit.log import Log
from ringfort.audit.notes import parse_signer_key, parse_verifier_key
from ringfort.audit.publisher import Pending, Publisher
from ringfort.control.clock import now, to_number
from ringfort.control.database import Database
from ringfort.control.errors import ControlError
from ringfort.control.recording import openings_in
from ringfort.control.settings import Audit
from ringfort.control.tables import audit_records, erasures, leases
from ringfort.control.waking import called
from ringfort.control.writer import Writer
from ringfort.identity.names import Role
from ringfort.identity.tls import Party, peer
from ringfort.identity.verification import roles

log = logging.getLogger("ringfort.control.audit")

LEASE = "audit"
LEASE_TIME = timedelta(seconds=20)
LOOK_SECONDS = 2.0
"""How often to look for records of other controllers; own ones are carried at once."""

LONGEST_PAUSE = 30.0
COSIGN_SECONDS = 3600.0
"""How often a checkpoint is cosigned anew though nothing happens: by its age auditors see an old one."""


class DatabaseOutbox:
    """The database as `ringfort.audit.publisher.Outbox`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def pending(self, first: int, limit: int) -> Sequence[Pending]:
        """See `Outbox.pending`."""
        wanted = (
            select(audit_records.c.body, audit_records.c.openings)
            .where(audit_records.c.sequence >= first)
            .order_by(audit_records.c.sequence)
            .limit(limit)
        )
        with self._database.reading() as connection:
            return [Pending(row.body, openings_in(row.openings)) for row in connection.execute(wanted)]

    def size(self) -> int:
        """How many records there are."""
        with self._database.reading() as connection:
            last = connection.execute(select(func.max(audit_records.c.sequence))).scalar()
        return 0 if last is None else last + 1

    def erased(self, after: int) -> tuple[int, list[str]]:
        """Commitments whose values are not to be kept: those noted after a number, and the last one's number."""
        wanted = select(erasures).where(erasures.c.number > after).order_by(erasures.c.number)
        with self._database.reading() as connection:
            rows = connection.execute(wanted).all()
        return (rows[-1].number if rows else after), [row.commitment for row in rows]


class AuditPublisher:
    """The background task of one controller."""

    def __init__(self, settings: Audit, holder: str, database: Database, writer: Writer, party: Party) -> None:
        """Open the log, or make it. ``party``: who speaks with witnesses.

        Raises:
            RingfortError: a key can't be read, or the directory is another log's.
        """
        try:
            self._key = parse_signer_key(settings.key.read_text().strip())
        except OSError as error:
            raise ControlError("audit-key-unreadable", f"{settings.key} can't be read: {error.strerror}") from error
        self._witnesses = [(parse_verifier_key(witness.key), witness.url) for witness in settings.witnesses]
        self._needed = settings.needed
        self._log = Log.create(settings.directory, self._key.name)
        self._outbox = DatabaseOutbox(database)
        self._holder, self._writer, self._party = holder, writer, party
        self._cosign_at = 0.0
        self._wake = asyncio.Event()
        self._published = 0
        self._cleared = 0
        self._erased = 0

    def notice(self) -> None:
        """There may be new records."""
        self._wake.set()

    async def run(self) -> None:
        """Carry and erase, for ever. What can't be carried waits longer and longer; erasing waits for nobody."""
        pause, not_before = LOOK_SECONDS, 0.0
        while True:
            await called(self._wake, LOOK_SECONDS)
            try:
                await asyncio.to_thread(self._erase)
                if time.monotonic() >= not_before:
                    await self.carry()
                    pause = LOOK_SECONDS
            except Exception as error:  # noqa: BLE001  # it is tried again, and says why it failed
                log.warning("the audit log is not published: %s", error)
                not_before = time.monotonic() + pause
                pause = min(LONGEST_PAUSE, pause * 2)

    async def carry(self) -> None:
        """Carry what waits, if it is this controller's turn.

        Raises:
            AuditError: too few witnesses cosign, or the log is damaged; it is safe to try again.
        """
        is_old = time.monotonic() >= self._cosign_at
        if await asyncio.to_thread(self._outbox.size) <= self._published and not is_old:
            return
        if not await self._writer.run(lambda connection: take_lease(connection, LEASE, self._holder)):
            return
        try:
            await asyncio.to_thread(self._publish, is_old)
        finally:
            await self._writer.run(self._settle)

    def close(self) -> None:
        """Close the log's files."""
        self._log.close()

    def _publish(self, refresh: bool) -> None:
        witnesses = [RemoteWitness(key, url, self._party.client, self._check(url)) for key, url in self._witnesses]
        try:
            checkpoint = Publisher(self._log, self._key, witnesses, self._needed).run(self._outbox, refresh=refresh)
        finally:
            for witness in witnesses:
                witness.close()
        if checkpoint is not None:
            self._published = checkpoint.checkpoint.size
        self._cosign_at = time.monotonic() + COSIGN_SECONDS

    def _check(self, url: str) -> Check | None:
        """Whoever answers has to be a witness, at that address; in the clear (on loopback) nobody can show that."""

        def check(connection: SSLSocket) -> None:
            peer(connection, connection.getpeername()[0], self._party.bundle, now(), expected=roles(Role.WITNESS))

        return check if url.startswith("https:") else None

    def _erase(self) -> None:
        """Erase beside the log what is not to be kept.

        Never while records are carried: what is read before an erasure and written after it is erased in the next turn.
        """
        last, commitments = self._outbox.erased(self._erased)
        if commitments:
            with Keeping(self._log.private) as keeping:
                count = keeping.erase(commitments)
            log.info("erased %d personal values beside the audit log", count)
        self._erased = last

    def _settle(self, connection: Connection) -> None:
        """What is durable in the log, personal values beside it, need not stay here; and the lease is free again."""
        size = self._log.size
        carried = (audit_records.c.sequence >= self._cleared, audit_records.c.sequence < size)
        connection.execute(update(audit_records).where(*carried, audit_records.c.openings != "").values(openings=""))
        self._cleared = size
        connection.execute(
            update(leases).where(leases.c.name == LEASE, leases.c.holder == self._holder).values(expires=0)
        )


def take_lease(connection: Connection, name: str, holder: str) -> bool:
    """Take or prolong a lease; whether it is the holder's now."""
    time = now()
    until = to_number(time + LEASE_TIME)
    row = connection.execute(select(leases).where(leases.c.name == name)).one_or_none()
    if row is None:
        connection.execute(insert(leases).values(name=name, holder=holder, expires=until))
        return True
    if row.holder != holder and row.expires > to_number(time):
        return False
    connection.execute(update(leases).where(leases.c.name == name).values(holder=holder, expires=until))
    return True
