"""Customers' own certificates for their public names: verified before they are taken, their keys sealed."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from sqlalchemy import Connection, Row, delete, func, insert, select

from ringfort.control import edge_models as models
from ringfort.control import sealed
from ringfort.control.application_tables import public_certificates
from ringfort.control.calls import Call, Change, Outcome
from ringfort.control.clock import to_number, to_time
from ringfort.control.errors import ProblemError, conflict, not_found
from ringfort.control.operations.arranging import EDGE
from ringfort.control.serving import Served
from ringfort.gateway.edge.certificates import names_in, take
from ringfort.gateway.edge.model import EdgeError

KNOWN_ROOTS = Path("/etc/ssl/certs/ca-certificates.crt")
"""Those that visitors know, as Debian has them."""

MOST = 500
_END = b"-----END CERTIFICATE-----\n"


def list_certificates(connection: Connection, call: Call) -> models.PublicCertificates:
    """A customer's certificates, by name."""
    return models.PublicCertificates(certificates=[_shown(row) for row in _rows(connection, call)])


def put(served: Served, connection: Connection, call: Call) -> Outcome:
    """Take a certificate for some of its names, in place of those that were there."""
    form, customer = call.body(models.PublicCertificateForm), call.parameters["name"]
    chain, key = form.chain.encode(), form.key.encode()
    sealing = sealed.new_or_known_key(served, connection, customer, call.now)
    before = {row.name: row.digest for row in _rows(connection, call)}
    try:
        names = tuple(dict.fromkeys(form.names)) or names_in(chain, key)
        taken = {name: take(chain, key, [name], call.now, known_roots(), sealing) for name in names}
    except EdgeError as error:
        raise ProblemError(422, error.code, error.message, error.hint) from error
    if not taken:
        raise ProblemError(422, "certificate-names", "the certificate names wildcards only", "say for which names")
    mine = public_certificates.c.customer == customer
    connection.execute(delete(public_certificates).where(mine, public_certificates.c.name.in_(names)))
    for name, own in taken.items():
        connection.execute(
            insert(public_certificates).values(
                customer=customer,
                name=name,
                digest=_digest(own.chain),
                chain=own.chain,
                sealed_key=own.sealed_key,
                expires=to_number(own.until),
                authority=own.authority,
                private=int(own.is_private),
                added=to_number(call.now),
            )
        )
    if connection.execute(select(func.count()).select_from(public_certificates).where(mine)).scalar_one() > MOST:
        raise conflict("too-many-certificates", f"a customer has at most {MOST} certificates for public names")
    after = {name: _digest(own.chain) for name, own in taken.items()}
    change = Change(
        "control:public-certificate:put",
        f"customer/{customer}",
        {name: before[name] for name in sorted(after.keys() & before.keys())} or None,
        after,
        (EDGE,),
    )
    return Outcome(list_certificates(connection, call), change)


def remove(connection: Connection, call: Call) -> Outcome:
    """Keep a certificate no longer; its name gets no TLS from then on."""
    name = call.parameters["public"]
    gone = [row for row in _rows(connection, call) if row.name == name]
    if not gone:
        raise not_found(f"certificate for {name}")
    connection.execute(
        delete(public_certificates).where(
            public_certificates.c.customer == call.parameters["name"], public_certificates.c.name == name
        )
    )
    on, before = f"customer/{call.parameters['name']}", {name: gone[0].digest}
    change = Change("control:public-certificate:remove", on, before, None, (EDGE,))
    return Outcome(list_certificates(connection, call), change)


@cache
def known_roots() -> Sequence[x509.Certificate]:
    """The roots that visitors know; none where there is no such file, and then customers send theirs along."""
    try:
        blocks = KNOWN_ROOTS.read_bytes().split(_END)[:-1]
    except OSError:
        return ()
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # what is unusual there, visitors' programs may not know either
        for block in blocks:
            with contextlib.suppress(ValueError, Warning):
                found.append(x509.load_pem_x509_certificate(block + _END))
    return tuple(found)


def _rows(connection: Connection, call: Call) -> list[Row[Any]]:
    mine = public_certificates.c.customer == call.parameters["name"]
    return list(connection.execute(select(public_certificates).where(mine).order_by(public_certificates.c.name)))


def _digest(chain: bytes) -> str:
    return x509.load_pem_x509_certificate(chain).fingerprint(hashes.SHA256()).hex()


def _shown(row: Row[Any]) -> models.PublicCertificate:
    return models.PublicCertificate(
        name=row.name,
        digest=row.digest,
        expires=to_time(row.expires),
        authority=row.authority,
        private=bool(row.private),
    )
