"""Customers and their management certificates."""

from __future__ import annotations

import hashlib
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import Connection, Row, delete, insert, select, update

from ringfort.control import application_models, models
from ringfort.control.calls import Call, Change, Outcome
from ringfort.control.clock import to_number, to_time
from ringfort.control.errors import ProblemError, conflict, not_found
from ringfort.control.operations import applications
from ringfort.control.tables import customer_certificates, customers, idempotency

MOST_CERTIFICATES = 10
SHORTEST_RSA = 3072
"""Bits; 128 bits of strength (NIST SP 800-57 part 1, table 2)."""


def list_customers(connection: Connection, _call: Call) -> models.Customers:
    """All customers."""
    rows = connection.execute(select(customers).order_by(customers.c.name)).all()
    return models.Customers(customers=[_customer(connection, row) for row in rows])


def read_customer(connection: Connection, call: Call) -> models.Customer:
    """One customer."""
    return _customer(connection, _known(connection, call.parameters["name"]))


def create_customer(connection: Connection, call: Call) -> Outcome:
    """A new customer, with its first certificate; further ones it adds by itself."""
    form = call.body(models.CustomerForm)
    known = connection.execute(select(customers.c.state).where(customers.c.name == form.name)).scalar()
    if known is not None:
        hint = (
            "a name is given once and never again"
            if known == "closed"
            else "customers add further certificates themselves"
        )
        raise conflict("customer-exists", f"there is a customer {form.name}", hint)
    connection.execute(insert(customers).values(name=form.name, state="active", created=to_number(call.now)))
    thumbprint = _add(connection, form.name, form.certificate, call)
    after = {"state": "active", "certificates": [thumbprint]}
    answer = _customer(connection, _known(connection, form.name))
    return Outcome(answer, Change("control:customer:create", f"customer/{form.name}", None, after, ("customers",)), 201)


def close_customer(connection: Connection, call: Call) -> Outcome:
    """The end of a customer: its certificates, its key and all it has go; its name is never given again."""
    name = call.parameters["name"]
    row = _known(connection, name)
    if row.state == "closed":
        return Outcome(_customer(connection, row))
    before = {
        "state": "active",
        "certificates": _thumbprints(connection, name),
        "applications": applications.names_of(connection, name),
    }
    connection.execute(delete(customer_certificates).where(customer_certificates.c.customer == name))
    connection.execute(delete(idempotency).where(idempotency.c.caller == f"customer:{name}"))
    topics = applications.close(connection, name)
    connection.execute(update(customers).where(customers.c.name == name).values(state="closed"))
    answer = _customer(connection, _known(connection, name))
    change = Change("control:customer:close", f"customer/{name}", before, {"state": "closed"}, ("customers", *topics))
    return Outcome(answer, change)


# -- certificates ----------------------------------------------------------------------------------------------------


def list_certificates(connection: Connection, call: Call) -> models.CustomerCertificates:
    """A customer's certificates."""
    return _certificates(connection, call.parameters["name"])


def identify(connection: Connection, call: Call) -> application_models.CertificateOwner:
    """Whose certificate it is: what a customer's command line needs to know first."""
    owner = connection.execute(
        select(customer_certificates.c.customer).where(
            customer_certificates.c.thumbprint == call.parameters["thumbprint"]
        )
    ).scalar()
    if owner is None:
        raise not_found(f"certificate {call.parameters['thumbprint']}")
    return application_models.CertificateOwner(customer=owner)


def add_certificate(connection: Connection, call: Call) -> Outcome:
    """One more certificate."""
    name = call.parameters["name"]
    before = _thumbprints(connection, name)
    _add(connection, name, call.body(models.CertificateForm).certificate, call)
    return _changed(connection, name, "add", before)


def remove_certificate(connection: Connection, call: Call) -> Outcome:
    """One certificate less; never the last, for then nobody could add another."""
    name, thumbprint = call.parameters["name"], call.parameters["thumbprint"]
    before = _thumbprints(connection, name)
    if thumbprint not in before:
        raise not_found(f"certificate {thumbprint}")
    if len(before) == 1:
        raise conflict("last-certificate", "this is the last certificate", "add another one first")
    connection.execute(delete(customer_certificates).where(customer_certificates.c.thumbprint == thumbprint))
    return _changed(connection, name, "remove", before)


def _changed(connection: Connection, name: str, what: str, before: list[str]) -> Outcome:
    change = Change(
        f"control:customer-certificate:{what}",
        f"customer/{name}",
        {"certificates": before},
        {"certificates": _thumbprints(connection, name)},
        ("customers",),
    )
    return Outcome(_certificates(connection, name), change, 201 if what == "add" else 200)


def _add(connection: Connection, customer: str, pem: str, call: Call) -> str:
    certificate = _sound(pem, call)
    der = certificate.public_bytes(Encoding.DER)
    thumbprint = hashlib.sha256(der).hexdigest()
    if connection.execute(
        select(customer_certificates.c.customer).where(customer_certificates.c.thumbprint == thumbprint)
    ).scalar():
        raise conflict("certificate-registered", f"the certificate {thumbprint} is registered already")
    if len(_thumbprints(connection, customer)) >= MOST_CERTIFICATES:
        raise conflict("too-many-certificates", f"there are {MOST_CERTIFICATES} already", "remove one first")
    connection.execute(
        insert(customer_certificates).values(
            thumbprint=thumbprint, customer=customer, certificate=der, added=to_number(call.now)
        )
    )
    return thumbprint


def _sound(pem: str, call: Call) -> x509.Certificate:
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
        key = certificate.public_key()
        certificate.subject.rfc4514_string()
        until = certificate.not_valid_after_utc
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ProblemError(422, "certificate-malformed", "this is no X.509 certificate in PEM") from error
    strong = (
        isinstance(key, ed25519.Ed25519PublicKey)
        or (isinstance(key, ec.EllipticCurvePublicKey) and key.key_size >= 256)
        or (isinstance(key, rsa.RSAPublicKey) and key.key_size >= SHORTEST_RSA)
    )
    if not strong:
        raise ProblemError(
            422,
            "key-weak",
            "the certificate's key has less than 128 bits of strength",
            "P-256, Ed25519, or RSA of 3072 bits",
        )
    if until <= call.now:
        raise ProblemError(422, "certificate-expired", f"the certificate was valid until {until.isoformat()}")
    return certificate


def _known(connection: Connection, name: str) -> Row[Any]:
    row = connection.execute(select(customers).where(customers.c.name == name)).one_or_none()
    if row is None:
        raise not_found(f"customer {name}")
    return row


def _thumbprints(connection: Connection, customer: str) -> list[str]:
    rows = connection.execute(
        select(customer_certificates.c.thumbprint).where(customer_certificates.c.customer == customer)
    )
    return sorted(rows.scalars())


def _customer(connection: Connection, row: Row[Any]) -> models.Customer:
    return models.Customer(
        name=row.name,
        state=row.state,
        created=to_time(row.created),
        certificates=_certificates(connection, row.name).certificates,
    )


def _certificates(connection: Connection, customer: str) -> models.CustomerCertificates:
    rows = connection.execute(
        select(customer_certificates)
        .where(customer_certificates.c.customer == customer)
        .order_by(customer_certificates.c.added, customer_certificates.c.thumbprint)
    )
    return models.CustomerCertificates(certificates=[_shown(row) for row in rows])


def _shown(row: Row[Any]) -> models.CustomerCertificate:
    certificate = x509.load_der_x509_certificate(row.certificate)
    return models.CustomerCertificate(
        thumbprint=row.thumbprint,
        subject=certificate.subject.rfc4514_string(),
        expires=certificate.not_valid_after_utc,
        added=to_time(row.added),
    )
