"""Names and comments within nftables' limits.

nft takes letters, digits, ``_``, ``.`` and ``-`` in a name after a first letter (``/`` too, which we avoid). The limit
on names is 255 bytes (NFT_NAME_MAXLEN less the NUL), on comments 127 (libnftnl's user data), on log prefixes 127
(NF_LOG_PREFIXLEN less the NUL).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from functools import lru_cache

NAME_LIMIT_BYTES = 128
"""Below the kernel's own limit, so that names with a prefix and a list of them stay readable."""

COMMENT_LIMIT_BYTES = 120
LOG_PREFIX_LIMIT_BYTES = 127

_FORBIDDEN = re.compile(r"[^A-Za-z0-9_.-]+")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\u2028\u2029\ud800-\udfff]+")


def identifier(prefix: str, name: str) -> str:
    """A name for nft called after ``name``: what is not allowed becomes ``-``, what is too long is cut and hashed."""
    plain = f"{prefix}{_FORBIDDEN.sub('-', name)}"
    return plain if len(plain) <= NAME_LIMIT_BYTES else _hashed(plain, name)


def identifiers(prefix: str, names: Iterable[str]) -> dict[str, str]:
    """Distinct names for nft for ``names``; those that would coincide get eight digits of their SHA-256."""
    chosen: dict[str, str] = {}
    taken: set[str] = set()
    for name in sorted(names):
        candidate = identifier(prefix, name)
        if candidate in taken:
            candidate = _hashed(candidate, name)
        taken.add(candidate)
        chosen[name] = candidate
    return chosen


@lru_cache(maxsize=10_000)
def comment(text: str) -> str:
    """``text`` as a comment: no quotes (nft has no escape for them), no line breaks, at most 120 bytes of UTF-8."""
    plain = _UNPRINTABLE.sub(" ", text).replace('"', "'").strip()
    encoded = plain.encode()
    if len(encoded) <= COMMENT_LIMIT_BYTES:
        return plain
    return encoded[: COMMENT_LIMIT_BYTES - 3].decode(errors="ignore") + "..."


def _hashed(plain: str, name: str) -> str:
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{plain[: NAME_LIMIT_BYTES - 9]}-{digest}"
