"""What the ACME server does for its clients (RFC 8555, 7.3 to 7.6).

A change is one transaction, whole or not at all; time is an argument.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import Connection

from ringfort.gateway.acme import jws, nonces, requests, store
from ringfort.gateway.acme.authority import REASONS, LeafKey, PublicIssuer
from ringfort.gateway.acme.database import Conflict, Database
from ringfort.gateway.acme.model import (
    ORDER_LIFETIME,
    Account,
    Authorisation,
    Certificate,
    Limits,
    Order,
    Status,
    error_text,
)
from ringfort.gateway.acme.names import Names
from ringfort.gateway.acme.problems import AcmeError, Kind, malformed
from ringfort.gateway.edge.model import EdgeError, check_public_name
from ringfort.identity.certificates import UNREADABLE, serial, to_pem
from ringfort.identity.errors import IdentityError

ORDERS_KEPT, CERTIFICATES_KEPT = timedelta(days=7), timedelta(days=90)
MOST_LISTED = 100
HOUR, WEEK = timedelta(hours=1), timedelta(days=7)


class Service:
    """Accounts, orders and certificates of one authority for public names."""

    def __init__(
        self, database: Database, issuer: PublicIssuer, names: Names, limits: Limits | None = None, lists: str = ""
    ) -> None:
        """``lists``: the URL of the revocation list, named in every certificate."""
        self.database = database
        self._issuer, self._names, self._limits, self._lists = issuer, names, limits or Limits(), lists

    # Nonces and accounts

    def nonce(self, now: datetime) -> str:
        """A fresh one."""
        return nonces.make(self.database.nonce_key, now, secrets.token_bytes(12))

    def use_nonce(self, nonce: str, now: datetime) -> None:
        """Take a nonce, once.

        Raises:
            AcmeError: it is not one of ours, is too old, or was used before.
        """
        problem = AcmeError(Kind.BAD_NONCE, "this nonce was not given out lately, or was used before; take the new one")
        value = jws.decoded(nonce, "the nonce")
        if not nonces.is_good(self.database.nonce_key, value, now):
            raise problem
        try:
            with self.database.writing() as connection:
                store.use_nonce(connection, value, now, nonces.LIFETIME)
        except Conflict as error:
            raise problem from error

    def account(self, identifier: str) -> Account:
        """The account that signed a request.

        Raises:
            AcmeError: there is none, or it is not in use any more.
        """
        with self.database.reading() as connection:
            found = store.account(connection, identifier)
        if found is None:
            raise AcmeError(Kind.ACCOUNT_DOES_NOT_EXIST, "there is no such account")
        return _in_use(found)

    def account_of_key(self, thumbprint: str) -> Account | None:
        """The account with a key, if there is one in use.

        Raises:
            AcmeError: it is not in use any more.
        """
        with self.database.reading() as connection:
            found = store.account_of_key(connection, thumbprint)
        return None if found is None else _in_use(found)

    def add_account(self, key: jws.Key, now: datetime) -> Account:
        """Make an account. Where somebody made it meanwhile, that is it."""
        new = Account(secrets.token_urlsafe(12), key.thumbprint, key.document, Status.VALID)
        try:
            with self.database.writing() as connection:
                store.add_account(connection, new, now)
        except Conflict:
            return self.account_of_key(key.thumbprint) or new
        return new

    def deactivate(self, account: Account) -> Account:
        """End an account, for good (RFC 8555, 7.3.6)."""
        with self.database.writing() as connection:
            store.change_account(connection, account.id, status=Status.DEACTIVATED)
        return replace(account, status=Status.DEACTIVATED)

    def change_key(self, account: Account, key: jws.Key) -> None:
        """Give an account another key (RFC 8555, 7.3.5).

        Raises:
            AcmeError: another account has it.
        """
        try:
            with self.database.writing() as connection:
                store.change_account(connection, account.id, thumbprint=key.thumbprint, key=key.document)
        except Conflict as error:
            raise malformed("another account has that key", 409) from error

    # Orders

    def add_order(self, account: Account, payload: Mapping[str, object], now: datetime) -> Order:
        """Take an order for names (RFC 8555, 7.4).

        Raises:
            AcmeError: a name is not to be had here, or too much is asked for.
        """
        names = _ordered(payload, self._limits.names)
        customer = self._customer(names)
        identifier = secrets.token_urlsafe(12)
        expires = (now + ORDER_LIFETIME).replace(microsecond=0)
        order = Order(
            identifier, account.id, customer, expires,
            tuple(self._pending(identifier, account, name, customer, expires) for name in names), None,
        )  # fmt: skip
        with self.database.writing() as connection:
            self._check_limits(connection, account, names, now)
            store.add_order(connection, order, now)
        return order

    @staticmethod
    def _pending(order: str, account: Account, name: str, customer: str, expires: datetime) -> Authorisation:
        return Authorisation(
            secrets.token_urlsafe(12), order, account.id, name, customer, Status.PENDING, secrets.token_urlsafe(32),
            expires, None, None,
        )  # fmt: skip

    def _customer(self, names: Sequence[str]) -> str:
        """The one customer whose names these are."""
        owners = {name: self._names.customer_of(name) if self._issuer.may_issue(name) else None for name in names}
        nobodys = [name for name, owner in owners.items() if owner is None]
        if nobodys:
            message = f"no certificate is issued here for {', '.join(nobodys)}: no endpoint has that public name"
            raise AcmeError(Kind.REJECTED_IDENTIFIER, message)
        if len(set(owners.values())) != 1:
            raise AcmeError(Kind.REJECTED_IDENTIFIER, "the names of one certificate belong to one customer")
        return str(next(iter(owners.values())))

    def _check_limits(self, connection: Connection, account: Account, names: Sequence[str], now: datetime) -> None:
        if store.count_orders(connection, account.id, now - HOUR) >= self._limits.orders:
            raise AcmeError(Kind.RATE_LIMITED, f"{self._limits.orders} orders in an hour", retry_after=600)
        for name in names:
            if store.count_failures(connection, name, now - HOUR) >= self._limits.failures:
                message = f"{self._limits.failures} proofs of {name} failed within an hour"
                raise AcmeError(Kind.RATE_LIMITED, message, retry_after=1800)
            if store.count_certificates(connection, name, now - WEEK) >= self._limits.certificates:
                message = f"{self._limits.certificates} certificates for {name} in a week"
                raise AcmeError(Kind.RATE_LIMITED, message, retry_after=86_400)

    def order(self, account: Account, identifier: str) -> Order:
        """One of an account's orders.

        Raises:
            AcmeError: it is another's, or there is none.
        """
        with self.database.reading() as connection:
            found = store.order(connection, identifier)
        if found is None or found.account != account.id:
            raise _not_yours()
        return found

    def orders(self, account: Account) -> list[str]:
        """An account's latest orders."""
        with self.database.reading() as connection:
            return store.orders_of(connection, account.id, MOST_LISTED)

    def authorisation(self, account: Account, identifier: str) -> Authorisation:
        """One of an account's authorisations.

        Raises:
            AcmeError: it is another's, or there is none.
        """
        with self.database.reading() as connection:
            found = store.authorisation(connection, identifier)
        if found is None or found.account != account.id:
            raise _not_yours()
        return found

    def give_up(self, account: Account, identifier: str) -> Authorisation:
        """Deactivate an authorisation (RFC 8555, 7.5.2)."""
        found = self.authorisation(account, identifier)
        before = (Status.PENDING, Status.PROCESSING, Status.VALID)
        with self.database.writing() as connection:
            store.change_authorisation(connection, found.id, before, status=Status.DEACTIVATED)
        return self.authorisation(account, identifier)

    # Challenges

    def begin(self, account: Account, identifier: str, now: datetime) -> tuple[Authorisation, bool]:
        """Begin to look at a challenge; whether that is to be done now."""
        found = self.authorisation(account, identifier)
        if now >= found.expires:
            raise malformed("the order has expired")
        with self.database.writing() as connection:
            begun = store.change_authorisation(connection, found.id, (Status.PENDING,), status=Status.PROCESSING)
        return self.authorisation(account, identifier), begun

    def waiting(self) -> list[str]:
        """Authorisations that nobody has finished looking at."""
        with self.database.reading() as connection:
            return store.waiting(connection)

    def expected(self, identifier: str) -> tuple[Authorisation, str] | None:
        """An authorisation and what has to be answered for it: token and thumbprint of the account's key now."""
        with self.database.reading() as connection:
            found = store.authorisation(connection, identifier)
            owner = store.account(connection, found.account) if found is not None else None
        if found is None or owner is None:
            return None
        return found, f"{found.token}.{owner.thumbprint}"

    def finish(self, identifier: str, problem: AcmeError | None, now: datetime) -> None:
        """Keep what came of a challenge."""
        values: dict[str, Any] = {"status": Status.VALID, "validated": store.seconds(now)}
        if problem is not None:
            failed = error_text(problem.document())
            values = {"status": Status.INVALID, "failed": store.seconds(now), "error": failed}
        with self.database.writing() as connection:
            store.change_authorisation(connection, identifier, (Status.PROCESSING,), **values)

    # Certificates

    def finalize(self, account: Account, identifier: str, request: bytes, now: datetime) -> Order:
        """Issue the certificate of an order that is ready (RFC 8555, 7.4).

        Raises:
            AcmeError: it isn't ready, the request doesn't fit it, or a name is no longer the customer's.
        """
        order = self.order(account, identifier)
        if order.status(now) is not Status.READY:
            raise AcmeError(Kind.ORDER_NOT_READY, f"the order is {order.status(now)}")
        key = requests.read(request, order.names)
        if _thumbprint(key) == _thumbprint_of_account(account):
            raise AcmeError(Kind.BAD_PUBLIC_KEY, "a certificate's key is not an account's (RFC 8555, 11.1)")
        if self._customer(order.names) != order.customer:
            raise AcmeError(Kind.UNAUTHORIZED, "a name has gone to another customer since it was proved")
        try:
            leaf = self._issuer.issue(order.names, key, now, lists=self._lists)
        except IdentityError as error:
            raise AcmeError(Kind.SERVER_INTERNAL, "the authority can't issue that at present") from error
        made = Certificate(
            secrets.token_urlsafe(12),
            account.id,
            serial(leaf),
            to_pem([leaf, self._issuer.certificate]).decode(),
            False,
        )
        with self.database.writing() as connection:
            again = store.order(connection, identifier)
            if again is None or again.status(now) is not Status.READY:
                raise AcmeError(Kind.ORDER_NOT_READY, "the order is no longer ready")
            if store.is_compromised(connection, _thumbprint(key)):
                raise AcmeError(Kind.BAD_PUBLIC_KEY, "a certificate for this key was revoked as stolen; make another")
            store.add_certificate(connection, made, order, _thumbprint(key), (now, leaf.not_valid_after_utc))
        return self.order(account, identifier)

    def certificate(self, account: Account, identifier: str) -> Certificate:
        """One of an account's certificates.

        Raises:
            AcmeError: it is another's, or there is none.
        """
        with self.database.reading() as connection:
            found = store.certificate(connection, identifier=identifier)
        if found is None or found.account != account.id:
            raise _not_yours()
        return found

    def revoke(self, signer: Account | jws.Key, der: bytes, reason: object, now: datetime) -> None:
        """Revoke a certificate, for the account that got it or whoever has its key (RFC 8555, 7.6).

        Raises:
            AcmeError: it is not of this authority, not the signer's to revoke, or was revoked before.
        """
        if not isinstance(reason, int) or isinstance(reason, bool) or reason not in REASONS:
            raise AcmeError(Kind.BAD_REVOCATION_REASON, f"a reason is one of {', '.join(map(str, REASONS))}")
        try:
            leaf = x509.load_der_x509_certificate(der)
            number, key = serial(leaf), leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        except UNREADABLE as error:
            raise malformed("this is no certificate") from error
        with self.database.writing() as connection:
            found = store.certificate(connection, serial=number)
            if found is None or x509.load_pem_x509_certificate(found.chain.encode()) != leaf:
                raise malformed("this certificate is not of this authority", 404)
            is_allowed = found.account == signer.id if isinstance(signer, Account) else _subject_key(signer) == key
            if not is_allowed:
                raise AcmeError(
                    Kind.UNAUTHORIZED, "neither the account that got the certificate nor its key signed this"
                )
            if not store.revoke(connection, found.id, reason, now):
                raise AcmeError(Kind.ALREADY_REVOKED, "the certificate was revoked before")

    def revocation_list(self, now: datetime) -> bytes:
        """The revocation list as DER, signed now."""
        with self.database.reading() as connection:
            entries = list(store.revoked(connection, now))
        return self._issuer.sign_list(store.seconds(now), entries, now).public_bytes(Encoding.DER)

    def keep_house(self, now: datetime) -> None:
        """Forget what is long over."""
        with self.database.writing() as connection:
            store.forget(connection, now - ORDERS_KEPT, now - CERTIFICATES_KEPT)


def _ordered(payload: Mapping[str, object], most: int) -> list[str]:
    """The names of an order, each once."""
    identifiers = payload.get("identifiers")
    if not isinstance(identifiers, list) or not identifiers or len(identifiers) > most:
        raise malformed(f"an order has from 1 to {most} identifiers")
    if "notBefore" in payload or "notAfter" in payload:
        raise malformed("how long a certificate is good is not the client's to say")
    names: dict[str, None] = {}
    for one in identifiers:
        if not isinstance(one, dict) or not isinstance(one.get("value"), str):
            raise malformed("an identifier has a type and a value")
        if one.get("type") != "dns":
            raise AcmeError(Kind.UNSUPPORTED_IDENTIFIER, "certificates are for names only (type dns)")
        try:
            names[check_public_name(one["value"].lower())] = None
        except EdgeError as error:
            raise AcmeError(Kind.REJECTED_IDENTIFIER, error.message) from error
    return list(names)


def _in_use(account: Account) -> Account:
    if account.status is not Status.VALID:
        raise AcmeError(Kind.UNAUTHORIZED, f"the account is {account.status}")
    return account


def _not_yours() -> AcmeError:
    """The same for what is another's and for what isn't there: who asks learns nothing."""
    return AcmeError(Kind.UNAUTHORIZED, "this account has nothing of that name")


def _thumbprint(key: LeafKey) -> str:
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def _subject_key(key: jws.Key) -> bytes:
    public: bytes = key.jwk.key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return public


def _thumbprint_of_account(account: Account) -> str:
    key = jws.read_key(jws.json_object(account.key.encode(), "the account's key"))
    return hashlib.sha256(_subject_key(key)).hexdigest()
