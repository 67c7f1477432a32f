"""Reading and writing certificates: the parts that authority, verification and revocation share."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from ringfort.environment.model import Address
from ringfort.identity.errors import IdentityError
from ringfort.identity.names import SCHEME, check_trust_domain

Uri = x509.UniformResourceIdentifier
PrivateKey = ec.EllipticCurvePrivateKey
PublicKey = ec.EllipticCurvePublicKey
CURVES = (ec.SECP256R1, ec.SECP384R1)
"""At least 128 bits of security each (NIST SP 800-57 part 1, table 2)."""

LARGEST = 64 * 1024
"""Bytes of a PEM file of certificates that is read at all."""


def new_key() -> PrivateKey:
    """A new P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def checked_public_key(key: object) -> PublicKey:
    """The key itself, if certificates are issued for its kind.

    Raises:
        IdentityError: it is of another kind.
    """
    if isinstance(key, PublicKey) and isinstance(key.curve, CURVES):
        return key
    raise IdentityError("identity-key-kind", "the key is neither P-256 nor P-384", "make another key")


def begin(
    subject: x509.Name, issuer: x509.Name, key: PublicKey | rsa.RSAPublicKey, valid: tuple[datetime, datetime]
) -> x509.CertificateBuilder:
    """A certificate with its fields and no extensions; 159 random bits of serial number (RFC 5280, 4.1.2.2)."""
    return x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=key,
        serial_number=x509.random_serial_number(),
        not_valid_before=valid[0],
        not_valid_after=valid[1],
    )


def common_name(text: str) -> x509.Name:
    """A name for people; at most 64 characters of it (RFC 5280, appendix A.1, ub-common-name)."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def key_usage(*, authority: bool) -> x509.KeyUsage:
    """An authority signs certificates and CRLs; everybody else signs handshakes (X509-SVID, 4.3)."""
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def as_authority(
    builder: x509.CertificateBuilder, depth: int, own: PublicKey, signer: PrivateKey
) -> x509.CertificateBuilder:
    """An authority's certificate, for chains of at most ``depth`` authorities below it."""
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=depth), critical=True)
    return _with_keys(builder.add_extension(key_usage(authority=True), critical=True), own, signer)


def as_leaf(
    builder: x509.CertificateBuilder,
    names: Sequence[x509.GeneralName],
    usages: Sequence[x509.ObjectIdentifier],
    own: PublicKey | rsa.RSAPublicKey,
    signer: PrivateKey,
) -> x509.CertificateBuilder:
    """The certificate of whoever has these names: critical, as the subject is empty (RFC 5280, 4.1.2.6)."""
    builder = (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=True)
    )
    return _with_keys(builder, own, signer)


def _with_keys(
    builder: x509.CertificateBuilder, own: PublicKey | rsa.RSAPublicKey, signer: PrivateKey
) -> x509.CertificateBuilder:
    by = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    mine = x509.SubjectKeyIdentifier.from_public_key(own)
    return builder.add_extension(mine, critical=False).add_extension(by, critical=False)


UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What the library raises when a part that it reads only when asked turns out to be malformed or unknown."""

Kind = TypeVar("Kind", bound=x509.ExtensionType)


def extension(certificate: x509.Certificate, kind: type[Kind]) -> x509.Extension[Kind] | None:
    """An extension, or None where there is none. Raises one of `UNREADABLE` for what cannot be read."""
    try:
        return certificate.extensions.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return None


def alternative_names(certificate: x509.Certificate) -> x509.SubjectAlternativeName | None:
    """The subject alternative names, or None."""
    found = extension(certificate, x509.SubjectAlternativeName)
    return None if found is None else found.value


def uris(certificate: x509.Certificate) -> list[str]:
    """The URIs a certificate names."""
    names = alternative_names(certificate)
    return [] if names is None else names.get_values_for_type(x509.UniformResourceIdentifier)


def addresses(certificate: x509.Certificate) -> tuple[Address, ...]:
    """The addresses a certificate may be used from."""
    names = alternative_names(certificate)
    values = [] if names is None else names.get_values_for_type(x509.IPAddress)
    return tuple(value for value in values if isinstance(value, IPv4Address | IPv6Address))


def trust_domain_of(authority: x509.Certificate) -> str:
    """The trust domain of a root or an issuing authority.

    A root's only URI is ``spiffe://TRUST-DOMAIN`` (X509-SVID, 3.2). An issuing authority has no name of its own: the
    one URI subtree that it is constrained to says where it belongs (X509-SVID, 4.2).

    Raises:
        IdentityError: it names no trust domain.
    """
    try:
        constrained = extension(authority, x509.NameConstraints)
        subtrees = [] if constrained is None else constrained.value.permitted_subtrees or []
        found = [*uris(authority), *(f"{SCHEME}://{one.value}" for one in subtrees if isinstance(one, Uri))]
    except UNREADABLE as error:
        raise IdentityError(
            "identity-not-an-authority", f"an authority's certificate cannot be read: {error}"
        ) from error
    domains = {uri.removeprefix(f"{SCHEME}://") for uri in found}
    if len(domains) != 1:
        raise IdentityError("identity-not-an-authority", f"{display(authority)} names no trust domain (X509-SVID, 3.2)")
    return check_trust_domain(domains.pop())


def authority_id(authority: x509.Certificate) -> str:
    """What an authority's signatures are found by: the identifier of its key (RFC 5280, 4.2.1.2), in hexadecimal."""
    return x509.SubjectKeyIdentifier.from_public_key(authority.public_key()).digest.hex()


def authority_key_id(certificate: x509.Certificate) -> str | None:
    """The key identifier of the authority that signed a certificate (RFC 5280, 4.2.1.1), in hexadecimal."""
    try:
        value = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    except (x509.ExtensionNotFound, *UNREADABLE):
        return None
    return None if value.key_identifier is None else value.key_identifier.hex()


def display(certificate: x509.Certificate) -> str:
    """A certificate in a message: its URI or subject, and its serial number."""
    try:
        name = next(iter(uris(certificate)), "") or certificate.subject.rfc4514_string() or "a certificate"
    except UNREADABLE:
        name = "an unreadable certificate"
    return f"{name[:200]} ({serial(certificate)})"


def serial(certificate: x509.Certificate) -> str:
    """A serial number as people and tools write it: lower-case hexadecimal."""
    return f"{certificate.serial_number:x}"


def to_pem(certificates: Sequence[x509.Certificate]) -> bytes:
    """Certificates, one PEM block each."""
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def from_pem(data: bytes) -> tuple[x509.Certificate, ...]:
    """The certificates of a PEM file.

    Raises:
        IdentityError: there are none, or something else stands there.
    """
    if len(data) > LARGEST:
        raise IdentityError("identity-not-certificates", f"these are no certificates: more than {LARGEST} bytes")
    try:
        return tuple(x509.load_pem_x509_certificates(data))
    except UNREADABLE as error:
        raise IdentityError("identity-not-certificates", "these are no certificates in PEM") from error


def plain_address(address: Address | str) -> Address:
    """An address as certificates name it: no zone, and no IPv4 in the clothes of IPv6 (RFC 4291, 2.5.5.2).

    Raises:
        IdentityError: it is not an address.
    """
    try:
        value = ip_address(address.partition("%")[0]) if isinstance(address, str) else address
    except ValueError as error:
        raise IdentityError("identity-address", f"{address!r} is not an address") from error
    if isinstance(value, IPv6Address):
        if value.ipv4_mapped is not None:
            return value.ipv4_mapped
        return IPv6Address(int(value))
    return value
