"""How a bearer hears of another issuing authority: anybody may say it, because its root has to have signed it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from datetime import datetime

from cryptography import x509

from ringfort.identity.bundle import Bundle
from ringfort.identity.certificates import UNREADABLE
from ringfort.identity.errors import IdentityRefused
from ringfort.identity.path import verify_issuer


def extended(bundle: Bundle, offered: Iterable[x509.Certificate], now: datetime) -> Bundle:
    """A bundle with those of the offered issuing authorities that its own roots signed, and without expired ones.

    Roots stay what they are, and no issuing authority goes because somebody leaves it out: that is for the root's
    revocation list to say.
    """
    alive = [issuer for issuer in bundle.issuers if issuer.not_valid_after_utc >= now]
    for certificate in offered:
        if certificate not in (*bundle.roots, *alive) and _is_under(bundle, certificate, now):
            alive.append(certificate)
    return Bundle(bundle.trust_domain, bundle.roots, tuple(alive))


def _is_under(bundle: Bundle, certificate: x509.Certificate, now: datetime) -> bool:
    with contextlib.suppress(IdentityRefused, *UNREADABLE):
        verify_issuer(certificate, bundle, now)
        return True
    return False
