"""Chains in which one thing is wrong: every field of every certificate can be set, down to its bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from ipaddress import ip_address, ip_network

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from ringfort.identity.bundle import Bundle
from ringfort.identity.certificates import UNREADABLE, key_usage
from ringfort.identity.errors import IdentityRefused
from ringfort.identity.revocation import Revocations
from ringfort.identity.verification import anyone, verify
from tests.identity.parties import DOMAIN, NOON

Extension = x509.ExtensionType
Surgery = tuple[bytes, bytes]
"""Bytes of the signed part and what stands in their place, signed anew. Another length only for fields at its top."""

URI, IP = x509.UniformResourceIdentifier, x509.IPAddress
NAME = f"spiffe://{DOMAIN}/service/web"
BLOCKS = ("10.10.0.0/16", "fd00:10::/32")
BOTH = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]


@cache
def key(name: str) -> ec.EllipticCurvePrivateKey:
    """A P-256 key, the same for the same name."""
    return ec.generate_private_key(ec.SECP256R1())


def named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)]) if text else x509.Name([])


@dataclass(frozen=True)
class Spec:
    """A certificate to be. ``identifiers`` are whether it names its own key and its issuer's, as is usual."""

    subject: x509.Name
    key: CertificateIssuerPrivateKeyTypes
    valid: tuple[datetime, datetime]
    extensions: tuple[tuple[Extension, bool], ...]
    serial: int = 0x1234567
    identifiers: tuple[bool, bool] = (True, True)
    issuer: x509.Name | None = None
    surgery: Surgery | None = None

    def put(self, extension: Extension, *, critical: bool = False) -> Spec:
        """The same with this extension, in place of one of its kind."""
        others = self.drop(type(extension)).extensions
        return replace(self, extensions=(*others, (extension, critical)))

    def add(self, extension: Extension, *, critical: bool = False) -> Spec:
        """The same with one extension more."""
        return replace(self, extensions=(*self.extensions, (extension, critical)))

    def drop(self, *kinds: type[Extension]) -> Spec:
        """The same without extensions of these kinds."""
        return replace(self, extensions=tuple(one for one in self.extensions if not isinstance(one[0], kinds)))

    def names(self, *names: x509.GeneralName, critical: bool = True) -> Spec:
        return self.put(x509.SubjectAlternativeName(names), critical=critical)

    def constrain(self, permitted: Sequence[x509.GeneralName] = (), excluded: Sequence[x509.GeneralName] = ()) -> Spec:
        return self.put(x509.NameConstraints(list(permitted) or None, list(excluded) or None), critical=True)


def sign(spec: Spec, above: Spec) -> x509.Certificate:
    """The certificate, signed by the one above."""
    builder = x509.CertificateBuilder(
        above.subject if spec.issuer is None else spec.issuer,
        spec.subject,
        spec.key.public_key(),
        spec.serial,
        *spec.valid,
    )
    own, issuers = spec.identifiers
    if own:
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(spec.key.public_key()), False)
    if issuers:
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(above.key.public_key()), False
        )
    for extension, critical in spec.extensions:
        builder = builder.add_extension(extension, critical)
    certificate = builder.sign(above.key, hashes.SHA256())
    return certificate if spec.surgery is None else _operated(certificate, above.key, spec.surgery)


def _operated(
    certificate: x509.Certificate, signer: CertificateIssuerPrivateKeyTypes, surgery: Surgery
) -> x509.Certificate:
    before, after = surgery
    whole = certificate.tbs_certificate_bytes
    assert whole[:2] == b"\x30\x82", "a SEQUENCE with two bytes of length"
    assert whole.count(before) == 1
    signed = tagged(0x30, whole[4:].replace(before, after))
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    return x509.load_der_x509_certificate(assemble(signed, signer.sign(signed, ec.ECDSA(hashes.SHA256()))))


ECDSA_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")
ECDSA_SHA384 = bytes.fromhex("300a06082a8648ce3d040303")


def assemble(signed: bytes, signature: bytes, algorithm: bytes = ECDSA_SHA256) -> bytes:
    """A certificate's DER out of its three parts (RFC 5280, 4.1)."""
    return tagged(0x30, signed + algorithm + tagged(0x03, b"\0" + signature))


def tagged(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


ROOT = Spec(
    named("root"),
    key("root"),
    (NOON - timedelta(days=100), NOON + timedelta(days=1000)),
    (
        (x509.BasicConstraints(ca=True, path_length=1), True),
        (key_usage(authority=True), True),
        (x509.SubjectAlternativeName([URI(f"spiffe://{DOMAIN}")]), False),
    ),
)
ISSUER = Spec(
    named("issuer"),
    key("issuer"),
    (NOON - timedelta(days=10), NOON + timedelta(days=100)),
    (
        (x509.BasicConstraints(ca=True, path_length=0), True),
        (key_usage(authority=True), True),
        (
            x509.NameConstraints([URI(DOMAIN), IP(ip_network("10.10.0.0/16")), IP(ip_network("fd00:10::/32"))], None),
            True,
        ),
    ),
)
LEAF = Spec(
    named(""),
    key("leaf"),
    (NOON - timedelta(minutes=5), NOON + timedelta(hours=12)),
    (
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (key_usage(authority=False), True),
        (x509.ExtendedKeyUsage(BOTH), False),
        (x509.SubjectAlternativeName([URI(NAME), IP(ip_address("10.10.1.2"))]), True),
    ),
)

ACCEPTED = "accepted"


def outcome(
    root: Spec = ROOT,
    issuer: Spec = ISSUER,
    leaf: Spec = LEAF,
    *,
    now: datetime = NOON,
    others: Sequence[x509.Certificate] = (),
    roots: Sequence[x509.Certificate] = (),
    address: str | None = None,
    revoked: Revocations | None = None,
    touch: Callable[[x509.Certificate], x509.Certificate] = lambda certificate: certificate,
) -> str:
    """What verification says of a chain: ``accepted``, the code of the refusal, or ``unreadable`` before any of it.

    Args:
        others: issuing authorities that are known too, tried before the chain's own.
        roots: trusted beside the chain's own.
        touch: what is done to the leaf when it is signed.
    """
    try:
        anchor, above = sign(root, root), sign(issuer, root)
        certificate = touch(sign(leaf, issuer))
    except UNREADABLE:
        return "unreadable"
    return judge(certificate, Bundle(DOMAIN, (*roots, anchor), (*others, above)), now, address, revoked)


def judge(
    leaf: x509.Certificate,
    bundle: Bundle,
    now: datetime = NOON,
    address: str | None = None,
    revoked: Revocations | None = None,
) -> str:
    """What verification says of a leaf, and that it says by which clause."""
    try:
        verify(leaf, (), bundle, now, expected=anyone, address=address, revoked=revoked)
    except IdentityRefused as refused:
        return refused.code if refused.clause else "without a clause"
    return ACCEPTED


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)
