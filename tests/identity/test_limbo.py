"""The public corpus x509-limbo, as far as it applies: `tests.identity.limbo_cases` says which cases do."""

from __future__ import annotations

import time
from ipaddress import ip_address

import pytest
from cryptography import x509

from ringfort.identity.errors import Refusal
from tests.identity.chains import ACCEPTED, IP, LEAF, NAME, URI, outcome
from tests.identity.limbo_cases import CASES, NOT_OURS, OTHER_NAME, TOTAL

SLOWEST = 1.0
"""Seconds that one verification may take, however the chain is made."""


def test_the_chain_that_the_cases_change_is_sound() -> None:
    assert outcome() == ACCEPTED


@pytest.mark.parametrize("name", CASES)
def test_limbo(name: str) -> None:
    expected, case = CASES[name]
    assert case() in (expected if isinstance(expected, tuple) else (expected,))


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("pathological::")])
def test_a_chain_that_is_made_to_be_slow_is_not(name: str) -> None:
    start = time.process_time()
    CASES[name][1]()  # the chain is made anew too, but for its keys
    assert time.process_time() - start < SLOWEST


def test_every_case_of_the_corpus_is_played_or_has_its_reason() -> None:
    assert not CASES.keys() & NOT_OURS.keys()
    assert len(CASES) + len(NOT_OURS) == TOTAL
    assert all(NOT_OURS.values())


@pytest.mark.parametrize(
    "name",
    [x509.DNSName("web.shop.example"), x509.DNSName("*"), x509.RFC822Name("web@shop.example"), OTHER_NAME],
    ids=str,
)
def test_a_leaf_has_no_names_of_other_kinds(name: x509.GeneralName) -> None:
    assert outcome(leaf=LEAF.names(URI(NAME), IP(ip_address("10.10.1.2")), name)) == Refusal.NAMES
