"""Who calls: what the certificate says that the TLS handshake verified."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ringfort.control.errors import ProblemError
from ringfort.identity.certificates import authority_key_id
from ringfort.identity.credential import Credential
from ringfort.identity.peers import Peer


class Kind(StrEnum):
    """What a caller is. ``enrolment``: a machine with its one-time token; ``customer``: any of its own."""

    OPERATOR = "operator"
    NODE = "node"
    CONTROLLER = "controller"
    WITNESS = "witness"
    SERVICE = "service"
    TOKEN = "enrolment"  # noqa: S105  # a word, no secret
    CUSTOMER = "customer"


@dataclass(frozen=True, slots=True)
class Assignment:
    """What an operator may act as: roles, and for site staff their sites."""

    roles: tuple[str, ...]
    sites: tuple[str, ...] = ()

    @classmethod
    def of(cls, roles: Iterable[str], sites: Iterable[str]) -> Assignment:
        """Sorted, so that equal ones are equal."""
        return cls(tuple(sorted(map(str, roles))), tuple(sorted(sites)))


NOBODY = Assignment(())


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller, for as long as its connection lasts.

    Attributes:
        name: of the operator, node, customer.
        identity: SPIFFE URI, or ``customer:NAME``.
        thumbprint: SHA-256 of the certificate, hex.
        authority: key identifier of who signed it; with ``serial`` what a revocation names; both hex.
        address: where the connection comes from.
        roles: sorted; what policies go by.
        sites: sorted.
        issuer: what a revocation of the issuing authority names: its authority and serial.
    """

    kind: Kind
    name: str
    identity: str
    thumbprint: str
    authority: str
    serial: str
    expires: datetime
    address: str
    roles: tuple[str, ...]
    sites: tuple[str, ...] = ()
    issuer: tuple[str, int] = ("", 0)

    @property
    def number(self) -> tuple[str, int]:
        """What a revocation names: authority and serial."""
        return self.authority, int(self.serial, 16)

    @property
    def authenticated(self) -> str:
        """How, in a line for the audit record."""
        how = "enrolment token" if self.kind is Kind.TOKEN else "certificate"
        return f"mutual TLS 1.3, {how} sha256:{self.thumbprint}"


@dataclass(frozen=True, slots=True)
class Itself(Caller):
    """A controller that does something by itself, for its records."""

    @property
    def authenticated(self) -> str:
        """It asked nobody."""
        return f"the controller itself, with certificate sha256:{self.thumbprint}"


def itself(credential: Credential, address: str) -> Itself:
    """A controller as the one who does something by itself."""
    leaf, identity = credential.leaf, credential.identity
    return Itself(
        kind=Kind.CONTROLLER,
        name=identity.name,
        identity=identity.uri,
        thumbprint=thumbprint(leaf),
        authority=authority_key_id(leaf) or "",
        serial=serial_text(leaf.serial_number),
        expires=leaf.not_valid_after_utc,
        address=address,
        roles=(Kind.CONTROLLER.value,),
    )


def refused(code: str, message: str, hint: str = "") -> ProblemError:
    """The caller is nobody we know."""
    return ProblemError(401, code, message, hint, close=True)


def platform_caller(peer: Peer, address: str, operators: Mapping[str, Assignment]) -> Caller:
    """The caller with a certificate of the platform's own authority, which was verified."""
    identity, certificate = peer.identity, peer.certificate
    kind = Kind(identity.role.value)
    mine = operators.get(identity.name, NOBODY) if kind is Kind.OPERATOR else Assignment((kind.value,))
    return Caller(
        kind=kind,
        name=identity.name,
        identity=identity.uri,
        thumbprint=thumbprint(certificate),
        authority=authority_key_id(certificate) or "",
        serial=serial_text(certificate.serial_number),
        expires=certificate.not_valid_after_utc,
        address=address,
        roles=mine.roles,
        sites=mine.sites,
        issuer=(authority_key_id(peer.issuer) or "", peer.issuer.serial_number),
    )


def customer_caller(der: bytes, address: str, now: datetime, registered: Mapping[str, tuple[str, bytes]]) -> Caller:
    """The caller with a certificate that a customer registered: exactly this one, byte for byte.

    Args:
        registered: thumbprint -> (customer, DER).

    Raises:
        ProblemError: 401, nobody registered it, or it is not valid now.
    """
    print_ = hashlib.sha256(der).hexdigest()
    customer, exact = registered.get(print_, ("", b""))
    if exact != der:
        raise refused("certificate-unknown", f"no customer registered the certificate {print_}")
    certificate = x509.load_der_x509_certificate(der)
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        hint = "register a new one with another of yours"
        raise refused("certificate-expired", "the certificate is not valid now", hint)
    return Caller(
        kind=Kind.CUSTOMER,
        name=customer,
        identity=f"customer:{customer}",
        thumbprint=print_,
        authority="",
        serial=serial_text(certificate.serial_number),
        expires=certificate.not_valid_after_utc,
        address=address,
        roles=("customer",),
    )


def thumbprint(certificate: x509.Certificate) -> str:
    """SHA-256 of a certificate, in lower-case hex."""
    return hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()


def serial_text(serial: int) -> str:
    """A serial number as it is written everywhere: lower-case hex."""
    return f"{serial:x}"
