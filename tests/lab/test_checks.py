"""Who a service admits: only a declared caller, with a certificate that names it once, from its own address."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from ringfort.environment.identity import IdentityCheck
from ringfort.environment.model import PortRange, Protocol, Tls
from ringfort.lab import checks
from ringfort.lab.authority import Authority

NOW = datetime(2030, 1, 1, tzinfo=UTC)
WEB = "spiffe://lab.example/service/web"
OTHER = "spiffe://lab.example/service/other"


def certificate(*names: x509.GeneralName) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([]))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW.replace(year=2031))
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=True)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def uri(text: str) -> x509.GeneralName:
    return x509.UniformResourceIdentifier(text)


def ip(text: str) -> x509.GeneralName:
    return x509.IPAddress(ip_address(text))


@pytest.mark.parametrize(
    ("names", "address", "reason"),
    [
        pytest.param((uri(WEB), ip("10.0.0.1")), "10.0.0.1", "", id="a declared caller at its own address is admitted"),
        pytest.param((uri(WEB), ip("fd00::1")), "fd00:0::1", "", id="however its address is written"),
        pytest.param((uri(OTHER), ip("10.0.0.1")), "10.0.0.1", checks.CALLER, id="another service is not"),
        pytest.param((uri(WEB + "x"), ip("10.0.0.1")), "10.0.0.1", checks.CALLER, id="nor a name that begins alike"),
        pytest.param((uri(WEB), ip("10.0.0.1")), "10.0.0.2", checks.ADDRESS, id="nor stolen keys from elsewhere"),
        pytest.param((uri(WEB),), "10.0.0.1", checks.ADDRESS, id="nor a certificate without an address"),
        pytest.param((uri(WEB), uri(OTHER), ip("10.0.0.1")), "10.0.0.1", checks.NAMES, id="nor one of two names"),
        pytest.param((uri(WEB), uri(WEB), ip("10.0.0.1")), "10.0.0.1", checks.NAMES, id="nor the same name twice"),
        pytest.param((ip("10.0.0.1"),), "10.0.0.1", checks.NAMES, id="nor one without a name"),
        pytest.param((x509.DNSName("web"), ip("10.0.0.1")), "10.0.0.1", checks.NAMES, id="nor a host name"),
        pytest.param((), "10.0.0.1", checks.NAMES, id="nor one without names at all"),
    ],
)
def test_who_is_admitted(names: tuple[x509.GeneralName, ...], address: str, reason: str) -> None:
    assert checks.refusal(frozenset({WEB}), certificate(*names), address) == reason


def test_nobody_is_admitted_without_a_certificate() -> None:
    assert checks.refusal(frozenset({WEB}), b"", "10.0.0.1") == checks.NO_CERTIFICATE


def test_nobody_is_admitted_with_a_broken_certificate() -> None:
    assert checks.refusal(frozenset({WEB}), b"\x30\x03abc", "10.0.0.1") == checks.NAMES


def test_nobody_is_admitted_where_no_flow_leads() -> None:
    assert checks.refusal(frozenset(), certificate(uri(WEB), ip("10.0.0.1")), "10.0.0.1") == checks.CALLER


def test_the_authority_makes_certificates_that_are_admitted(tmp_path: Path) -> None:
    authority = Authority.open_or_make(tmp_path, "lab.example", NOW)
    pem = authority.issue(WEB, [ip_address("10.0.0.1"), ip_address("fd00::1")], NOW)
    made = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
    for address in ("10.0.0.1", "fd00::1"):
        assert checks.refusal(frozenset({WEB}), made, address) == ""
    assert checks.refusal(frozenset({WEB}), made, "10.0.0.2") == checks.ADDRESS


def test_a_check_survives_its_json() -> None:
    ports = (PortRange(1, 2), PortRange(443, 443))
    check = IdentityCheck("web", Protocol.TCP, ports, Tls.MUTUAL, frozenset({WEB, OTHER}))
    assert checks.from_json(checks.to_json(check)) == check
