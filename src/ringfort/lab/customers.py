"""A lab's customers: `ringfort up` makes the keys that they would make, and brings them in as an officer would."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from ringfort.environment.model import OperatorRole
from ringfort.errors import RingfortError
from ringfort.identity.authority import BACKDATE
from ringfort.identity.certificates import new_key
from ringfort.kernel import netns
from ringfort.lab import state
from ringfort.lab.plane import REASON, Plane, literal
from ringfort.lab.shapes import VISITOR, namespace_name

if TYPE_CHECKING:
    from ringfort.control.client import Client

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
                state.write_private(file, _self_signed(name, datetime.now(UTC)))
            leaf = x509.load_pem_x509_certificate(file.read_bytes()).public_bytes(Encoding.PEM).decode()
            client.call("POST", "/v1/customers", {"name": name, "certificate": leaf}, reason=REASON)
    return missing


def _self_signed(subject: str, now: datetime) -> bytes:
    """A key and a certificate that it signed itself, as customers make them for management."""
    key = new_key()
    called = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(called)
        .issuer_name(called)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + LIFETIME)
    )
    certificate = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + certificate


@contextmanager
def calling(plane: Plane, customer: Customer) -> Iterator[Client]:
    """Calls to the controller as a customer, from the lab's internet."""
    from ringfort.control.client import Client, Endpoint
    from ringfort.identity.store import read_bundle

    bundle, file = read_bundle(Path(plane.bundle)), customer.certificate
    with (
        netns.inside(namespace_name(plane.environment, VISITOR)),
        Client.customer(Endpoint.parse(door(plane)), file, file, bundle) as client,
    ):
        yield client


def door(plane: Plane) -> str:
    """Where customers call from the internet.

    Raises:
        RingfortError: nowhere.
    """
    for entry in plane.environment.published:
        if entry.service == plane.control.door:
            return f"{literal(entry.address)}:{entry.port}"
    hint = "declare control: door, and publish it"
    raise RingfortError("no-door", "customers can't call from the internet", hint)
