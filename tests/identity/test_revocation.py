"""Revocation: lists that say who signed them and until when, and a value that fails closed."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from ringfort.identity.bundle import Bundle
from ringfort.identity.certificates import UNREADABLE, authority_id, to_pem
from ringfort.identity.errors import IdentityError, IdentityRefused, Refusal
from ringfort.identity.revocation import LIST_LIFETIME, Revocations, Revoked, renew_list, revoked, sign_list
from ringfort.identity.verification import anyone, verify
from tests.identity.parties import NOON, authority, make

ISSUING = authority()
LEAF = ISSUING.leaf(addresses=["10.10.1.2"])
OTHER = ISSUING.leaf(addresses=["10.10.1.3"])
NORTH = authority_id(ISSUING.north.certificate)


def refusal(known: Revocations, leaf: x509.Certificate = LEAF, at_minutes: float = 0) -> Refusal | None:
    try:
        verify(leaf, (), ISSUING.bundle, NOON + timedelta(minutes=at_minutes), expected=anyone, revoked=known)
    except IdentityRefused as refused:
        return refused.refusal
    return None


def lists(*entries: Revoked, number: int = 1) -> Revocations:
    return Revocations.from_lists([sign_list(ISSUING.north, number, entries, NOON)], ISSUING.bundle)


def test_who_is_on_the_list_is_refused_and_nobody_else() -> None:
    known = lists(revoked(LEAF, NOON))
    assert refusal(known) is Refusal.REVOKED
    assert refusal(known, OTHER) is None
    assert refusal(lists()) is None


def test_without_a_list_or_with_an_old_one_everybody_is_refused() -> None:
    assert refusal(Revocations()) is Refusal.REVOCATION_UNKNOWN
    assert refusal(lists(), ISSUING.leaf(addresses=["10.20.1.2"], issuer=ISSUING.south)) is Refusal.REVOCATION_UNKNOWN
    short = Revocations.from_lists([sign_list(ISSUING.north, 1, (), NOON, timedelta(minutes=10))], ISSUING.bundle)
    assert refusal(short, at_minutes=10) is None
    assert refusal(short, at_minutes=10.1) is Refusal.REVOCATION_UNKNOWN


def test_a_revoked_issuing_authority_takes_its_leaves_along() -> None:
    above = sign_list(ISSUING.root, 1, [revoked(ISSUING.north.certificate, NOON)], NOON)
    own = sign_list(ISSUING.north, 1, (), NOON)
    assert refusal(Revocations.from_lists([above, own], ISSUING.bundle)) is Refusal.REVOKED


def test_what_a_controller_reads_from_its_database_needs_no_signature() -> None:
    known = Revocations.known([revoked(LEAF, NOON)], [NORTH], NOON + timedelta(seconds=15))
    assert refusal(known) is Refusal.REVOKED
    assert refusal(known, OTHER) is None
    assert refusal(known, OTHER, at_minutes=1) is Refusal.REVOCATION_UNKNOWN, "its database does not answer any more"


def test_a_list_that_nobody_here_signed_is_refused() -> None:
    stranger = make()
    forged = sign_list(stranger.north, 99, (), NOON)
    with pytest.raises(IdentityError) as error:
        Revocations.from_lists([forged], ISSUING.bundle)
    assert error.value.code == "identity-revocation-list"


def test_an_authority_speaks_for_its_own_certificates_only() -> None:
    entry = revoked(LEAF, NOON)
    south = sign_list(ISSUING.south, 1, [entry], NOON)
    assert len(list(south)) == 0
    smuggled = sign_list(ISSUING.south, 1, [Revoked(authority_id(ISSUING.south.certificate), entry.serial, NOON)], NOON)
    known = Revocations.from_lists([smuggled, sign_list(ISSUING.north, 1, (), NOON)], ISSUING.bundle)
    assert refusal(known) is None, "the same serial number on another authority's list"


def test_of_two_lists_the_later_counts() -> None:
    old, new = sign_list(ISSUING.north, 4, (), NOON), sign_list(ISSUING.north, 5, [revoked(LEAF, NOON)], NOON)
    for order in ([old, new], [new, old]):
        assert refusal(Revocations.from_lists(order, ISSUING.bundle)) is Refusal.REVOKED


def test_a_list_is_renewed_with_what_it_had_until_that_has_expired() -> None:
    first = renew_list(ISSUING.north, None, [revoked(LEAF, NOON)], NOON)
    second = renew_list(ISSUING.north, first, [revoked(OTHER, NOON + timedelta(hours=1))], NOON + timedelta(hours=1))
    third = renew_list(ISSUING.north, second, [], NOON + timedelta(hours=24, minutes=30))
    assert [{one.serial_number for one in crl} for crl in (first, second, third)] == [
        {LEAF.serial_number},
        {LEAF.serial_number, OTHER.serial_number},
        {OTHER.serial_number},
    ]
    assert second.next_update_utc == NOON + timedelta(hours=1) + LIST_LIFETIME
    root = renew_list(ISSUING.root, None, [revoked(ISSUING.north.certificate, NOON)], NOON)
    later = renew_list(ISSUING.root, root, [], NOON + timedelta(days=300))
    assert len(list(later)) == 1, "an authority lives for a year"


@settings(max_examples=25)
@given(st.sets(st.integers(1, 2**150), max_size=20), st.integers(1, 2**150))
def test_a_list_says_exactly_what_was_put_on_it(serials: set[int], other: int) -> None:
    known = lists(*(Revoked(NORTH, serial, NOON) for serial in serials))
    assert {serial for _, serial in known.entries} == serials
    assert ((NORTH, other) in known.entries) == (other in serials)


CRL = sign_list(ISSUING.north, 1, [revoked(LEAF, NOON)], NOON)
SIGNED = CRL.public_bytes(Encoding.DER)


@settings(max_examples=300)
@given(st.integers(0, len(SIGNED) - 1), st.integers(0, 7))
def test_a_changed_list_is_refused_whatever_was_changed(place: int, bit: int) -> None:
    der = bytearray(SIGNED)
    der[place] ^= 1 << bit
    try:
        crl = x509.load_der_x509_crl(bytes(der))
    except UNREADABLE:
        return
    if (crl.tbs_certlist_bytes, crl.signature) == (CRL.tbs_certlist_bytes, CRL.signature):
        return  # only how many bits of the signature's last byte are unused, which says nothing
    with pytest.raises(IdentityError):
        Revocations.from_lists([crl], ISSUING.bundle)


def test_a_bundle_without_the_authority_knows_no_list_of_it() -> None:
    with pytest.raises(IdentityError):
        Revocations.from_lists([sign_list(ISSUING.north, 1, (), NOON)], Bundle.of([ISSUING.root.certificate]))


def test_openssl_reads_our_lists(tmp_path: Path) -> None:
    """As HAProxy does with crl-file: every authority of the chain needs its list."""
    now = datetime.now(UTC)
    issuing = make(now=now - timedelta(days=1))
    good, bad = (issuing.leaf(addresses=["10.10.1.2"], now=now) for _ in range(2))
    root, north = sign_list(issuing.root, 1, (), now), sign_list(issuing.north, 1, [revoked(bad, now)], now)

    def openssl(leaf: x509.Certificate, *crls: x509.CertificateRevocationList) -> str:
        parts = {
            "-CAfile": issuing.bundle.roots_pem(),
            "-untrusted": to_pem([issuing.north.certificate]),
            "-CRLfile": b"".join(crl.public_bytes(Encoding.PEM) for crl in crls),
            "": to_pem([leaf]),
        }
        words: list[str | Path] = []
        for number, (option, content) in enumerate(parts.items()):
            (tmp_path / str(number)).write_bytes(content)
            words += [option, tmp_path / str(number)] if option else [tmp_path / str(number)]
        done = subprocess.run(
            ["openssl", "verify", "-x509_strict", "-crl_check_all", *words], capture_output=True, text=True
        )
        return done.stdout + done.stderr

    assert ": OK" in openssl(good, root, north)
    assert "certificate revoked" in openssl(bad, root, north)
    assert "unable to get certificate CRL" in openssl(good, north)
    assert "unable to get certificate CRL" in openssl(good, root)
