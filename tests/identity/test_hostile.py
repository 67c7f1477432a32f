"""Certificates that strangers send: whatever the bytes, a refusal with its code and its clause, and nothing else."""

from __future__ import annotations

import contextlib
import ssl
import warnings

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.utils import CryptographyDeprecationWarning
from hypothesis import given, settings
from hypothesis import strategies as st

from ringfort.identity.bundle import Bundle
from ringfort.identity.certificates import UNREADABLE, from_pem
from ringfort.identity.credential import Credential
from ringfort.identity.errors import IdentityError
from tests.identity.chains import ACCEPTED, ISSUER, LEAF, ROOT, assemble, der, judge, key, sign
from tests.identity.parties import DOMAIN

BUNDLE = Bundle(DOMAIN, (sign(ROOT, ROOT),), (sign(ISSUER, ROOT),))
GOOD = sign(LEAF, ISSUER)
SIGNED = GOOD.tbs_certificate_bytes


def verdict(data: bytes) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        try:
            leaf = x509.load_der_x509_certificate(data)
        except UNREADABLE:
            return "unreadable"
        return judge(leaf, BUNDLE)


def test_the_one_that_is_changed_is_good() -> None:
    assert verdict(der(GOOD)) == ACCEPTED


@settings(max_examples=300)
@given(st.integers(0, len(der(GOOD)) - 1), st.integers(1, 255))
def test_a_certificate_with_a_changed_byte_is_refused(place: int, change: int) -> None:
    data = bytearray(der(GOOD))
    data[place] ^= change
    found = verdict(bytes(data))
    assert found != "without a clause"
    if found == ACCEPTED:  # only how many bits of the signature's last byte are unused, which says nothing
        same = x509.load_der_x509_certificate(bytes(data))
        assert (same.tbs_certificate_bytes, same.signature) == (SIGNED, GOOD.signature)


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, len(SIGNED) - 1), st.integers(0, 255)), min_size=1, max_size=3))
def test_a_stolen_authority_that_signs_nonsense_breaks_nothing(changes: list[tuple[int, int]]) -> None:
    """The signature is right and the content is not: only what is said may be accepted, never an exception."""
    signed = bytearray(SIGNED)
    for place, value in changes:
        signed[place] = value
    data = assemble(bytes(signed), key("issuer").sign(bytes(signed), ec.ECDSA(hashes.SHA256())))
    found = verdict(data)
    assert found == ACCEPTED or found == "unreadable" or found.startswith("identity-")


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    assert verdict(data) == "unreadable"


@pytest.mark.parametrize("size", [0, 1, 100, -1])
def test_a_certificate_that_is_cut_off(size: int) -> None:
    assert verdict(der(GOOD)[:size]) == "unreadable"


CHANGES = st.lists(st.tuples(st.integers(0, len(SIGNED) - 1), st.integers(0, 255)), min_size=1, max_size=3)


@settings(max_examples=500)
@given(CHANGES)
def test_whatever_stands_in_a_chain_or_a_bundle_that_a_controller_hands_out(changes: list[tuple[int, int]]) -> None:
    """A node takes what it is given, or refuses it with a message; it never falls over."""
    signed = bytearray(SIGNED)
    for place, value in changes:
        signed[place] = value
    pem = ssl.DER_cert_to_PEM_cert(assemble(bytes(signed), b"\0" * 70)).encode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        for take in (_credential, Bundle.from_pem):
            with contextlib.suppress(IdentityError):
                take(pem)


def _credential(pem: bytes) -> None:
    made = Credential(key("leaf"), from_pem(pem))
    assert made.identity
    repr(made)


def test_the_same_for_an_authority_in_a_bundle() -> None:
    root = sign(ROOT, ROOT)
    with pytest.raises(IdentityError):
        Bundle.of([root, sign(LEAF, ISSUER)])
    with pytest.raises(IdentityError):
        Bundle.of([sign(ISSUER, ROOT)])
    with pytest.raises(IdentityError):
        Bundle.of([])
    foreign = ROOT.names(x509.UniformResourceIdentifier("spiffe://other.example"))
    with pytest.raises(IdentityError):
        Bundle.of([root, sign(foreign, foreign)])
