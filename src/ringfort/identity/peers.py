"""Who is on the other side of a connection."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509

from ringfort.environment.model import Address
from ringfort.identity.names import Identity


@dataclass(frozen=True, slots=True)
class Peer:
    """The other side of a connection, as it was verified when it was opened. ``issuer``: who issued its certificate."""

    identity: Identity
    address: Address | None
    certificate: x509.Certificate
    issuer: x509.Certificate
