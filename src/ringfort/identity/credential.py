"""A key with the certificates that prove whose it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from ringfort.environment.model import Address
from ringfort.identity.certificates import CURVES, UNREADABLE, PrivateKey, addresses, from_pem, to_pem, uris
from ringfort.identity.errors import IdentityError
from ringfort.identity.names import Identity, parse


@dataclass(frozen=True, slots=True, repr=False)
class Credential:
    """A private key and its chain: the leaf, then its issuing authority. The key never shows in a text or a log."""

    key: PrivateKey
    chain: tuple[x509.Certificate, ...]

    def __post_init__(self) -> None:
        try:
            belongs = bool(self.chain) and self.leaf.public_key() == self.key.public_key()
        except UNREADABLE as error:
            raise IdentityError("identity-not-certificates", f"the certificate cannot be read: {error}") from error
        if not belongs:
            raise IdentityError("identity-key-mismatch", "the key does not belong to the certificate")

    def __repr__(self) -> str:
        return f"Credential({', '.join(uris(self.leaf))}, serial {self.leaf.serial_number:x})"

    @property
    def leaf(self) -> x509.Certificate:
        """The certificate itself."""
        return self.chain[0]

    @property
    def identity(self) -> Identity:
        """Whom it names."""
        try:
            names = uris(self.leaf)
        except UNREADABLE as error:
            raise IdentityError("identity-name", f"the certificate's names cannot be read: {error}") from error
        if len(names) != 1:
            raise IdentityError("identity-name", f"the certificate has {len(names)} URIs")
        return parse(names[0])

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Where it may be used from."""
        return addresses(self.leaf)

    def to_pem(self) -> bytes:
        """Chain and key in one PEM file, which is replaced whole when it is renewed."""
        return to_pem(self.chain) + self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @classmethod
    def from_pem(cls, data: bytes) -> Credential:
        """The credential in a PEM file.

        Raises:
            IdentityError: it holds none, or the key is another certificate's.
        """
        try:
            key = load_pem_private_key(data, None)
        except UNREADABLE as error:
            raise IdentityError("identity-key-unreadable", "there is no private key in this file") from error
        if not isinstance(key, PrivateKey) or not isinstance(key.curve, CURVES):
            raise IdentityError("identity-key-kind", "the key is neither P-256 nor P-384")
        return cls(key, from_pem(data))


def renew_at(certificate: x509.Certificate) -> datetime:
    """When to renew: at two thirds of its life, so that a third is left for an authority that does not answer."""
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    return certificate.not_valid_before_utc + 2 * life / 3


def is_due(certificate: x509.Certificate, now: datetime) -> bool:
    """Whether it is time to renew."""
    return now >= renew_at(certificate)
