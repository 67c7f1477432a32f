"""Nonces: each signed request uses one, once (RFC 8555, 6.5).

To give one out costs nothing and keeps nothing: it carries its time and a message authentication code. Only a nonce
that was used by a request with a good signature is remembered, in the database, for as long as it would be good.
"""

from __future__ import annotations

import hmac
from datetime import datetime, timedelta

from ringfort.gateway.acme.jws import encoded

LIFETIME = timedelta(hours=1)
_RANDOM, _TIME, _CODE = 12, 8, 16


def make(key: bytes, now: datetime, random: bytes) -> str:
    """A nonce; ``random`` is 12 bytes."""
    assert len(random) == _RANDOM
    content = int(now.timestamp()).to_bytes(_TIME, "big") + random
    return encoded(content + _code(key, content))


def is_good(key: bytes, nonce: bytes, now: datetime) -> bool:
    """Whether we gave it out, lately; whether it was used is for the store to say."""
    if len(nonce) != _TIME + _RANDOM + _CODE:
        return False
    content, code = nonce[:-_CODE], nonce[-_CODE:]
    age = now.timestamp() - int.from_bytes(content[:_TIME], "big")
    return hmac.compare_digest(_code(key, content), code) and -60 <= age <= LIFETIME.total_seconds()


def _code(key: bytes, content: bytes) -> bytes:
    return hmac.digest(key, content, "sha256")[:_CODE]
