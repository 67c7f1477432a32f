"""Revocation: one signed list (CRL, RFC 5280, 5) for each authority, and the value that every check asks.

A list that is out of date answers nothing, so it refuses: whoever withholds lists must not bring back what was revoked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from ringfort.identity.authority import BACKDATE, LONGEST_LIFETIME, Issuer, Root
from ringfort.identity.bundle import Bundle
from ringfort.identity.certificates import UNREADABLE, authority_id, authority_key_id, display, extension
from ringfort.identity.errors import IdentityError, IdentityRefused, Refusal

LIST_LIFETIME = timedelta(hours=24)
"""No longer than a certificate lives: what an older list could say is about certificates that have expired."""


@dataclass(frozen=True, slots=True, order=True)
class Revoked:
    """One certificate that is no longer accepted: the authority's key identifier, its serial number, and since when."""

    authority: str
    serial: int
    since: datetime = field(compare=False)


def revoked(certificate: x509.Certificate, since: datetime) -> Revoked:
    """The entry that revokes a certificate."""
    identifier = authority_key_id(certificate)
    if identifier is None:
        raise IdentityError("identity-malformed", f"{display(certificate)} does not name its authority's key")
    return Revoked(identifier, certificate.serial_number, since)


def sign_list(
    authority: Issuer | Root,
    number: int,
    entries: Iterable[Revoked],
    now: datetime,
    lifetime: timedelta = LIST_LIFETIME,
) -> x509.CertificateRevocationList:
    """An authority's list of what it has revoked.

    Args:
        number: grows with each list (RFC 5280, 5.2.3).
        entries: those of other authorities are left out.
    """
    own = authority.key.public_key()
    identifier = authority_id(authority.certificate)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(now - BACKDATE)
        .next_update(now + lifetime)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(own), critical=False)
    )
    for entry in sorted(set(entries)):
        if entry.authority == identifier:
            revoked_certificate = x509.RevokedCertificateBuilder(entry.serial, entry.since)
            builder = builder.add_revoked_certificate(revoked_certificate.build())
    return builder.sign(authority.key, hashes.SHA256())


def renew_list(
    authority: Issuer | Root,
    previous: x509.CertificateRevocationList | None,
    entries: Iterable[Revoked],
    now: datetime,
) -> x509.CertificateRevocationList:
    """The next list of an authority: what the previous one had, and more.

    From an issuing authority's list goes what was revoked so long ago that it has expired since. The root's list is
    good for as long as the root, because the root is not at hand to sign another.
    """
    identifier = authority_id(authority.certificate)
    known, number = list(entries), 1
    if previous is not None:
        known += entries_of(previous, identifier)
        number = list_number(previous) + 1
    if isinstance(authority, Root):
        return sign_list(authority, number, known, now, authority.certificate.not_valid_after_utc - now)
    return sign_list(authority, number, (one for one in known if not outlived(one, now)), now)


def entries_of(crl: x509.CertificateRevocationList, authority: str) -> list[Revoked]:
    """What stands on the list of an authority."""
    return [Revoked(authority, entry.serial_number, entry.revocation_date_utc) for entry in crl]


def outlived(entry: Revoked, now: datetime) -> bool:
    """Whether a leaf was revoked so long ago that it has expired since."""
    return entry.since + LONGEST_LIFETIME < now


@dataclass(frozen=True, slots=True)
class State:
    """What is known of one authority's list. ``until`` is when it stops saying anything."""

    number: int
    until: datetime


@dataclass(frozen=True, slots=True)
class Revocations:
    """What is revoked, as far as is known. A value: the next poll makes another one.

    Attributes:
        entries: (authority's key identifier, serial number).
        lists: each authority whose list is known, by key identifier.
    """

    entries: frozenset[tuple[str, int]] = frozenset()
    lists: Mapping[str, State] = field(default_factory=dict)

    @classmethod
    def known(cls, entries: Iterable[Revoked], authorities: Iterable[str], until: datetime) -> Revocations:
        """What a controller reads from its own database, where nobody has to sign: good until ``until``."""
        pairs = frozenset((entry.authority, entry.serial) for entry in entries)
        return cls(pairs, {authority: State(0, until) for authority in authorities})

    @classmethod
    def from_lists(cls, lists: Iterable[x509.CertificateRevocationList], bundle: Bundle) -> Revocations:
        """What signed lists say. Of two lists of one authority the one with the higher number counts.

        Raises:
            IdentityError: a list is not signed by an authority of the bundle, or is not a full list.
        """
        states: dict[str, State] = {}
        entries: dict[str, frozenset[tuple[str, int]]] = {}
        for crl in lists:
            try:
                identifier, state, serials = _read(crl, bundle)
            except UNREADABLE as error:
                raise IdentityError("identity-revocation-list", f"a revocation list cannot be read: {error}") from error
            if identifier not in states or state.number > states[identifier].number:
                states[identifier], entries[identifier] = state, frozenset((identifier, serial) for serial in serials)
        return cls(frozenset().union(*entries.values()), states)

    def is_revoked(self, certificate: x509.Certificate) -> bool:
        """Whether a certificate is known to be revoked."""
        identifier = authority_key_id(certificate)
        return identifier is not None and (identifier, certificate.serial_number) in self.entries

    def check(self, certificate: x509.Certificate, now: datetime) -> None:
        """Check one certificate.

        Raises:
            IdentityRefused: it is revoked, or its authority's list is missing or out of date.
        """
        if self.is_revoked(certificate):
            raise IdentityRefused(Refusal.REVOKED, f"{display(certificate)} is revoked", "RFC 5280, 6.3.3 (k)")
        identifier = authority_key_id(certificate)
        state = None if identifier is None else self.lists.get(identifier)
        if state is None or now > state.until:
            what = "is missing" if state is None else f"ended at {state.until:%F %T} UTC"
            message = f"the revocation list that {display(certificate)} could be on {what}"
            raise IdentityRefused(Refusal.REVOCATION_UNKNOWN, message, "RFC 5280, 6.3.3 (UNDETERMINED)")


def _read(crl: x509.CertificateRevocationList, bundle: Bundle) -> tuple[str, State, set[int]]:
    """A list's authority, what there is to know of it, and the serial numbers on it."""
    identifier, number = list_authority(crl, bundle), list_number(crl)
    if crl.next_update_utc is None:  # RFC 5280, 5.1.2.5
        raise IdentityError("identity-revocation-list", "a revocation list does not say until when it is good")
    return identifier, State(number, crl.next_update_utc), {entry.serial_number for entry in crl}


def list_authority(crl: x509.CertificateRevocationList, bundle: Bundle) -> str:
    """The key identifier of the authority of the bundle that signed a list (RFC 5280, 6.3.3 (f), (g)).

    Raises:
        IdentityError: none of them did.
    """
    for certificate in (*bundle.roots, *bundle.issuers):
        if crl.issuer != certificate.subject:
            continue
        key, usage = certificate.public_key(), extension(certificate, x509.KeyUsage)
        if usage is None or not usage.value.crl_sign:
            continue
        if isinstance(key, EllipticCurvePublicKey) and crl.is_signature_valid(key):
            return authority_id(certificate)
    message = f"a revocation list of {crl.issuer.rfc4514_string()!r} is not signed by an authority of the bundle"
    raise IdentityError("identity-revocation-list", message)


def list_number(crl: x509.CertificateRevocationList) -> int:
    """The number of a list (RFC 5280, 5.2.3).

    Raises:
        IdentityError: it has none, cannot be read, or is a delta or a partial list.
    """
    try:
        found = {one.oid: one for one in crl.extensions}
    except UNREADABLE as error:
        raise IdentityError("identity-revocation-list", f"a revocation list cannot be read: {error}") from error
    for one in found.values():
        if one.critical:
            # RFC 5280, 5.2: a delta or partial list, which does not say what is not on it, is marked so
            message = f"a revocation list with {one.oid.dotted_string} is not a full one"
            raise IdentityError("identity-revocation-list", message)
    number = found.get(x509.CRLNumber.oid)
    if number is None or not isinstance(number.value, x509.CRLNumber):
        raise IdentityError("identity-revocation-list", "a revocation list has no number (RFC 5280, 5.2.3)")
    return number.value.crl_number
