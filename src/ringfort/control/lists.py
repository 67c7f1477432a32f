"""Signed revocation lists as all controllers of one database keep them, and which of them are to be signed anew.

A controller signs for the authorities whose keys it holds: what was revoked by calls, and what stands on the list in
its authority's directory. Lists of other authorities that it finds there (the root's) it hands on as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import Connection, insert, select, update

from ringfort.control.clock import to_number, to_time
from ringfort.control.performing import bump
from ringfort.control.tables import revocation_lists, revocations
from ringfort.identity.authority import Issuer
from ringfort.identity.certificates import authority_id
from ringfort.identity.revocation import Revoked, entries_of, list_number, outlived, renew_list

REFRESH = timedelta(hours=6)
"""How old a list may be before it is signed anew though it says all: a quarter of the time that it is good for."""

Lists = Mapping[str, x509.CertificateRevocationList]
"""By the key identifier of the authority that signed."""


def stored(connection: Connection) -> dict[str, x509.CertificateRevocationList]:
    """The lists that controllers put here; whoever relies on one verifies its signature."""
    rows = connection.execute(select(revocation_lists).order_by(revocation_lists.c.authority))
    return {row.authority: x509.load_der_x509_crl(row.content) for row in rows}


def due(connection: Connection, issuers: Iterable[Issuer], found: Lists, now: datetime) -> Lists:
    """The lists that have to be put here: those of ``issuers`` that lack something or are old, newer ones ``found``."""
    here, held = stored(connection), {authority_id(issuer.certificate): issuer for issuer in issuers}
    new: dict[str, x509.CertificateRevocationList] = {}
    for authority, issuer in held.items():
        known = [lists[authority] for lists in (here, found) if authority in lists]
        signed = _renewed(issuer, known, _recorded(connection, authority), here.get(authority), now)
        if signed is not None:
            new[authority] = signed
    for authority, crl in found.items():
        newer = authority not in here or list_number(crl) > list_number(here[authority])
        if authority not in held and newer:
            new[authority] = crl
    return new


def put(connection: Connection, lists: Lists) -> None:
    """Keep these lists, in the place of earlier ones, and let the other controllers know."""
    for authority, crl in lists.items():
        until = crl.next_update_utc
        assert until is not None
        values = {"until": to_number(until), "content": crl.public_bytes(Encoding.DER)}
        done = connection.execute(
            update(revocation_lists).where(revocation_lists.c.authority == authority).values(**values)
        )
        if not done.rowcount:
            connection.execute(insert(revocation_lists).values(authority=authority, **values))
    if lists:
        bump(connection, ["lists"])


def _recorded(connection: Connection, authority: str) -> list[Revoked]:
    rows = connection.execute(
        select(revocations.c.serial, revocations.c.revoked).where(revocations.c.authority == authority)
    )
    return [Revoked(authority, int(row.serial, 16), to_time(row.revoked).replace(microsecond=0)) for row in rows]


def _renewed(
    issuer: Issuer,
    known: list[x509.CertificateRevocationList],
    recorded: list[Revoked],
    last: x509.CertificateRevocationList | None,
    now: datetime,
) -> x509.CertificateRevocationList | None:
    """The next list of an authority; None while the last one here says all there is to say, and is fresh."""
    if issuer.certificate.not_valid_after_utc < now:
        return None
    wanted = {*recorded, *(entry for crl in known for entry in entries_of(crl, authority_id(issuer.certificate)))}
    if last is not None and now < last.last_update_utc + REFRESH:
        said = {entry.serial_number for entry in last}
        if all(entry.serial in said or outlived(entry, now) for entry in wanted):
            return None
    return renew_list(issuer, max(known, key=list_number, default=None), wanted, now)
