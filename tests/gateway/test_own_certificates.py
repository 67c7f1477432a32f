"""A customer's own certificate is taken when it will work for its visitors, and its key rests sealed."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from ringfort.compute.sealing import PlatformKey, SealedError
from ringfort.gateway.acme.authority import PublicIssuer, PublicRoot
from ringfort.gateway.edge.certificates import material, take
from ringfort.gateway.edge.model import EdgeError
from ringfort.identity.certificates import to_pem

NOW = datetime(2026, 6, 1, tzinfo=UTC)
WWW, API = "www.shop.example", "api.shop.example"
PLATFORM = PlatformKey(os.urandom(32))
SEALING = PLATFORM.unwrap("acme", PLATFORM.new_key("acme"))
ROOT = PublicRoot.create("tests", NOW - timedelta(days=60))
ISSUER = ROOT.issuer(["shop.example"], NOW - timedelta(days=60))
OTHER = PublicRoot.create("others", NOW - timedelta(days=60))


@dataclass
class Upload:
    chain: list[x509.Certificate]
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def upload(*names: str, issuer: PublicIssuer = ISSUER, at: datetime = NOW) -> Upload:
    key = ec.generate_private_key(ec.SECP256R1())
    return Upload([issuer.issue(names or (WWW,), key.public_key(), at), issuer.certificate], key)


def test_a_certificate_that_works_is_taken_and_its_key_rests_sealed() -> None:
    sent = upload(WWW, API)
    own = take(to_pem(sent.chain), sent.key_pem, [WWW, API], NOW, [OTHER.certificate, ROOT.certificate], SEALING)
    assert own.chain == to_pem(sent.chain)
    assert (own.is_private, own.authority) == (False, ROOT.certificate.subject.rfc4514_string())
    assert own.until == sent.chain[0].not_valid_after_utc
    lines = sent.key_pem.splitlines()[1:-1]
    assert not any(line in own.sealed_key or line.decode() in repr(own) for line in lines)
    assert material(own, SEALING) == to_pem(sent.chain) + sent.key_pem
    stranger = PLATFORM.unwrap("zeta", PLATFORM.new_key("zeta"))
    with pytest.raises(SealedError):
        material(own, stranger)


def test_certificates_come_in_any_order_and_leave_in_the_right_one() -> None:
    sent = upload()
    own = take(to_pem([ISSUER.certificate, ROOT.certificate, sent.chain[0]]), sent.key_pem, [WWW], NOW, [], SEALING)
    assert own.chain == to_pem(sent.chain), "without the root, which visitors have"
    assert own.is_private


def with_key(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> Callable[[], tuple[bytes, bytes]]:
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return lambda: (to_pem(upload().chain), pem)


def under_a_passphrase() -> tuple[bytes, bytes]:
    sent = upload()
    pem = sent.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    return to_pem(sent.chain), pem


def of(sent: Upload, *chain: x509.Certificate) -> tuple[bytes, bytes]:
    return to_pem(chain or sent.chain), sent.key_pem


def signed_by_a_leaf() -> tuple[bytes, bytes]:
    """Somebody's server certificate is no authority, whatever it signs."""
    between = upload()
    pretender = PublicIssuer(between.chain[0], between.key)  # type: ignore[arg-type]
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .issuer_name(x509.Name([]))
        .subject_name(x509.Name([]))
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(WWW)]), critical=True)
    )

    leaf = builder.sign(pretender.key, hashes.SHA256())
    return of(Upload([], key), leaf, *between.chain)


REFUSED: list[tuple[str, Callable[[], tuple[bytes, bytes]]]] = [
    ("certificate-key-mismatch", with_key(ec.generate_private_key(ec.SECP256R1()))),
    ("certificate-key-weak", with_key(rsa.generate_private_key(65537, 2048))),
    ("certificate-key-weak", with_key(ec.generate_private_key(ec.SECP224R1()))),
    ("certificate-key-passphrase", under_a_passphrase),
    ("certificate-key-unreadable", lambda: (to_pem(upload().chain), b"nonsense")),
    ("certificate-unreadable", lambda: (b"nonsense", upload().key_pem)),
    ("certificate-unreadable", lambda: (b"", upload().key_pem)),
    ("certificate-unreadable", lambda: (b"x" * 100_000, upload().key_pem)),
    ("certificate-expired", lambda: of(upload(at=NOW - timedelta(days=30)))),
    ("certificate-not-yet-valid", lambda: of(upload(at=NOW + timedelta(days=5)))),
    ("certificate-names", lambda: of(upload(API))),
    ("certificate-chain", lambda: of(sent := upload(), sent.chain[0])),
    ("certificate-chain", lambda: of(sent := upload(), sent.chain[0], OTHER.certificate)),
    ("certificate-chain", signed_by_a_leaf),
    ("certificate-authority", lambda: of(Upload([ISSUER.certificate], ISSUER.key))),
]


@pytest.mark.parametrize(("code", "sent"), REFUSED)
def test_a_certificate_that_would_not_work_is_refused_with_its_reason(
    code: str, sent: Callable[[], tuple[bytes, bytes]]
) -> None:
    chain, key = sent()
    with pytest.raises(EdgeError) as refused:
        take(chain, key, [WWW], NOW, [ROOT.certificate], SEALING)
    assert refused.value.code == code
    assert "PRIVATE KEY" not in str(refused.value) + refused.value.hint
