"""Certificates of endpoints: a customer's own, verified before it is taken and its key sealed; or the platform's.

How a key is sealed is a parameter; `ringfort.compute.sealing.CustomerKey` is one that does it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from ringfort.gateway.acme.authority import PublicIssuer, checked_leaf_key
from ringfort.gateway.edge.model import EdgeError
from ringfort.identity.certificates import UNREADABLE, alternative_names, extension, new_key, to_pem
from ringfort.identity.errors import IdentityError

LARGEST = 64 * 1024
"""Bytes of an upload's chain, and of its key."""

MOST_CERTIFICATES = 8


class Sealing(Protocol):
    """Encrypts what is one customer's, and opens it again for the same purpose only."""

    def seal(self, purpose: str, content: bytes) -> bytes:
        """Content, sealed."""
        ...

    def open(self, purpose: str, sealed: bytes) -> bytes:
        """What was sealed."""
        ...


@dataclass(frozen=True, slots=True)
class OwnCertificate:
    """A certificate that was taken, as it rests.

    Attributes:
        chain: PEM, the leaf first, each signed by the next; without its root.
        sealed_key: for `material` to open.
        names: that it was taken for. ``until``: when it ends.
        authority: the subject of the root that it builds to. ``is_private``: it came along; visitors have to know it.
    """

    chain: bytes
    sealed_key: bytes = field(repr=False)
    names: tuple[str, ...]
    until: datetime
    authority: str
    is_private: bool


def take(
    chain: bytes, key: bytes, names: Sequence[str], now: datetime, roots: Sequence[x509.Certificate], sealing: Sealing
) -> OwnCertificate:
    """Verify a customer's certificate for the public names of its endpoints, and seal its key.

    Args:
        chain: the certificate and those between it and a root, PEM, in any order; the root too where it is the
            customer's own.
        key: the private key, PEM, without a passphrase.
        roots: that visitors know, such as those of Debian's ca-certificates.

    Raises:
        EdgeError: why it isn't taken (``certificate-...``).
    """
    found, private = _certificates(chain), _private_key(key)
    leaf = _leaf(found, private)
    _check_leaf(leaf, names, now)
    own_roots = [one for one in found if one is not leaf and one.subject == one.issuer]
    between = [one for one in found if one is not leaf and one not in own_roots]
    verified = _verified(leaf, between, names, now, roots)
    is_private = verified is None
    if verified is None:
        verified = _verified(leaf, between, names, now, own_roots)
    if verified is None:
        hint = "send along every certificate between yours and its root; and the root, if it is your own"
        raise EdgeError("certificate-chain", "the certificate doesn't build to a root that is known", hint)
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    until = min(one.not_valid_after_utc for one in verified)
    root = verified[-1].subject.rfc4514_string()
    return OwnCertificate(
        to_pem(verified[:-1]), sealing.seal(_purpose(names), pem), tuple(names), until, root, is_private
    )


def names_in(chain: bytes, key: bytes) -> tuple[str, ...]:
    """The public names that a certificate is for, without its wildcards.

    Raises:
        EdgeError: there is no certificate of that key.
    """
    try:
        alternatives = alternative_names(_leaf(_certificates(chain), _private_key(key)))
    except UNREADABLE as error:
        raise EdgeError("certificate-unreadable", "the certificate has extensions that can't be read") from error
    found = [] if alternatives is None else alternatives.get_values_for_type(x509.DNSName)
    return tuple(dict.fromkeys(name.lower() for name in found if not name.startswith("*.")))


def material(own: OwnCertificate, sealing: Sealing) -> bytes:
    """Key and chain as the edge's HAProxy reads them. It is for a file in memory (tmpfs) that is root's alone."""
    return own.chain + sealing.open(_purpose(own.names), own.sealed_key)


def issue(issuer: PublicIssuer, name: str, now: datetime, lists: str = "") -> bytes:
    """A certificate of the platform's for an endpoint, with a new key, as the edge's HAProxy reads them.

    It is due again after two thirds of its life (`ringfort.identity.credential.is_due`).

    Raises:
        RingfortError: the issuer may not issue for that name.
    """
    key = new_key()
    leaf = issuer.issue([name], key.public_key(), now, lists=lists)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return to_pem([leaf, issuer.certificate]) + pem


def _purpose(names: Sequence[str]) -> str:
    return f"certificate-key/{','.join(sorted(names))}"


def _certificates(pem: bytes) -> list[x509.Certificate]:
    if len(pem) > LARGEST:
        raise EdgeError("certificate-unreadable", f"a chain has at most {LARGEST} bytes")
    try:
        found = list(dict.fromkeys(x509.load_pem_x509_certificates(pem)))
    except UNREADABLE as error:
        raise EdgeError("certificate-unreadable", "there are no certificates in PEM that can be read") from error
    if not 0 < len(found) <= MOST_CERTIFICATES:
        raise EdgeError("certificate-unreadable", f"a chain has from 1 to {MOST_CERTIFICATES} certificates")
    return found


def _private_key(pem: bytes) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
    if len(pem) > LARGEST:
        raise EdgeError("certificate-key-unreadable", f"a key has at most {LARGEST} bytes")
    try:
        key = load_pem_private_key(pem, None)
    except TypeError as error:
        hint = "openssl pkey -in KEY -out PLAIN; it is sealed again as soon as it is here"
        raise EdgeError("certificate-key-passphrase", "the key is under a passphrase", hint) from error
    except UNREADABLE as error:
        raise EdgeError("certificate-key-unreadable", "there is no private key in PEM that can be read") from error
    try:
        checked_leaf_key(key.public_key())
    except IdentityError as error:
        raise EdgeError("certificate-key-weak", error.message, error.hint) from error
    assert isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
    return key


def _leaf(found: Sequence[x509.Certificate], key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> x509.Certificate:
    try:
        mine = [one for one in found if one.public_key() == key.public_key()]
    except UNREADABLE as error:
        raise EdgeError("certificate-unreadable", "a certificate has a key that can't be read") from error
    if len(mine) != 1:
        raise EdgeError(
            "certificate-key-mismatch", "the key is not the certificate's", "send the pair that belongs together"
        )
    return mine[0]


def _check_leaf(leaf: x509.Certificate, names: Sequence[str], now: datetime) -> None:
    if now > leaf.not_valid_after_utc:
        raise EdgeError("certificate-expired", f"the certificate ended at {leaf.not_valid_after_utc:%F %T} UTC")
    if now < leaf.not_valid_before_utc:
        message = f"the certificate is good from {leaf.not_valid_before_utc:%F %T} UTC only"
        raise EdgeError("certificate-not-yet-valid", message)
    try:
        alternatives = alternative_names(leaf)
        basic = extension(leaf, x509.BasicConstraints)
    except UNREADABLE as error:
        raise EdgeError("certificate-unreadable", "the certificate has extensions that can't be read") from error
    if basic is not None and basic.value.ca:
        raise EdgeError("certificate-authority", "this is an authority's certificate, not a server's")
    covered = [] if alternatives is None else alternatives.get_values_for_type(x509.DNSName)
    missing = [name for name in names if not any(_covers(pattern.lower(), name) for pattern in covered)]
    if missing or not names:
        raise EdgeError("certificate-names", f"the certificate does not name {', '.join(missing) or 'any endpoint'}")


def _covers(pattern: str, name: str) -> bool:
    """RFC 6125, 6.4.3: a wildcard is one whole label, the first."""
    return pattern == name or (pattern.startswith("*.") and name.partition(".")[2] == pattern[2:])


def _verified(
    leaf: x509.Certificate,
    between: Sequence[x509.Certificate],
    names: Sequence[str],
    now: datetime,
    roots: Sequence[x509.Certificate],
) -> list[x509.Certificate] | None:
    """The chain from the leaf to one of the roots, as visitors' programs build it; None where there is none."""
    if not roots:
        return None
    chain: list[x509.Certificate] = []
    for name in names:
        verifier = PolicyBuilder().store(Store(list(roots))).time(now).build_server_verifier(x509.DNSName(name))
        try:
            chain = verifier.verify(leaf, list(between))
        except VerificationError:
            return None
    return chain
