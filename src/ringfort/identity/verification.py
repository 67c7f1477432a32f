"""Whether a certificate proves a name, here and now.

The chain is verified by `cryptography.x509.verification`; the rules of SPIFFE's X509-SVID and of our own profile come
on top. Every refusal cites the clause it stands on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from ringfort.environment.model import Address
from ringfort.identity.authority import LONGEST_LIFETIME
from ringfort.identity.bundle import Bundle
from ringfort.identity.certificates import (
    UNREADABLE,
    addresses,
    alternative_names,
    display,
    extension,
    plain_address,
    uris,
)
from ringfort.identity.errors import IdentityError, IdentityRefused, Refusal
from ringfort.identity.names import Identity, Role, parse
from ringfort.identity.path import check_form, verified_issuer
from ringfort.identity.revocation import Revocations

Expected = Callable[[Identity], bool]
"""Whom the caller of `verify` is ready to speak with."""


def anyone(_: Identity) -> bool:
    """Whoever the authority names."""
    return True


def roles(*allowed: Role) -> Expected:
    """Bearers of one of these roles."""
    return lambda identity: identity.role in allowed


def exactly(names: Collection[str]) -> Expected:
    """Bearers of one of these names."""
    wanted = frozenset(names)
    return lambda identity: identity.uri in wanted


def verify(
    leaf: x509.Certificate,
    intermediates: Sequence[x509.Certificate],
    bundle: Bundle,
    now: datetime,
    *,
    expected: Expected,
    address: Address | str | None = None,
    revoked: Revocations | None = None,
) -> Identity:
    """Verify a certificate and say whom it names.

    Args:
        intermediates: issuing authorities beyond those of the bundle; verified under its roots like those.
        expected: whom the caller is ready to speak with.
        address: where the other side speaks from (or was called at); None only where nobody speaks, as in a file.
        revoked: what is revoked; None leaves that out.

    Raises:
        IdentityRefused: it does not prove a name, or not one that is expected, from there.
    """
    return examine(leaf, intermediates, bundle, now, expected=expected, address=address, revoked=revoked)[0]


def examine(
    leaf: x509.Certificate,
    intermediates: Sequence[x509.Certificate],
    bundle: Bundle,
    now: datetime,
    *,
    expected: Expected,
    address: Address | str | None = None,
    revoked: Revocations | None = None,
) -> tuple[Identity, x509.Certificate]:
    """As `verify`; says also which issuing authority stands behind the name."""
    now = now.replace(microsecond=0)  # certificates count in seconds, the last one included (RFC 5280, 4.1.2.5)
    try:
        check_form(leaf)
        _check_leaf_usage(leaf)
        _check_validity(leaf, now)
        issuer = verified_issuer(leaf, intermediates, bundle, now)
        identity = _name(leaf, bundle)
    except UNREADABLE as error:
        raise IdentityRefused(Refusal.MALFORMED, f"the certificate cannot be read: {error}", "RFC 5280, 4") from error
    if revoked is not None:
        revoked.check(leaf, now)
        if revoked.is_revoked(issuer):
            message = f"its issuing authority {display(issuer)} is revoked"
            raise IdentityRefused(Refusal.REVOKED, message, "RFC 5280, 6.3")
    if not expected(identity):
        message = f"{identity} is not among those who may speak here"
        raise IdentityRefused(Refusal.WRONG_ROLE, message, "SPIFFE-ID, 3; the caller's policy")
    if address is not None:
        _check_address(leaf, identity, address)
    return identity, issuer


def _check_validity(leaf: x509.Certificate, now: datetime) -> None:
    clause = "RFC 5280, 6.1.3 (a) (2)"
    if now < leaf.not_valid_before_utc:
        message = f"{display(leaf)} is valid from {leaf.not_valid_before_utc:%F %T} UTC only"
        raise IdentityRefused(Refusal.NOT_YET_VALID, message, clause)
    if now > leaf.not_valid_after_utc:
        message = f"{display(leaf)} ended at {leaf.not_valid_after_utc:%F %T} UTC"
        raise IdentityRefused(Refusal.EXPIRED, message, clause)
    if leaf.not_valid_after_utc - leaf.not_valid_before_utc > LONGEST_LIFETIME:
        message = f"{display(leaf)} is made for longer than {LONGEST_LIFETIME}"
        raise IdentityRefused(Refusal.LIFETIME, message, "Ringfort's profile: at most 24 hours")


def _check_leaf_usage(leaf: x509.Certificate) -> None:
    basic = extension(leaf, x509.BasicConstraints)
    if basic is not None and basic.value.ca:
        raise IdentityRefused(Refusal.IS_AUTHORITY, f"{display(leaf)} is an authority's", "X509-SVID, 4.1 and 5.2")
    if alternative_names(leaf) is None:
        raise IdentityRefused(Refusal.NAMES, f"{display(leaf)} names nobody", "X509-SVID, 2")
    if basic is None or not basic.critical:
        message = f"{display(leaf)} does not say that it is no authority's"
        raise IdentityRefused(Refusal.PATH, message, "X509-SVID, 4.1; RFC 5280, 4.2.1.9")
    usage = extension(leaf, x509.KeyUsage)
    if usage is None or not usage.critical:
        raise IdentityRefused(Refusal.KEY_USAGE, f"{display(leaf)} has no critical key usage", "X509-SVID, 4.3")
    if usage.value.key_cert_sign or usage.value.crl_sign:
        message = f"{display(leaf)} may sign certificates or revocation lists"
        raise IdentityRefused(Refusal.IS_AUTHORITY, message, "X509-SVID, 4.3 and 5.2")
    if not usage.value.digital_signature:
        raise IdentityRefused(Refusal.KEY_USAGE, f"{display(leaf)} may not sign handshakes", "X509-SVID, 4.3")
    purposes = extension(leaf, x509.ExtendedKeyUsage)
    if purposes is not None and not _BOTH.issubset(purposes.value):
        message = f"{display(leaf)} is not for both ends of a connection"
        raise IdentityRefused(Refusal.KEY_USAGE, message, "X509-SVID, 4.4")


_BOTH = {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}


def _name(leaf: x509.Certificate, bundle: Bundle) -> Identity:
    names = alternative_names(leaf)
    strange = [type(name).__name__ for name in names or () if not isinstance(name, _NAMES)]
    if strange:
        message = f"{display(leaf)} has names beyond URI and address: {', '.join(strange)}"
        raise IdentityRefused(Refusal.NAMES, message, "Ringfort's profile; RFC 5280, 4.2.1.10")
    found = uris(leaf)
    if len(found) != 1:
        message = f"it has {len(found)} URIs and must have exactly one"
        raise IdentityRefused(Refusal.NAMES, message, "X509-SVID, 2 and 5.2")
    try:
        identity = parse(found[0])
    except IdentityError as error:
        raise IdentityRefused(Refusal.NAMES, error.message, "SPIFFE-ID, 2; X509-SVID, 5.2") from error
    if identity.trust_domain != bundle.trust_domain:
        message = f"{identity} is not in the trust domain {bundle.trust_domain}"
        raise IdentityRefused(Refusal.TRUST_DOMAIN, message, "X509-SVID, 3.2; SPIFFE-ID, 3.1")
    return identity


_NAMES = (x509.UniformResourceIdentifier, x509.IPAddress)


def _check_address(leaf: x509.Certificate, identity: Identity, address: Address | str) -> None:
    places = addresses(leaf)
    if not places and identity.role is Role.OPERATOR:
        return
    try:
        here = plain_address(address)
    except IdentityError as error:
        raise IdentityRefused(Refusal.WRONG_ADDRESS, error.message, _ADDRESS_CLAUSE) from error
    if here not in places:
        message = f"{identity} spoke from {here}, and its certificate is good from {', '.join(map(str, places))} only"
        raise IdentityRefused(Refusal.WRONG_ADDRESS, message, _ADDRESS_CLAUSE)


_ADDRESS_CLAUSE = "RFC 5280, 4.2.1.6; an identity is bound to its address"
