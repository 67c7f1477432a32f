"""The token of enrolment: one line that becomes a node, once, and never is one."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfort.identity import token
from ringfort.identity.errors import IdentityError, IdentityRefused, Refusal
from ringfort.identity.names import Role
from ringfort.identity.verification import anyone, roles, verify
from tests.identity.parties import NOON, authority

PLACE = ip_address("10.10.1.2")
TOKEN = token.issue(authority().north, "web-1", [PLACE], authority().bundle, NOON)
LINE = token.write(TOKEN)


def test_a_token_is_read_as_it_was_written() -> None:
    for line in (LINE, f"  {LINE}\n"):
        taken = token.read(line)
        assert taken.node == "web-1"
        assert taken.credential.chain == TOKEN.credential.chain
        assert set(taken.bundle.roots + taken.bundle.issuers) == set(
            authority().bundle.roots + authority().bundle.issuers
        )
    assert LINE.isascii()
    assert LINE.replace("-", "").replace("_", "").isalnum()


def test_it_proves_an_enrolment_and_never_a_node() -> None:
    leaf = token.read(LINE).credential.leaf
    found = verify(leaf, (), authority().bundle, NOON, expected=roles(Role.ENROLMENT), address="10.10.1.2")
    assert found.uri == "spiffe://shop.example/enrolment/web-1"
    with pytest.raises(IdentityRefused) as refused:
        verify(leaf, (), authority().bundle, NOON, expected=roles(Role.NODE))
    assert refused.value.refusal is Refusal.WRONG_ROLE


def test_it_is_good_for_minutes_and_from_its_own_address() -> None:
    leaf = token.read(LINE).credential.leaf
    verify(leaf, (), authority().bundle, NOON + timedelta(minutes=token.MINUTES), expected=anyone)
    with pytest.raises(IdentityRefused) as late:
        verify(leaf, (), authority().bundle, NOON + timedelta(minutes=token.MINUTES, seconds=1), expected=anyone)
    assert late.value.refusal is Refusal.EXPIRED
    with pytest.raises(IdentityRefused) as elsewhere:
        verify(leaf, (), authority().bundle, NOON, expected=anyone, address="10.10.1.3")
    assert elsewhere.value.refusal is Refusal.WRONG_ADDRESS


@pytest.mark.parametrize("minutes", [0, -1, 61, 10_000])
def test_it_cannot_be_made_for_longer(minutes: int) -> None:
    with pytest.raises(IdentityError) as error:
        token.issue(authority().north, "web-1", [PLACE], authority().bundle, NOON, minutes)
    assert error.value.code == "token-lifetime"


@given(st.integers(0, len(LINE) - 1), st.sampled_from("Aa0-_ é="))
def test_a_changed_token_is_refused(place: int, letter: str) -> None:
    changed = LINE[:place] + letter + LINE[place + 1 :]
    if changed.strip() == LINE:
        return
    with pytest.raises(IdentityError) as error:
        token.read(changed)
    assert error.value.code == "token-malformed"


def test_a_line_that_decodes_to_the_same_bytes_is_still_another_line() -> None:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for letter in set(letters) - {LINE[-1]}:
        with pytest.raises(IdentityError):
            token.read(LINE[:-1] + letter)


@given(st.integers(0, len(LINE) - 1))
def test_a_token_that_is_cut_off_is_refused(length: int) -> None:
    for piece in (LINE[:length], token.PREFIX + LINE[length:]):
        if piece != LINE:
            with pytest.raises(IdentityError):
                token.read(piece)


@given(st.one_of(st.text(max_size=200), st.binary(max_size=200).map(lambda data: token.PREFIX + data.hex())))
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(IdentityError):
        token.read(text)
