"""From the control plane's records to cosigned checkpoints, in order, each step safe to repeat after a crash."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from ringfort.audit.authentic import AuthenticLog
from ringfort.audit.checkpoint import Checkpoint, SignedCheckpoint, parse_checkpoint, sign, signed_by
from ringfort.audit.errors import AuditError
from ringfort.audit.fetching import Cosigner, WitnessConflictError
from ringfort.audit.journal import replace_file
from ringfort.audit.keeping import Keeping
from ringfort.audit.log import Log
from ringfort.audit.notes import Signature, SignerKey
from ringfort.audit.personal import Opening
from ringfort.audit.reading import Directory
from ringfort.audit.tiles import WIDTH, checkpoint_path
from ringfort.audit.tiling import drop_partials, extend
from ringfort.audit.tree import EMPTY_ROOT

BATCH = 1024
"""Records taken from the control plane at once."""

LARGEST_JOURNAL = 16 * 1024 * 1024
"""Bytes after which a new journal is begun, if its records are published."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A record that waits to be published: its body, and what opens its commitments."""

    body: bytes
    openings: tuple[Opening, ...] = ()


class Outbox(Protocol):
    """Where the control plane keeps records, numbered from 0 without gaps."""

    def pending(self, first: int, limit: int) -> Sequence[Pending]:
        """Committed records from number ``first`` on, in order, at most ``limit``."""


class Publisher:
    """Moves records into the log and publishes checkpoints. One at a time works; others wait for it.

    Args:
        log: whose.
        key: the log's signing key; its name is the log's origin.
        witnesses: all are asked.
        needed: how many of them have to cosign before a checkpoint is published.
    """

    def __init__(self, log: Log, key: SignerKey, witnesses: Sequence[Cosigner], needed: int = 1) -> None:
        if key.name != log.origin:
            raise AuditError("audit-key", f"the key is of {key.name}, and the log is {log.origin}")
        if not 1 <= needed <= len(witnesses):
            raise AuditError(
                "audit-witness", f"{needed} of {len(witnesses)} witnesses can't cosign; at least one has to"
            )
        self._log = log
        self._key = key
        self._witnesses = tuple(witnesses)
        self._needed = needed

    def run(self, outbox: Outbox, *, refresh: bool = False) -> SignedCheckpoint | None:
        """Append what waits and publish it; gives the checkpoint that is then the last.

        Args:
            refresh: as for `publish`.

        Raises:
            AuditError: as `take` and `publish` do; repeating is always safe.
        """
        while self.take(outbox):
            pass
        return self.publish(refresh=refresh)

    def take(self, outbox: Outbox) -> int:
        """Append one batch of waiting records durably; gives how many."""
        first = self._log.size
        waiting = outbox.pending(first, BATCH)
        openings = [opening for item in waiting for opening in item.openings]
        if openings:
            with Keeping(self._log.private) as keeping:
                keeping.put(openings)
        self._log.append([item.body for item in waiting], first)
        return len(waiting)

    def publish(self, *, refresh: bool = False) -> SignedCheckpoint | None:
        """Publish a checkpoint over everything that is acknowledged; none while there is nothing.

        Args:
            refresh: have the last one cosigned anew when there is nothing more; else it stays as it is.

        The order makes every crash harmless: records are durable before tiles, tiles before the signature, the
        signature is kept before a witness sees it, and the checkpoint is replaced last.

        Raises:
            AuditError: ``audit-unwitnessed`` when too few witnesses cosign: the last checkpoint stays what it was;
                ``audit-unauthentic``: somebody changed files of the log.
        """
        with self._alone():
            old = self._log.checkpoint()
            with self._log.locked() as journal:
                size = journal.position.index
                start = old.checkpoint.size if old else 0
                leaves = journal.leaves[len(journal.leaves) - (size - start) :] if size > start else []
            if not leaves and (old is None or not refresh):
                return old
            try:
                return self._extend(old, leaves) if leaves or old is None else self._again(old)
            except OSError as error:
                raise AuditError(
                    "audit-log-full",
                    f"the log could not be published: {error.strerror}",
                    "records are kept, and the last checkpoint is still served; make room",
                ) from error

    def _extend(self, old: SignedCheckpoint | None, leaves: Sequence[bytes]) -> SignedCheckpoint:
        before = old.checkpoint if old else Checkpoint(self._log.origin, 0, EMPTY_ROOT)
        self._check_own(old)
        signed = self._sign(extend(self._log.public, before, leaves))
        cosigned = self._cosigned(signed)
        self._remember(before.size, cosigned)
        replace_file(self._log.public / "checkpoint", str(cosigned).encode())
        drop_partials(self._log.public, before.size, cosigned.checkpoint.size)
        self._renew_journal(cosigned.checkpoint.size)
        return cosigned

    def _again(self, old: SignedCheckpoint) -> SignedCheckpoint:
        """The same state, cosigned now: so that its age tells whether an old one is shown."""
        self._check_own(old)
        cosigned = self._cosigned(self._sign(old.checkpoint))
        replace_file(self._log.public / "checkpoint", str(cosigned).encode())
        return cosigned

    def _check_own(self, old: SignedCheckpoint | None) -> None:
        """Build only upon a checkpoint of our own."""
        if old is not None and not signed_by(old.note, self._key.public()):
            raise AuditError("audit-unsigned", "the log's checkpoint carries no signature of its own key")

    def _sign(self, fresh: Checkpoint) -> SignedCheckpoint:
        """Sign, unless it contradicts what was signed before (tlog-checkpoint, "Signatures")."""
        place = self._log.private / "signed"
        if place.exists():
            last = parse_checkpoint(place.read_bytes()).checkpoint
            if (
                last.size > fresh.size
                or AuthenticLog(Directory(self._log.public), fresh).root_at(last.size) != last.root
            ):
                raise AuditError(
                    "audit-own-fork",
                    f"a checkpoint of {last.size} records was signed that these records don't lead to",
                    "the log lost or changed records since; put its directory back from a copy that has them",
                )
        signed = sign(fresh, self._key)
        replace_file(place, str(signed).encode(), 0o600)
        return signed

    def _cosigned(self, signed: SignedCheckpoint) -> SignedCheckpoint:
        log = AuthenticLog(Directory(self._log.public), signed.checkpoint)
        signatures: list[Signature] = []
        reasons: list[str] = []
        for witness in self._witnesses:
            try:
                signatures.append(ask(witness, log, signed))
            except AuditError as error:
                reasons.append(error.message)
        if len(signatures) < self._needed:
            raise AuditError(
                "audit-unwitnessed",
                f"{len(signatures)} of {self._needed} witnesses cosigned: {'; '.join(reasons)}",
                "records are kept and will be published when the witnesses answer",
            )
        return SignedCheckpoint(signed.checkpoint, signed.note.with_signatures(signatures))

    def _remember(self, before: int, cosigned: SignedCheckpoint) -> None:
        """Keep the first checkpoint after each full tile: they tell where a history was written anew."""
        if before // WIDTH == cosigned.checkpoint.size // WIDTH:
            return
        place = self._log.public / checkpoint_path(cosigned.checkpoint.size)
        place.parent.mkdir(parents=True, exist_ok=True)
        replace_file(place, str(cosigned).encode())

    def _renew_journal(self, size: int) -> None:
        with self._log.locked() as journal:
            self._log.published(size)
            journal.forget(size)
            if journal.position.offset > LARGEST_JOURNAL:
                self._log.begin_journal(journal)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        lock = os.open(self._log.private / "publishing", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def ask(witness: Cosigner, log: AuthenticLog, signed: SignedCheckpoint) -> Signature:
    """A witness's cosignature; it tells which size it knows, and gets the proof from there.

    Raises:
        AuditError: it refuses, can't be reached, or knows a larger log.
    """
    known = 0
    for _ in range(2):
        try:
            proof = log.consistency(known) if known else []
            return witness.cosign(known, proof, signed.note)
        except WitnessConflictError as conflict:
            known = conflict.size
            if known > signed.checkpoint.size:
                raise
    return witness.cosign(known, log.consistency(known), signed.note)
