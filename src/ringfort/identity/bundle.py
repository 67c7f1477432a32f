"""The trust bundle: the roots of a trust domain and the issuing authorities below them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from ringfort.identity.certificates import UNREADABLE, from_pem, to_pem, trust_domain_of
from ringfort.identity.errors import IdentityError


@dataclass(frozen=True, slots=True)
class Bundle:
    """Whom to trust. Roots are trusted; issuers are known, and verified under a root each time.

    An issuer that is not in the bundle issues for nobody: taking it out of the bundle ends a whole site.
    """

    trust_domain: str
    roots: tuple[x509.Certificate, ...]
    issuers: tuple[x509.Certificate, ...]

    @classmethod
    def of(cls, certificates: Iterable[x509.Certificate]) -> Bundle:
        """The bundle of these roots and issuers, in any order.

        Raises:
            IdentityError: there is no root, two trust domains meet, or a certificate is not an authority's.
        """
        given = tuple(dict.fromkeys(certificates))
        roots = tuple(certificate for certificate in given if _signed_by_itself(certificate))
        if not roots:
            raise IdentityError("identity-bundle", "there is no root among these certificates")
        domains = sorted({trust_domain_of(certificate) for certificate in given})
        if len(domains) != 1:
            raise IdentityError("identity-bundle", f"several trust domains in one bundle: {', '.join(domains)}")
        return cls(domains[0], roots, tuple(certificate for certificate in given if certificate not in roots))

    @classmethod
    def from_pem(cls, data: bytes) -> Bundle:
        """The bundle in a PEM file.

        Raises:
            IdentityError: it holds none.
        """
        return cls.of(from_pem(data))

    def to_pem(self) -> bytes:
        """The bundle as a PEM file: roots first."""
        return to_pem((*self.roots, *self.issuers))

    def roots_pem(self) -> bytes:
        """The roots alone, for what verifies chains by itself (OpenSSL, HAProxy)."""
        return to_pem(self.roots)


def _signed_by_itself(certificate: x509.Certificate) -> bool:
    try:
        if certificate.subject != certificate.issuer:
            return False
        certificate.verify_directly_issued_by(certificate)
    except (InvalidSignature, *UNREADABLE):
        return False
    return True
