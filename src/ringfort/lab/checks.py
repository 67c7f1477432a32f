"""Whether a service admits a caller: the mechanism ``identity:SERVICE``, as a judgement over values.

A caller is admitted when its certificate names exactly one SPIFFE identity, that identity is among the check's callers,
and the address it calls from is among the certificate's. Anything else is refused, whatever the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from cryptography import x509

from ringfort.environment.identity import IdentityCheck
from ringfort.environment.model import PortRange, Protocol, Tls

NO_CERTIFICATE = "no-certificate"
UNTRUSTED = "untrusted-certificate"
HANDSHAKE = "handshake-failed"
NAMES = "certificate-names"
CALLER = "caller-not-allowed"
ADDRESS = "address-not-in-certificate"


def refusal(callers: frozenset[str], certificate: bytes, address: str) -> str:
    """Why a caller is refused, or nothing when it is admitted.

    Args:
        callers: the SPIFFE names that are admitted.
        certificate: the caller's, in DER; the handshake has proved its key and its issuer.
        address: where the connection comes from.
    """
    if not certificate:
        return NO_CERTIFICATE
    try:
        names = _names(certificate)
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension):
        return NAMES
    identities = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(identities) != 1:  # SPIFFE X509-SVID, section 2: exactly one URI
        return NAMES
    if identities[0] not in callers:
        return CALLER
    if ip_address(address) not in names.get_values_for_type(x509.IPAddress):
        return ADDRESS
    return ""


def _names(certificate: bytes) -> x509.SubjectAlternativeName:
    extensions = x509.load_der_x509_certificate(certificate).extensions
    return extensions.get_extension_for_class(x509.SubjectAlternativeName).value


def to_json(check: IdentityCheck) -> dict[str, Any]:
    """A check as JSON; `from_json` gives it back."""
    return {
        "service": check.service,
        "protocol": str(check.protocol),
        "ports": [[ports.first, ports.last] for ports in check.ports],
        "tls": str(check.tls),
        "callers": sorted(check.callers),
    }


def from_json(value: Mapping[str, Any]) -> IdentityCheck:
    """A check from its JSON."""
    return IdentityCheck(
        service=value["service"],
        protocol=Protocol(value["protocol"]),
        ports=tuple(PortRange(first, last) for first, last in value["ports"]),
        tls=Tls(value["tls"]),
        callers=frozenset(value["callers"]),
    )
