"""A leaf: a record's body with its place in the log.

The tree alone commits to every record. Index and hash of the leaf before are there so that someone who has lost, or was
not given, true hashes can still tell which record was touched.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

from ringfort.audit.errors import AuditError
from ringfort.audit.tree import HASH_BYTES, Hash

NO_PREVIOUS = bytes(HASH_BYTES)
"""What stands in the first leaf for the one before."""

_LEAF = re.compile(rb'\{"index":(0|[1-9][0-9]{0,18}),"previous":"([0-9a-f]{64})","record":(\{.*\})\}', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Leaf:
    """A leaf, taken apart."""

    index: int
    previous: Hash
    body: bytes


def seal(index: int, previous: Hash, body: bytes) -> bytes:
    """The leaf of a body; canonical JSON if the body is."""
    return b'{"index":%d,"previous":"%b","record":%b}' % (index, previous.hex().encode(), body)


def seal_all(bodies: Iterable[bytes], first: int, previous: Hash) -> tuple[list[bytes], Hash]:
    """The leaves of bodies in order, and the hash of the last."""
    leaves = []
    for index, body in enumerate(bodies, first):
        leaf = b'{"index":%d,"previous":"%b","record":%b}' % (index, previous.hex().encode(), body)
        previous = sha256(b"\0" + leaf).digest()
        leaves.append(leaf)
    return leaves, previous


def unseal(leaf: bytes) -> Leaf:
    """Take a leaf apart; the body is not judged.

    Raises:
        AuditError: it is no leaf of ours.
    """
    match = _LEAF.fullmatch(leaf)
    if match is None:
        raise AuditError("audit-leaf", "this is no sealed record")
    return Leaf(int(match[1]), bytes.fromhex(match[2].decode()), match[3])
