"""Who signs for public names in a lab: the platform's authority, and a customer's own for its own certificates.

The names are below CUSTOMER.example: nobody has them on the real internet (RFC 6761, 6.5).
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from pathlib import Path

from ringfort.gateway.acme import files
from ringfort.gateway.acme.authority import PublicRoot
from ringfort.gateway.edge.certificates import issue
from ringfort.identity.certificates import to_pem
from ringfort.lab import state
from ringfort.lab.plane import Plane


def directory(plane: Plane) -> Path:
    """The platform's authority for public names."""
    return plane.directory / "public"


def domains(plane: Plane) -> tuple[str, ...]:
    """What it signs for: a domain for each customer that has a place for its code."""
    customers = {host.customer for host in plane.environment.hosts.values() if host.hypervisor and host.customer}
    return tuple(f"{customer}.example" for customer in sorted(customers))


def ensure(plane: Plane) -> None:
    """Make the platform's authority, or another issuer of it when there are other domains."""
    now, where, wanted = datetime.now(UTC), directory(plane), domains(plane)
    passphrase = plane.directory / "public.passphrase"
    if not (where / f"{files.ISSUER}.pem").exists():
        state.write_private(passphrase, secrets.token_hex(24).encode())
        files.create(where, plane.environment.name, wanted, passphrase.read_bytes(), now)
    elif files.read(where).domains != wanted:
        files.renew_issuer(where, wanted, passphrase.read_bytes(), now)


def own(customer: str, name: str, now: datetime) -> tuple[bytes, bytes]:
    """A customer's own certificate for a name with its key and all that is between, and the root: PEM."""
    root = PublicRoot.create(customer, now)
    return issue(root.issuer([name], now), name, now), to_pem([root.certificate])


def root(plane: Plane) -> str:
    """The platform's root for public names, which visitors know."""
    return (directory(plane) / f"{files.ROOT}.pem").read_text()
