"""A throw-away certificate authority for the lab: one key and certificate for each identity a host holds.

Every certificate names exactly one SPIFFE identity (a URI subject alternative name, SPIFFE X509-SVID section 2) and the
addresses of the host it belongs to, so that a service can refuse it when it comes from elsewhere. The keys are worth
nothing outside the lab and stay in its state directory, readable by its owner only.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ringfort.environment.model import Address, Environment, Flow
from ringfort.lab.state import write_private

ROOT_LIFETIME = timedelta(days=365)
LIFETIME = timedelta(days=30)
RENEW_BEFORE = timedelta(days=7)
"""A certificate with less than this left is made anew by the next ``up``."""
BACKDATE = timedelta(minutes=5)
"""For clocks that disagree a little."""

ROOT_FILE, ROOT_KEY_FILE, MANIFEST = "authority.pem", "authority.key", "manifest.json"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a key: ``name`` is ``@HOST`` or ``SERVICE@HOST``, and the name of its file."""

    name: str
    identity: str
    addresses: tuple[Address, ...]


def host_holder(host: str) -> str:
    """The name under which a host's own key is kept."""
    return f"@{host}"


def service_holder(service: str, host: str) -> str:
    """The name under which the key of a service on a host is kept."""
    return f"{service}@{host}"


def operator_holder(operator: str, host: str) -> str:
    """The name under which an operator's key for calls from a host is kept."""
    return f"operator.{operator}@{host}"


def holder_of(flow: Flow, caller: str) -> str:
    """Whose key a caller shows for a flow: its service's, its first operator's where it names some, or its own."""
    kind, _, name = flow.source.partition(":")
    if flow.operators:
        return operator_holder(flow.operators[0], caller)
    return service_holder(name, caller) if kind == "service" else host_holder(caller)


def holders(environment: Environment) -> tuple[Holder, ...]:
    """Everyone who needs a key: each host, each service on each host that serves it under TLS or calls with it, each
    operator on each host he calls from."""
    found: dict[str, Holder] = {}

    def hold(name: str, identity: str, host: str) -> None:
        found.setdefault(name, Holder(name, identity, environment.hosts[host].addresses))

    for host in environment.hosts.values():
        hold(host_holder(host.name), host.identity, host.name)
        for name in host.services:
            hold(service_holder(name, host.name), environment.services[name].identity, host.name)
    for flow in environment.flows.values():
        if flow.operators:
            for operator, identity in zip(flow.operators, flow.identities, strict=True):
                for caller in flow.callers:
                    hold(operator_holder(operator, caller), identity, caller)
    return tuple(found.values())


class Authority:
    """The root key and certificate. `open_or_make` finds them in a directory or makes them there."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        self._key = key
        self.certificate = certificate

    @classmethod
    def open(cls, directory: Path) -> Authority | None:
        """The authority kept in ``directory``, if there is one and it can be read."""
        try:
            data = (directory / ROOT_FILE).read_bytes()
            key = load_pem_private_key((directory / ROOT_KEY_FILE).read_bytes(), None)
            certificate = x509.load_pem_x509_certificate(data)
        except (OSError, ValueError):
            return None
        return cls(key, certificate) if isinstance(key, ec.EllipticCurvePrivateKey) else None

    @classmethod
    def open_or_make(cls, directory: Path, trust_domain: str, now: datetime) -> Authority:
        """The authority kept in ``directory``; a new one if there is none, it is near its end, or of another domain."""
        uri = f"spiffe://{trust_domain}"
        found = cls.open(directory)
        if found is not None and found.certificate.not_valid_after_utc - now > LIFETIME and found._uris() == [uri]:
            return found
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"lab of {trust_domain}"[:64])])
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _builder(name, name, key.public_key(), now, ROOT_LIFETIME)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=False)
            .sign(key, hashes.SHA256())
        )
        write_private(directory / ROOT_KEY_FILE, _pem(key))
        write_private(directory / ROOT_FILE, certificate.public_bytes(Encoding.PEM))
        return cls(key, certificate)

    def _uris(self) -> list[str]:
        try:
            names = self.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return []
        return names.get_values_for_type(x509.UniformResourceIdentifier)

    def issue(self, identity: str, addresses: Iterable[Address], now: datetime) -> bytes:
        """A new key and its certificate, in one PEM file."""
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(identity)]
        names += [x509.IPAddress(address) for address in addresses]
        issuer = self.certificate.subject
        subject = x509.Name([])  # the name is in the URI, so the extension is critical (RFC 5280, 4.2.1.6)
        both = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH])
        certificate = (
            _builder(subject, issuer, key.public_key(), now, LIFETIME)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(both, critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=True)
            .add_extension(_issuer_key(self._key), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return _pem(key) + certificate.public_bytes(Encoding.PEM)


def _issuer_key(key: ec.EllipticCurvePrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, lifetime: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def key_file(directory: Path, holder: str) -> Path:
    """Key and certificate of a holder, in one PEM file."""
    return directory / f"{holder}.pem"


def ensure(directory: Path, trust_domain: str, wanted: Iterable[Holder], now: datetime) -> tuple[str, ...]:
    """Make the keys and certificates that are missing, near their end, or no longer say what they should.

    Returns:
        the names of the holders that got new ones.
    """
    directory.mkdir(mode=0o700, exist_ok=True)
    authority = Authority.open_or_make(directory, trust_domain, now)
    fingerprint = authority.certificate.fingerprint(hashes.SHA256()).hex()
    noted = _read_manifest(directory)
    kept: dict[str, dict[str, Any]] = {}
    issued = []
    for holder in wanted:
        entry = noted.get(holder.name, {})
        addresses = [str(address) for address in holder.addresses]
        expected = {"authority": fingerprint, "identity": holder.identity, "addresses": addresses}
        path = key_file(directory, holder.name)
        if not (_says(entry, expected, now) and path.exists()):
            write_private(path, authority.issue(holder.identity, holder.addresses, now))
            entry = expected | {"until": (now + LIFETIME).isoformat()}
            issued.append(holder.name)
        kept[holder.name] = entry
    for name in noted.keys() - kept.keys():
        key_file(directory, name).unlink(missing_ok=True)
    write_private(directory / MANIFEST, json.dumps(kept, indent=1).encode())
    return tuple(issued)


def missing(directory: Path, wanted: Iterable[Holder], now: datetime) -> int:
    """How many certificates `ensure` would make; changes nothing."""
    noted = _read_manifest(directory)
    return sum(
        not _says(
            noted.get(holder.name, {}),
            {"identity": holder.identity, "addresses": [str(address) for address in holder.addresses]},
            now,
        )
        for holder in wanted
    )


def _says(entry: dict[str, Any], expected: dict[str, Any], now: datetime) -> bool:
    if any(entry.get(key) != value for key, value in expected.items()):
        return False
    try:
        until = datetime.fromisoformat(entry["until"])
    except (KeyError, ValueError):
        return False
    return until.replace(tzinfo=until.tzinfo or UTC) - now > RENEW_BEFORE


def manifest(directory: Path) -> str:
    """What there is: who holds which certificate until when; changes with every certificate made. Empty if nothing."""
    try:
        return (directory / MANIFEST).read_text()
    except OSError:
        return ""


def _read_manifest(directory: Path) -> dict[str, Any]:
    try:
        noted = json.loads(manifest(directory))
    except ValueError:
        return {}
    return noted if isinstance(noted, dict) else {}
