"""The chain above a leaf: an issuing authority under a root, and the leaf under it (RFC 5280, 6.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.x509.verification import Criticality, ExtensionPolicy, PolicyBuilder, Store, VerificationError

from ringfort.identity import constraints
from ringfort.identity.bundle import Bundle
from ringfort.identity.certificates import (
    CURVES,
    UNREADABLE,
    authority_id,
    authority_key_id,
    begin,
    display,
    extension,
    new_key,
    uris,
)
from ringfort.identity.errors import IdentityRefused, Refusal


def verified_issuer(
    leaf: x509.Certificate, intermediates: Sequence[x509.Certificate], bundle: Bundle, now: datetime
) -> x509.Certificate:
    """The issuing authority above a leaf, verified under a root, and the leaf under it.

    In two steps, because the library refuses URI name constraints (see `ringfort.identity.constraints`): the issuing
    authority under the roots; then the leaf under a trust anchor (RFC 5280, 6.1.1 (d)) that is the authority verified
    before, less the subtrees that are checked here.
    """
    wanted = authority_key_id(leaf)
    known = [one for one in (*bundle.issuers, *intermediates) if one.subject == leaf.issuer and _key_id(one) == wanted]
    if wanted is None or not known:
        message = f"{display(leaf)} was issued by {leaf.issuer.rfc4514_string()!r}, whom nobody here knows"
        raise IdentityRefused(Refusal.OTHER_AUTHORITY, message, "RFC 5280, 6.1.3 (a) (4)")
    failure: IdentityRefused | None = None
    for issuer in known[:MOST_CANDIDATES]:
        try:
            verify_issuer(issuer, bundle, now)
            _verify_under(leaf, issuer, now)
        except IdentityRefused as error:
            failure = failure or error
        else:
            return issuer
    assert failure is not None
    raise failure


MOST_CANDIDATES = 4
"""Authorities of one name and one key that are tried: an old and a new certificate, and a few to spare."""


def _key_id(certificate: x509.Certificate) -> str | None:
    try:
        return authority_id(certificate)
    except UNREADABLE:  # a key of a kind that nobody here knows
        return None


def check_form(certificate: x509.Certificate) -> None:
    """What holds for every certificate of a chain, and the library is lenient about.

    Raises:
        IdentityRefused: a serial number that is none, a key that is too weak, an extension that is critical and would
            not be looked at, or that must not be critical.
    """
    if not 0 < certificate.serial_number < 2**159:
        message = f"{display(certificate)} has no serial number of 1 to 20 octets"
        raise IdentityRefused(Refusal.MALFORMED, message, "RFC 5280, 4.1.2.2")
    key = certificate.public_key()
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, CURVES):
        message = f"the key of {display(certificate)} is neither P-256 nor P-384"
        raise IdentityRefused(Refusal.KEY_KIND, message, "Ringfort's profile: 128 bits of security")
    for found in certificate.extensions:
        if found.critical and not isinstance(found.value, _PROCESSED):
            message = f"{display(certificate)} has a critical extension {found.oid.dotted_string}"
            raise IdentityRefused(Refusal.PATH, message, "RFC 5280, 4.2")


_PROCESSED = (
    x509.BasicConstraints,
    x509.ExtendedKeyUsage,
    x509.KeyUsage,
    x509.NameConstraints,
    x509.SubjectAlternativeName,
)
"""Extensions that are looked at, and may therefore be critical."""


def verify_issuer(issuer: x509.Certificate, bundle: Bundle, now: datetime) -> None:
    """Check that an issuing authority is one now, under the bundle's roots.

    Raises:
        IdentityRefused: it is not.
    """
    check_form(issuer)
    constrained = extension(issuer, x509.NameConstraints)
    if constrained is not None:
        constraints.check_kinds(constrained.value)
    verifier = (
        PolicyBuilder()
        .store(Store(list(bundle.roots)))
        .time(now)
        .max_chain_depth(1)
        .extension_policies(ca_policy=_ROOT_POLICY, ee_policy=_ISSUER_POLICY)
        .build_client_verifier()
    )
    try:
        chain = verifier.verify(issuer, []).chain
    except VerificationError as error:
        if now > issuer.not_valid_after_utc or now < issuer.not_valid_before_utc:
            message = f"its issuing authority {display(issuer)} is not valid now"
            raise IdentityRefused(Refusal.PATH, message, "RFC 5280, 6.1.3 (a) (2)") from error
        message = f"its issuing authority {display(issuer)} is not under this trust domain's root: {_reason(error)}"
        raise IdentityRefused(Refusal.OTHER_AUTHORITY, message, "RFC 5280, 6.1") from error
    for root in chain[1:]:
        check_form(root)


def _verify_under(leaf: x509.Certificate, issuer: x509.Certificate, now: datetime) -> None:
    found = extension(issuer, x509.NameConstraints)
    assert found is not None
    constraints.check_uris(uris(leaf), found.value)
    verifier = (
        PolicyBuilder()
        .store(Store([_anchor(issuer)]))
        .time(now)
        .max_chain_depth(0)
        .extension_policies(ca_policy=_ANCHOR_POLICY, ee_policy=_LEAF_POLICY)
        .build_client_verifier()
    )
    try:
        verifier.verify(leaf, [])
    except VerificationError as error:
        reason = _reason(error)
        if "name constraint" in reason:
            message = f"{display(leaf)} has an address outside its issuer's blocks"
            raise IdentityRefused(Refusal.CONSTRAINTS, message, constraints.CLAUSE) from error
        raise IdentityRefused(Refusal.PATH, f"{display(leaf)} is not valid: {reason}", "RFC 5280, 6.1") from error


def _reason(error: VerificationError) -> str:
    return str(error).removeprefix("validation failed: ").removeprefix("candidates exhausted: ")


@lru_cache(maxsize=64)
def _anchor(issuer: x509.Certificate) -> x509.Certificate:
    """A verified authority as a trust anchor: its name, key and extensions, the URI subtrees left out.

    The signature is by a key that is thrown away: what makes it trusted is that it is handed over as an anchor.
    """
    key = issuer.public_key()
    assert isinstance(key, EllipticCurvePublicKey)
    builder = begin(issuer.subject, issuer.subject, key, (issuer.not_valid_before_utc, issuer.not_valid_after_utc))
    for found in issuer.extensions:
        value: x509.ExtensionType | None = found.value
        if isinstance(value, x509.NameConstraints):
            value = constraints.without_uris(value)
        if isinstance(value, x509.AuthorityKeyIdentifier):
            value = x509.AuthorityKeyIdentifier.from_issuer_public_key(key)
        if value is not None:
            builder = builder.add_extension(value, found.critical)
    return builder.sign(new_key(), hashes.SHA256())


# The library's own rules (signature, serial number, algorithms, validity, critical extensions that nobody knows) always
# hold; these say which extensions there have to be.


def _requires_authority(depth: int) -> Callable[[object, x509.Certificate, x509.BasicConstraints], None]:
    def check(_: object, __: x509.Certificate, value: x509.BasicConstraints) -> None:
        if not value.ca or value.path_length is None or value.path_length > depth:
            raise ValueError(f"not an authority of path length {depth} (RFC 5280, 4.2.1.9)")

    return check


def _requires_signing(_: object, __: x509.Certificate, value: x509.KeyUsage) -> None:
    if not value.key_cert_sign:
        raise ValueError("an authority that may not sign certificates (RFC 5280, 4.2.1.3; X509-SVID, 4.3)")


def _authority_policy(depth: int) -> ExtensionPolicy:
    return (
        ExtensionPolicy.webpki_defaults_ca()
        .require_present(x509.BasicConstraints, Criticality.CRITICAL, _requires_authority(depth))
        .require_present(x509.KeyUsage, Criticality.CRITICAL, _requires_signing)
    )


# A root's own constraints and purposes would not reach the leaf, whose path begins anew below the issuing authority.
_ROOT_POLICY = (
    _authority_policy(1)
    .require_present(x509.SubjectKeyIdentifier, Criticality.NON_CRITICAL, None)
    .require_not_present(x509.NameConstraints)
    .require_not_present(x509.ExtendedKeyUsage)
)
_ANCHOR_POLICY = _authority_policy(0).may_be_present(x509.NameConstraints, Criticality.CRITICAL, None)
_ISSUER_POLICY = (
    ExtensionPolicy.permit_all()
    .require_present(x509.BasicConstraints, Criticality.CRITICAL, _requires_authority(0))
    .require_present(x509.KeyUsage, Criticality.CRITICAL, _requires_signing)
    .require_present(x509.NameConstraints, Criticality.CRITICAL, None)
    .require_present(x509.AuthorityKeyIdentifier, Criticality.NON_CRITICAL, None)
    .require_present(x509.SubjectKeyIdentifier, Criticality.NON_CRITICAL, None)
    .require_not_present(x509.ExtendedKeyUsage)
    .require_not_present(x509.PolicyConstraints)
)
_LEAF_POLICY = (
    ExtensionPolicy.webpki_defaults_ee()
    .require_present(x509.BasicConstraints, Criticality.CRITICAL, None)
    .require_present(x509.KeyUsage, Criticality.CRITICAL, None)
    .require_present(x509.AuthorityKeyIdentifier, Criticality.NON_CRITICAL, None)
    .may_be_present(x509.SubjectKeyIdentifier, Criticality.NON_CRITICAL, None)
    .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, None)  # X509-SVID, 4.4: may be critical
    .require_not_present(x509.NameConstraints)
)
