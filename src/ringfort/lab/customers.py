"""A lab's customers: `ringfort up` makes the keys that they would make, and brings them in as an officer would."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from ringfort.environment.model import OperatorRole
from ringfort.identity.certificates import new_key
from ringfort.lab import state
from ringfort.lab.plane import REASON, Plane

LIFETIME = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Customer:
    """A customer, and where its management certificate with its key is: one PEM file."""

    name: str
    certificate: Path


def of(plane: Plane, name: str) -> Customer:
    """A customer of a lab, brought in or not."""
    return Customer(name, plane.directory / "customers" / f"{name}.pem")


def ensure(plane: Plane, names: Iterable[str]) -> tuple[str, ...]:
    """Bring in the customers that the controller doesn't know; their names."""
    with plane.calling(OperatorRole.SECURITY_OFFICER) as client:
        known = {customer["name"] for customer in client.get("/v1/customers")["customers"]}
        missing = tuple(name for name in names if name not in known)
        for name in missing:
            file = of(plane, name).certificate
            if not file.exists():
                file.parent.mkdir(mode=0o700, exist_ok=True)
                state.write_private(file, self_signed(name, (), datetime.now(UTC)))
            leaf = x509.load_pem_x509_certificate(file.read_bytes()).public_bytes(Encoding.PEM).decode()
            client.call("POST", "/v1/customers", {"name": name, "certificate": leaf}, reason=REASON)
    return missing


def self_signed(subject: str, names: Iterable[str], now: datetime) -> bytes:
    """A key and a certificate that it signed itself, as customers make them: for management, or for public names."""
    key = new_key()
    called = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(called)
        .issuer_name(called)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + LIFETIME)
    )
    alternatives = [x509.DNSName(name) for name in names]
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    certificate = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + certificate
