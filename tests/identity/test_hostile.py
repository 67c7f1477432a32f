"""Certificates that strangers send: whatever the bytes, a refusal with its code and its clause, and nothing else."""

from __future__ import annotations

import warnings

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.utils import CryptographyDeprecationWarning
from hypothesis import given, settings
from hypothesis import strategies as st

from ringfort.identity.bundle import Bundle
from ringfort.identity.certificates import UNREADABLE
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
    assert verdict(bytes(data)) not in {ACCEPTED, "without a clause"}


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


@pytest.mark.parametrize("size", [0, 1, 100, len(der(GOOD)) - 1])
def test_a_certificate_that_is_cut_off(size: int) -> None:
    assert verdict(der(GOOD)[:size]) == "unreadable"
