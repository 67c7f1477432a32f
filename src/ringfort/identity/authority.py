"""The authority: a root that is used once a year, an issuing authority for each site, certificates that live for hours.

Profile: RFC 5280 and SPIFFE X509-SVID. A root may have issuing authorities below it and nothing below those (path
length 1, then 0); an issuing authority's names are limited to its trust domain and to its site's address blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv4Network, IPv6Network

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ringfort.environment.model import Address, Network
from ringfort.identity.certificates import (
    PrivateKey,
    PublicKey,
    as_authority,
    as_leaf,
    begin,
    checked_public_key,
    common_name,
    extension,
    new_key,
    plain_address,
    trust_domain_of,
)
from ringfort.identity.errors import IdentityError
from ringfort.identity.names import SCHEME, Identity, Role, check_trust_domain

ROOT_LIFETIME = timedelta(days=3652)
ISSUER_LIFETIME = timedelta(days=365)
LONGEST_LIFETIME = timedelta(hours=24)
DEFAULT_LIFETIME = timedelta(hours=12)
BACKDATE = timedelta(minutes=5)
"""A certificate is valid a little before it is made, for clocks that disagree; it counts towards its lifetime."""

MAY_ROAM = frozenset({Role.OPERATOR})
"""Whose certificates need not name addresses; everybody else's is good from its own addresses only."""

ROOT_DEPTH, ISSUER_DEPTH = 1, 0


@dataclass(frozen=True, slots=True, repr=False)
class Root:
    """The root of a trust domain with its key: makes issuing authorities, revokes them, and is locked away again."""

    certificate: x509.Certificate
    key: PrivateKey

    @property
    def trust_domain(self) -> str:
        """The trust domain it is the root of."""
        return trust_domain_of(self.certificate)

    @classmethod
    def create(cls, trust_domain: str, now: datetime, lifetime: timedelta = ROOT_LIFETIME) -> Root:
        """A new root with a new key.

        Raises:
            IdentityError: the trust domain is not one.
        """
        key = new_key()
        name = common_name(f"Ringfort root of {check_trust_domain(trust_domain)}")
        builder = begin(name, name, key.public_key(), (now - BACKDATE, now + lifetime))
        # X509-SVID, 3.2: a root's name is its trust domain
        uri = x509.UniformResourceIdentifier(f"{SCHEME}://{trust_domain}")
        builder = as_authority(builder, ROOT_DEPTH, key.public_key(), key)
        builder = builder.add_extension(x509.SubjectAlternativeName([uri]), critical=False)
        return cls(builder.sign(key, hashes.SHA256()), key)

    def issuer(
        self, site: str, networks: Iterable[Network], now: datetime, lifetime: timedelta = ISSUER_LIFETIME
    ) -> Issuer:
        """A new issuing authority with a new key, for the addresses of one site.

        Raises:
            IdentityError: no networks, or the root does not live that long.
        """
        blocks = tuple(networks)
        if not blocks:
            raise IdentityError("identity-no-networks", f"site {site!r} has no address blocks to issue for")
        until = now + lifetime
        if until > self.certificate.not_valid_after_utc:
            raise IdentityError("identity-outlives-issuer", "the root does not live that long", "make a new root")
        key = new_key()
        subject = x509.Name(
            [
                *common_name(f"Ringfort issuer of {self.trust_domain}"),
                x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, site),
            ]
        )
        builder = begin(subject, self.certificate.subject, key.public_key(), (now - BACKDATE, until))
        builder = as_authority(builder, ISSUER_DEPTH, key.public_key(), self.key)
        # RFC 5280, 4.2.1.10: critical. Types of names without a subtree are unlimited: verification accepts no others.
        constraints = x509.NameConstraints(_permitted(self.trust_domain, blocks), None)
        return Issuer(builder.add_extension(constraints, critical=True).sign(self.key, hashes.SHA256()), key)


@dataclass(frozen=True, slots=True, repr=False)
class Issuer:
    """A site's issuing authority with its key: the controllers of the site hold it."""

    certificate: x509.Certificate
    key: PrivateKey

    @property
    def trust_domain(self) -> str:
        """The trust domain it issues names of."""
        return trust_domain_of(self.certificate)

    @property
    def site(self) -> str:
        """The site it issues for."""
        return site_of(self.certificate)

    @property
    def networks(self) -> tuple[Network, ...]:
        """The address blocks it may issue for."""
        found = extension(self.certificate, x509.NameConstraints)
        assert found is not None
        subtrees = found.value.permitted_subtrees or []
        values = [name.value for name in subtrees if isinstance(name, x509.IPAddress)]
        return tuple(value for value in values if isinstance(value, IPv4Network | IPv6Network))

    def issue(
        self,
        identity: Identity,
        addresses: Sequence[Address],
        public_key: PublicKey,
        now: datetime,
        lifetime: timedelta = DEFAULT_LIFETIME,
    ) -> x509.Certificate:
        """A certificate for a name, to be used from some addresses (none for an operator who may call from anywhere).

        Raises:
            IdentityError: another trust domain, an address outside the site, too long a life, another kind of key.
        """
        places = tuple(dict.fromkeys(plain_address(address) for address in addresses))
        self._check(identity, places)
        valid = self._validity(now, lifetime)
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(identity.uri)]
        names += [x509.IPAddress(address) for address in places]
        builder = begin(x509.Name([]), self.certificate.subject, checked_public_key(public_key), valid)
        # X509-SVID, 4.4: both, whoever it is
        usages = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
        return as_leaf(builder, names, usages, public_key, self.key).sign(self.key, hashes.SHA256())

    def _check(self, identity: Identity, places: tuple[Address, ...]) -> None:
        if identity.trust_domain != self.trust_domain:
            message = f"{identity} is not in the trust domain {self.trust_domain}"
            raise IdentityError("identity-foreign", message)
        if not places and identity.role not in MAY_ROAM:
            message = f"a certificate for {identity} needs the addresses it may be used from"
            raise IdentityError("identity-no-addresses", message)
        outside = [str(place) for place in places if not any(place in block for block in self.networks)]
        if outside:
            message = f"{', '.join(outside)}: not in the address blocks of site {self.site}"
            raise IdentityError("identity-address-outside-site", message)

    def _validity(self, now: datetime, lifetime: timedelta) -> tuple[datetime, datetime]:
        if not BACKDATE < lifetime <= LONGEST_LIFETIME:
            message = f"a certificate lives more than {BACKDATE} and at most {LONGEST_LIFETIME}, not {lifetime}"
            raise IdentityError("identity-lifetime-asked", message)
        start = (now - BACKDATE).replace(microsecond=0)
        if start + lifetime > self.certificate.not_valid_after_utc or now < self.certificate.not_valid_before_utc:
            message = f"the issuing authority of site {self.site} is not valid for that long"
            raise IdentityError("identity-outlives-issuer", message, "make a new one with `ringfort identity issuer`")
        return start, start + lifetime


def site_of(issuer: x509.Certificate) -> str:
    """The site an issuing authority's certificate is for.

    Raises:
        IdentityError: it names none.
    """
    units = issuer.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
    if len(units) != 1 or not isinstance(units[0].value, str):
        raise IdentityError("identity-not-an-authority", "this certificate is not an issuing authority's")
    return units[0].value


def _permitted(trust_domain: str, blocks: Sequence[Network]) -> list[x509.GeneralName]:
    # RFC 5280, 4.2.1.10: without a leading period the constraint is the host itself, here the trust domain
    return [x509.UniformResourceIdentifier(trust_domain), *(x509.IPAddress(block) for block in blocks)]
