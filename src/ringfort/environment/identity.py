"""What a service is told to check of its callers; the compiler writes it, the enforcing service reads it back."""

from __future__ import annotations

from dataclasses import dataclass

from ringfort.environment.model import PortRange, Protocol, Tls


@dataclass(frozen=True, slots=True)
class IdentityCheck:
    """One service on one host.

    ``callers`` are the SPIFFE names it accepts when ``tls`` is ``mutual`` (nobody when empty); a caller's certificate
    must also name the address it calls from (an IP subject alternative name), so that a stolen key is of no use
    elsewhere. For ``none`` and ``server`` nothing is checked and ``callers`` is empty.
    """

    service: str
    protocol: Protocol
    ports: tuple[PortRange, ...]
    tls: Tls
    callers: frozenset[str]
