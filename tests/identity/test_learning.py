"""Another issuing authority is believed because of who signed it, whoever says so."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from cryptography import x509

from ringfort.identity.authority import ISSUER_LIFETIME
from ringfort.identity.bundle import Bundle
from ringfort.identity.learning import extended
from ringfort.identity.names import Role
from tests.identity.parties import NOON, NORTH, make

AUTHORITY = make()
BUNDLE = replace(AUTHORITY.bundle, issuers=(AUTHORITY.north.certificate,))


def learned(*offered: x509.Certificate) -> Bundle:
    return extended(BUNDLE, offered, NOON)


def test_what_the_own_root_signed_is_believed() -> None:
    assert learned(AUTHORITY.south.certificate).issuers == (AUTHORITY.north.certificate, AUTHORITY.south.certificate)


def test_nothing_else_is() -> None:
    stranger, leaf = make(), AUTHORITY.credential(Role.CONTROLLER)
    early = AUTHORITY.root.issuer("west", NORTH, NOON + timedelta(days=1))
    for one in (*stranger.bundle.roots, *stranger.bundle.issuers, leaf.leaf, early.certificate):
        assert learned(one) == BUNDLE


def test_nobody_takes_an_authority_away_by_leaving_it_out() -> None:
    assert learned() == BUNDLE
    assert learned(*AUTHORITY.bundle.roots) == BUNDLE


def test_what_has_expired_goes() -> None:
    after = NOON + ISSUER_LIFETIME + timedelta(days=1)
    new = AUTHORITY.root.issuer("north", NORTH, after - timedelta(days=2))
    assert extended(BUNDLE, [new.certificate], after).issuers == (new.certificate,)
