"""The authority for public names: a root and an issuer that no part of the platform trusts.

Its issuer is held to the declared domains, to TLS servers, and to no other kind of name (RFC 5280, 4.2.1.10 and
4.2.1.12): with its key one can't pass for a node, a service, an operator or a customer. Profile of leaves: CA/Browser
Forum's Baseline Requirements 7.1.2.7, with lives of days instead of months.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_network

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from ringfort.gateway.edge.model import check_public_name
from ringfort.identity.authority import BACKDATE
from ringfort.identity.certificates import (
    CURVES,
    PrivateKey,
    PublicKey,
    as_authority,
    as_leaf,
    begin,
    common_name,
    extension,
    new_key,
)
from ringfort.identity.errors import IdentityError

ROOT_LIFETIME = timedelta(days=3652)
ISSUER_LIFETIME = timedelta(days=730)
LEAF_LIFETIME = timedelta(days=10)
"""Short enough that a stolen key is soon worth nothing where nobody looks at revocation lists."""

LIST_LIFETIME = timedelta(hours=24)
SHORTEST_RSA = 3_072
"""Bits of modulus for 128 bits of security (NIST SP 800-57 part 1, table 2)."""

LONGEST_RSA = 8_192
"""What a visitor's handshake may cost the edge."""

MOST_NAMES = 100

LeafKey = PublicKey | rsa.RSAPublicKey


def checked_leaf_key(key: object) -> LeafKey:
    """The key itself, if a certificate may be made for its kind: at least 128 bits of security.

    Raises:
        IdentityError: it may not (``acme-key``).
    """
    if isinstance(key, PublicKey) and isinstance(key.curve, CURVES):
        return key
    if isinstance(key, rsa.RSAPublicKey):
        if SHORTEST_RSA <= key.key_size <= LONGEST_RSA and key.public_numbers().e == 65537:
            return key
        kind = f"RSA of {key.key_size} bits with exponent {key.public_numbers().e}"
    elif isinstance(key, ec.EllipticCurvePublicKey):
        kind = key.curve.name
    else:
        kind = type(key).__name__
    hint = f"P-256, P-384, or RSA of {SHORTEST_RSA} to {LONGEST_RSA} bits"
    raise IdentityError("acme-key", f"no certificate is made for this key: {kind}; take {hint}", hint)


@dataclass(frozen=True, slots=True, repr=False)
class PublicRoot:
    """The root for public names with its key: makes the issuer, and is locked away again."""

    certificate: x509.Certificate
    key: PrivateKey

    @classmethod
    def create(cls, owner: str, now: datetime, lifetime: timedelta = ROOT_LIFETIME) -> PublicRoot:
        """A new root with a new key; ``owner`` is who people see in its name."""
        key = new_key()
        name = common_name(f"{owner[:40]}: public names")
        builder = begin(name, name, key.public_key(), (now - BACKDATE, now + lifetime))
        builder = as_authority(builder, 1, key.public_key(), key)
        return cls(builder.sign(key, hashes.SHA256()), key)

    def issuer(self, domains: Iterable[str], now: datetime, lifetime: timedelta = ISSUER_LIFETIME) -> PublicIssuer:
        """A new issuer with a new key, for names in some domains.

        Raises:
            RingfortError: there are no domains, or the root does not live that long.
        """
        names = [check_public_name(domain) for domain in domains]
        if not names:
            raise IdentityError("acme-domains", "an issuer for public names needs the domains that it may issue for")
        if now + lifetime > self.certificate.not_valid_after_utc:
            raise IdentityError("identity-outlives-issuer", "the root does not live that long", "make a new root")
        key = new_key()
        subject = common_name(f"{names[0][:40]}: issuer")
        builder = begin(subject, self.certificate.subject, key.public_key(), (now - BACKDATE, now + lifetime))
        builder = as_authority(builder, 0, key.public_key(), self.key)
        permitted = [x509.DNSName(name) for name in names]
        excluded = [x509.IPAddress(ip_network(every)) for every in ("0.0.0.0/0", "::/0")]
        builder = builder.add_extension(x509.NameConstraints(permitted, excluded), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        return PublicIssuer(builder.sign(self.key, hashes.SHA256()), key)


@dataclass(frozen=True, slots=True, repr=False)
class PublicIssuer:
    """Issues certificates for public names, for days."""

    certificate: x509.Certificate
    key: PrivateKey

    @property
    def domains(self) -> tuple[str, ...]:
        """The domains it may issue for."""
        found = extension(self.certificate, x509.NameConstraints)
        permitted = [] if found is None else found.value.permitted_subtrees or []
        return tuple(name.value for name in permitted if isinstance(name, x509.DNSName))

    def may_issue(self, name: str) -> bool:
        """Whether a name is in its domains (RFC 5280, 4.2.1.10: the domain itself, or with labels before it)."""
        return any(name == domain or name.endswith(f".{domain}") for domain in self.domains)

    def issue(
        self,
        names: Sequence[str],
        public_key: LeafKey,
        now: datetime,
        lifetime: timedelta = LEAF_LIFETIME,
        lists: str = "",
    ) -> x509.Certificate:
        """A certificate for names.

        Args:
            lists: where the revocation list is found, a URL; "" says nothing of it.

        Raises:
            RingfortError: a name outside of its domains, a weak key, or it does not live that long.
        """
        checked = list(dict.fromkeys(check_public_name(name) for name in names))
        outside = [name for name in checked if not self.may_issue(name)]
        if outside or not 0 < len(checked) <= MOST_NAMES:
            raise IdentityError("acme-name", f"not to be issued here: {', '.join(outside) or 'that many names'}")
        start = (now - BACKDATE).replace(microsecond=0)
        if start + lifetime > self.certificate.not_valid_after_utc or now < self.certificate.not_valid_before_utc:
            raise IdentityError("identity-outlives-issuer", "the issuer for public names is not valid for that long")
        key, valid = checked_leaf_key(public_key), (start, start + lifetime)
        builder = begin(x509.Name([]), self.certificate.subject, key, valid)
        dns = [x509.DNSName(name) for name in checked]
        builder = as_leaf(builder, dns, (ExtendedKeyUsageOID.SERVER_AUTH,), key, self.key)
        if lists:
            point = x509.DistributionPoint([x509.UniformResourceIdentifier(lists)], None, None, None)
            builder = builder.add_extension(x509.CRLDistributionPoints([point]), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def sign_list(
        self, number: int, revoked: Iterable[tuple[int, datetime, int]], now: datetime
    ) -> x509.CertificateRevocationList:
        """The revocation list: serial numbers, since when, and why (RFC 5280, 5.3.1)."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(now - BACKDATE)
            .next_update(now + LIST_LIFETIME)
            .add_extension(x509.CRLNumber(number), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        for serial, since, reason in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(since)
            if reason:  # RFC 5280, 5.3.1: "unspecified" is said by saying nothing
                entry = entry.add_extension(x509.CRLReason(REASONS[reason]), critical=False)
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self.key, hashes.SHA256())


REASONS = {
    0: x509.ReasonFlags.unspecified,
    1: x509.ReasonFlags.key_compromise,
    3: x509.ReasonFlags.affiliation_changed,
    4: x509.ReasonFlags.superseded,
    5: x509.ReasonFlags.cessation_of_operation,
}
"""What a subscriber may say (RFC 8555, 7.6; the others are for authorities)."""
