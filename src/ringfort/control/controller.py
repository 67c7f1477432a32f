"""A controller, assembled: database, listeners, and what it does by itself."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path

from aiohttp import web
from securesystemslib.signer import Signer
from sqlalchemy import Connection as Transaction
from sqlalchemy import delete

from ringfort.compute.sealing import PlatformKey
from ringfort.control.authorisation import Policies, shipped
from ringfort.control.callers import Assignment, Caller, customer_caller, itself, platform_caller, refused
from ringfort.control.clock import now, to_number
from ringfort.control.connections import Connection, Listener
from ringfort.control.contexts import CustomerContext
from ringfort.control.database import Database
from ringfort.control.dispatch import Dispatcher
from ringfort.control.errors import ControlError
from ringfort.control.operations.uploads import remove_old
from ringfort.control.pacing import Pacer
from ringfort.control.performing import bump
from ringfort.control.placing import Placer
from ringfort.control.publisher import AuditPublisher
from ringfort.control.repository import DatabaseStore
from ringfort.control.serving import Served
from ringfort.control.settings import Settings, endpoint
from ringfort.control.state import POLL_SECONDS, STALE_SECONDS, Watcher
from ringfort.control.tables import certificates, enrolment_tokens, events, idempotency, leases, revocation_lists
from ringfort.control.trust import CHANGED, Held, Trust
from ringfort.control.writer import Writer
from ringfort.gateway.acme.files import read as public_issuer
from ringfort.identity import store as identities
from ringfort.identity.certificates import authority_id
from ringfort.identity.credential import Credential, is_due
from ringfort.identity.errors import IdentityRefused
from ringfort.identity.revocation import Revocations, State
from ringfort.identity.tls import Party, peer
from ringfort.identity.verification import anyone
from ringfort.publishing.errors import PublishingError
from ringfort.publishing.keys import read_signer
from ringfort.publishing.repository import Repository

log = logging.getLogger("ringfort.control")

MINUTE = 60.0
KEYS_KEPT = timedelta(hours=24)
CERTIFICATES_KEPT = timedelta(days=7)
UPLOADS_KEPT = timedelta(hours=24)
EVENTS_KEPT = timedelta(days=90)


class Controller:
    """One controller process."""

    def __init__(self, settings: Settings, policies: Policies | None = None) -> None:
        """Read what the settings name.

        Raises:
            RingfortError: something is missing or does not fit together.
        """
        self._settings = settings
        self.database = Database(settings.database)
        self._trust = Trust(settings.authority, self.database)
        authority, bundle = self._trust.held.authority, self._trust.held.bundle
        self.party = Party(identities.read_credential(settings.credential), bundle)
        online: Signer | None = read_signer(settings.online_key, None) if settings.online_key is not None else None
        log_directory = settings.audit.directory if settings.audit is not None else None
        self.publisher: AuditPublisher | None = None
        data_key = PlatformKey.read(settings.data_key) if settings.data_key is not None else None
        former = PlatformKey.read(settings.former_data_key) if settings.former_data_key is not None else None
        public = public_issuer(settings.public_authority) if settings.public_authority is not None else None
        self.served = Served(bundle.trust_domain, authority, online, log_directory, data_key, public, former)
        self.served.approvers_root = _read_root(settings.approvers_root)
        self.watcher = Watcher(self.database, self.served.approvers_root)
        self.watcher.state.configured = {
            name: Assignment.of(operator.roles, operator.sites) for name, operator in settings.operators.items()
        }
        self.writer = Writer(self.database)
        self.dispatcher = Dispatcher(self.served, self.database, self.watcher, self.writer, policies or shipped())
        self.pacer = Pacer(self.served, self.database, self.watcher, self.writer, self._itself)
        self.placer = Placer(self.served, self.database, self.watcher, self.writer, self._itself)
        self._customers = CustomerContext(settings.credential)
        self._listeners: list[Listener] = []
        self._tasks: list[asyncio.Task[None]] = []
        self.platform_addresses: list[tuple[str, int]] = []
        self.customer_addresses: list[tuple[str, int]] = []
        self.door_addresses: list[tuple[str, int]] = []

    async def start(self) -> None:
        """Migrate, learn, listen.

        Raises:
            ControlError: the database or an address can't be had.
        """
        await asyncio.to_thread(self.database.migrate)
        self.watcher.on_change(self._noticed)
        await self.watcher.look()
        self._trust.start(self.watcher, self.writer, self._take)
        await self._trust.look()
        self._tasks.append(asyncio.create_task(self._trust.run()))
        if self._settings.audit is not None:
            self.publisher = AuditPublisher(
                self._settings.audit,
                f"{self.party.credential.identity.name}#{secrets.token_hex(4)}",
                self.database,
                self.writer,
                self.party,
            )
            self.writer.on_commit(self.publisher.notice)
            self._tasks.append(asyncio.create_task(self.publisher.run()))
        self.platform_addresses = await self._listen(
            self.dispatcher.application(customers=False, identify=self._platform), self._settings.listen.platform, False
        )
        if self._settings.listen.customers:
            self.customer_addresses = await self._listen(
                self.dispatcher.application(customers=True, identify=self._customer),
                self._settings.listen.customers,
                True,
            )
        if self._settings.listen.door:
            listener = Listener(self.dispatcher.application(customers=True, identify=self._customer))
            self._listeners.append(listener)
            places = [endpoint(text) for text in self._settings.listen.door]
            self.door_addresses = await listener.listen_behind_door(places, self._customers.server)
        self._every(POLL_SECONDS, self.watcher.look)
        self._tasks += [asyncio.create_task(self.pacer.run()), asyncio.create_task(self.placer.run())]
        self._every(MINUTE, self._keep_house)
        self._every(MINUTE, self._renew)

    async def close(self) -> None:
        """Stop: no new calls, finish what was begun, close the database."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for listener in self._listeners:
            await listener.close()
        await asyncio.to_thread(self.dispatcher.close)
        await self.writer.close()
        if self.publisher is not None:
            self.publisher.close()
        # A task that was cancelled leaves its thread behind, which may still hold a connection.
        await asyncio.get_running_loop().shutdown_default_executor()
        self.database.close()

    # -- listeners -------------------------------------------------------------------------------------------------

    async def _listen(
        self, application: web.Application, endpoints: list[str], customers: bool
    ) -> list[tuple[str, int]]:
        listener = Listener(application)
        self._listeners.append(listener)
        context = self._customers.server if customers else self.party.server
        return await listener.listen([endpoint(text) for text in endpoints], context)

    def _platform(self, connection: Connection, request: web.Request, time: datetime) -> Caller:
        transport = connection.transport
        if transport is None:
            raise refused("connection-closed", "the connection is closed")
        address = str(transport.get_extra_info("peername")[0])
        until = time + timedelta(seconds=STALE_SECONDS)
        lists = {authority_id(issuer): State(0, until) for issuer in self.party.bundle.issuers}
        revoked = Revocations(self.watcher.state.revoked, lists)
        try:
            found = peer(
                transport.get_extra_info("ssl_object"),
                address,
                self.party.bundle,
                time,
                expected=anyone,
                revoked=revoked,
            )
        except IdentityRefused as error:
            log.info("refused a connection from %s: %s", address, error)
            raise refused(error.code, error.message, error.hint) from error
        return platform_caller(found, address, self.watcher.state.operators)

    def _customer(self, connection: Connection, request: web.Request, time: datetime) -> Caller:
        transport = connection.transport
        tls = transport.get_extra_info("ssl_object") if transport is not None else None
        if transport is None or tls is None:
            raise refused("connection-closed", "the connection is closed")
        address = connection.origin or str(transport.get_extra_info("peername")[0])
        return customer_caller(tls.getpeercert(True) or b"", address, time, self.watcher.state.customers)

    def _take(self, held: Held) -> None:
        """Use what the authority's directory holds now."""
        self.served.authority = held.authority
        if held.bundle != self.party.bundle:
            self.party.renew(bundle=held.bundle)

    def _noticed(self, topics: frozenset[str]) -> None:
        if "customers" in topics:
            self._customers.trust(der for _, der in self.watcher.state.customers.values())
        if topics & {"revocations", "customers", CHANGED}:
            ended = sum(listener.end(self.dispatcher.distrusted) for listener in self._listeners)
            if ended:
                log.info("ended %d connections of callers who are no longer trusted", ended)

    def _itself(self) -> Caller:
        return itself(self.party.credential, self.platform_addresses[0][0])

    # -- what it does by itself ------------------------------------------------------------------------------------

    def _every(self, seconds: float, work: Callable[[], Awaitable[object]]) -> None:
        async def forever() -> None:
            while True:
                await asyncio.sleep(seconds)
                try:
                    await work()
                except Exception as error:  # noqa: BLE001  # it is tried again, and says why it failed
                    log.warning("%s failed: %s", getattr(work, "__name__", "work"), error)

        self._tasks.append(asyncio.create_task(forever()))

    async def _keep_house(self) -> None:
        await self.writer.run(self._tidy)
        await self.watcher.look()

    def _tidy(self, connection: Transaction) -> None:
        time = now()
        connection.execute(delete(idempotency).where(idempotency.c.at < to_number(time - KEYS_KEPT)))
        old = to_number(time - CERTIFICATES_KEPT)
        connection.execute(delete(certificates).where(certificates.c.expires < old))
        connection.execute(delete(enrolment_tokens).where(enrolment_tokens.c.expires < old))
        connection.execute(delete(revocation_lists).where(revocation_lists.c.until < old))
        connection.execute(delete(leases).where(leases.c.expires < old))
        remove_old(connection, to_number(time - UPLOADS_KEPT))
        connection.execute(delete(events).where(events.c.at < to_number(time - EVENTS_KEPT)))
        if self.served.online is not None:
            with contextlib.suppress(PublishingError):  # nothing published yet, or the key is another controller's
                if Repository(DatabaseStore(connection, self.served.approvers_root)).refresh(self.served.online, time):
                    bump(connection, ["environment"])

    async def _renew(self) -> None:
        """Renew the own certificate at two thirds of its life, with an authority that is at hand."""
        credential, time = self.party.credential, now()
        if not is_due(credential.leaf, time):
            return
        new = await asyncio.to_thread(self._renewed, credential, time)
        self.party.renew(new)
        self._customers.renew()

    def _renewed(self, credential: Credential, time: datetime) -> Credential:
        key, identity = credential.key, credential.identity
        for issuer in self._trust.held.authority.issuers.values():
            inside = all(any(address in block for block in issuer.networks) for address in credential.addresses)
            if inside:
                leaf = issuer.issue(identity, credential.addresses, key.public_key(), time)
                new = Credential(key, (leaf, issuer.certificate))
                identities.write_credential(self._settings.credential, new)
                return new
        raise ControlError("renewal-impossible", "no authority here may renew the controller's certificate")


def _read_root(path: Path | None) -> bytes | None:
    try:
        return None if path is None else path.read_bytes()
    except OSError as error:
        raise ControlError("root-unreadable", f"{path} can't be read: {error.strerror}") from error
