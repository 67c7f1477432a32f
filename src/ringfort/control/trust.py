"""Whom a controller trusts, kept true while it runs: the authority's directory, and the lists of all controllers.

The directory is looked at every other second: another issuing authority, another bundle or another list there takes
effect without a restart. What is half written then does not fit together, is said in the log, and read again.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from sqlalchemy import Connection

from ringfort.control import lists
from ringfort.control.authority import SiteAuthorities
from ringfort.control.clock import now
from ringfort.control.database import Database
from ringfort.control.state import Watcher
from ringfort.control.waking import called
from ringfort.control.writer import Writer
from ringfort.identity.authority import Issuer
from ringfort.identity.bundle import Bundle
from ringfort.identity.certificates import authority_id
from ringfort.identity.errors import IdentityError
from ringfort.identity.revocation import Revocations, list_authority
from ringfort.identity.store import Store

log = logging.getLogger("ringfort.control")

LOOK_SECONDS = 2.0
CHANGED = "trust"
"""What listeners are told when a list or the bundle is another one."""


@dataclass(frozen=True, slots=True)
class Held:
    """What an authority's directory holds. ``issuers``: all with keys, those that were replaced included."""

    authority: SiteAuthorities
    issuers: tuple[Issuer, ...]
    found: lists.Lists

    @property
    def bundle(self) -> Bundle:
        """Roots and issuing authorities."""
        return self.authority.bundle

    @property
    def digest(self) -> str:
        """What tells one bundle from another: SHA-256, hex."""
        return hashlib.sha256(self.bundle.to_pem()).hexdigest()


def read(files: Store) -> Held:
    """What the directory holds now.

    Raises:
        IdentityError: something is missing, or does not fit together.
    """
    bundle = files.bundle()
    sites = SiteAuthorities({site: files.issuer(site) for site in files.sites()}, bundle)
    return Held(sites, files.all_issuers(), {list_authority(crl, bundle): crl for crl in files.lists()})


class Trust:
    """The directory and the lists, in use."""

    def __init__(self, directory: Path, database: Database) -> None:
        """Read the directory.

        Raises:
            IdentityError: something is missing, or does not fit together.
        """
        self._files = Store(directory)
        self._database = database
        self._marks = _marks(directory)
        self.held = read(self._files)
        self._wake = asyncio.Event()
        self._told: Callable[[Held], None] = lambda _held: None

    def start(self, watcher: Watcher, writer: Writer, told: Callable[[Held], None]) -> None:
        """Say who else has to know: ``told`` is called with what the directory holds, now and after each change."""
        self._watcher, self._writer, self._told = watcher, writer, told
        watcher.on_change(self._notice)
        self._use()

    def _notice(self, topics: frozenset[str]) -> None:
        if topics & {"revocations", "lists"}:
            self._wake.set()

    async def run(self) -> None:
        """Look for ever: at once when another controller said something, else every `LOOK_SECONDS`."""
        while True:
            await called(self._wake, LOOK_SECONDS)
            try:
                await self.look()
            except Exception as error:  # noqa: BLE001  # it is tried again, and says why it failed
                log.warning("the authority's files or lists: %s", error)

    async def look(self) -> None:
        """Take what changed in the directory, sign what has to be signed, heed what all the lists say."""
        marks = await asyncio.to_thread(_marks, self._files.directory)
        if marks != self._marks:
            self.held = await asyncio.to_thread(read, self._files)
            self._marks = marks
            self._use()
        if await asyncio.to_thread(self._is_due):
            await self._writer.run(self._sign)
            await self._watcher.look()
        listed = await asyncio.to_thread(self._listed, self._watcher.state.lists.values())
        if listed != self._watcher.state.listed:
            self._watcher.state.heed(listed)
            self._watcher.tell(frozenset({CHANGED}))

    def _use(self) -> None:
        state = self._watcher.state
        changed = state.bundle != self.held.digest
        state.bundle = self.held.digest
        state.authorities = frozenset(map(authority_id, self.held.bundle.issuers))
        self._told(self.held)
        if changed:
            log.info("issuing authorities: %s", ", ".join(sorted(self.held.authority.issuers)) or "none of its own")
            self._watcher.tell(frozenset({CHANGED, "bundle"}))

    def _is_due(self) -> bool:
        with self._database.reading() as connection:
            return bool(lists.due(connection, self.held.issuers, self.held.found, now()))

    def _sign(self, connection: Connection) -> None:
        new = lists.due(connection, self.held.issuers, self.held.found, now())
        lists.put(connection, new)
        log.info("revocation lists: %d signed or handed on", len(new))

    def _listed(self, known: Iterable[x509.CertificateRevocationList]) -> frozenset[tuple[str, int]]:
        """What is on the lists of authorities that are trusted here."""
        entries: set[tuple[str, int]] = set()
        for crl in (*known, *self.held.found.values()):
            try:
                entries |= Revocations.from_lists([crl], self.held.bundle).entries
            except IdentityError as error:
                log.warning("%s", error)
        return frozenset(entries)


def _marks(directory: Path) -> frozenset[tuple[str, int, int]]:
    """What tells that a file was replaced: its name, when, and its number on the disk."""
    files = [directory / "bundle.pem"]
    for folder in ("issuers", "crl"):
        files += (directory / folder).glob("*.pem")
    found = set()
    for file in files:
        with contextlib.suppress(FileNotFoundError):
            status = file.stat()
            found.add((str(file), status.st_mtime_ns, status.st_ino))
    return frozenset(found)
