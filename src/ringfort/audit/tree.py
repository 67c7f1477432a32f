"""Merkle trees as RFC 6962 defines them: hashes, proofs of inclusion and consistency, and their verification.

A complete subtree is named by its height and its index at that height: ``(h, i)`` covers the leaves ``i * 2**h`` up to
``(i + 1) * 2**h``. Proofs are made from whatever can give the hash of a complete subtree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from typing import TypeAlias

from ringfort.audit.errors import AuditError

Hash: TypeAlias = bytes
"""32 bytes of SHA-256."""

Node: TypeAlias = tuple[int, int]
"""A complete subtree: height, and index at that height."""

Hashes: TypeAlias = Callable[[int, int], Hash]
"""Gives the hash of the complete subtree of a height and an index."""

HASH_BYTES = 32

EMPTY_ROOT = sha256(b"").digest()
"""The root of a tree without leaves (RFC 6962, section 2.1)."""


def leaf_hash(entry: bytes) -> Hash:
    """The hash of a leaf (RFC 6962, section 2.1)."""
    return sha256(b"\0" + entry).digest()


def node_hash(left: Hash, right: Hash) -> Hash:
    """The hash of two subtrees (RFC 6962, section 2.1)."""
    return sha256(b"\1" + left + right).digest()


def complete(start: int, end: int) -> Iterator[Node]:
    """The complete subtrees that together cover the leaves ``start`` to ``end``, from the left, the largest first.

    ``start`` has to be a multiple of the largest power of two below ``end - start`` or equal to it; so it is wherever
    RFC 6962 cuts a tree.
    """
    while start < end:
        height = (end - start).bit_length() - 1
        if start:
            height = min(height, (start & -start).bit_length() - 1)
        yield height, start >> height
        start += 1 << height


def join(hashes: Sequence[Hash]) -> Hash:
    """The hash over complete subtrees as `complete` lists them: from the right, since sizes fall to the right."""
    if not hashes:
        return EMPTY_ROOT
    result = hashes[-1]
    for left in reversed(hashes[:-1]):
        result = node_hash(left, result)
    return result


def root(size: int, hashes: Hashes) -> Hash:
    """The root of the tree of the first ``size`` leaves."""
    return join([hashes(*node) for node in complete(0, size)])


def inclusion_proof(index: int, size: int, hashes: Hashes) -> list[Hash]:
    """The audit path of leaf ``index`` in the tree of ``size`` leaves (RFC 6962, section 2.1.1).

    Raises:
        AuditError: there is no such leaf.
    """
    if not 0 <= index < size:
        raise AuditError("audit-no-such-record", f"there is no record {index} among {size}")
    return [join([hashes(*node) for node in complete(*span)]) for span in reversed(list(_path(index, size)))]


def _path(index: int, size: int) -> Iterator[tuple[int, int]]:
    """The spans beside the way from the root down to a leaf."""
    start, end = 0, size
    while end - start > 1:
        cut = start + (1 << ((end - start - 1).bit_length() - 1))
        if index < cut:
            yield cut, end
            end = cut
        else:
            yield start, cut
            start = cut


def consistency_proof(old: int, new: int, hashes: Hashes) -> list[Hash]:
    """The proof that the tree of ``old`` leaves begins the tree of ``new`` leaves (RFC 6962, section 2.1.2).

    Empty when ``old`` is 0 or both are equal.

    Raises:
        AuditError: the old tree is larger than the new one.
    """
    if not 0 <= old <= new:
        raise AuditError("audit-no-such-checkpoint", f"a tree of {old} records can't begin one of {new}")
    if old in {0, new}:
        return []
    spans, start, end, whole = [], 0, new, True
    while end != old:
        cut = start + (1 << ((end - start - 1).bit_length() - 1))
        if old <= cut:
            spans.append((cut, end))
            end = cut
        else:
            spans.append((start, cut))
            start, whole = cut, False
    if not whole:
        spans.append((start, end))
    return [join([hashes(*node) for node in complete(*span)]) for span in reversed(spans)]


def inclusion_root(index: int, size: int, leaf: Hash, proof: Sequence[Hash]) -> Hash | None:
    """The root that ``proof`` leads to from ``leaf`` at ``index`` (RFC 9162, section 2.1.3.2), if it fits."""
    if not 0 <= index < size:
        return None
    number, last, result = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return None
        if number & 1 or number == last:
            result = node_hash(sibling, result)
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            result = node_hash(result, sibling)
        number, last = number >> 1, last >> 1
    return result if last == 0 else None


def included(index: int, size: int, leaf: Hash, proof: Sequence[Hash], root_hash: Hash) -> bool:
    """Whether ``proof`` shows that ``leaf`` is at ``index`` in the tree of ``size`` leaves with that root."""
    return inclusion_root(index, size, leaf, proof) == root_hash


def consistent(old: int, new: int, old_root: Hash, new_root: Hash, proof: Sequence[Hash]) -> bool:
    """Whether ``proof`` shows that the new tree begins with the old one (RFC 9162, section 2.1.4.2)."""
    if not 0 <= old <= new:
        return False
    if old == new:
        return not proof and old_root == new_root
    if old == 0:
        return not proof and old_root == EMPTY_ROOT
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    if not path:
        return False
    number, last = old - 1, new - 1
    while number & 1:
        number, last = number >> 1, last >> 1
    first = second = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if number & 1 or number == last:
            first, second = node_hash(sibling, first), node_hash(sibling, second)
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            second = node_hash(second, sibling)
        number, last = number >> 1, last >> 1
    return last == 0 and first == old_root and second == new_root


class Frontier:
    """A growing tree, kept as the hashes of its complete subtrees: a few hundred bytes, whatever its size."""

    __slots__ = ("_hashes", "size")

    def __init__(self, size: int = 0, hashes: Iterable[Hash] = ()) -> None:
        self.size = size
        self._hashes = list(hashes)
        if len(self._hashes) != size.bit_count():
            raise AuditError("audit-frontier", f"a tree of {size} records has {size.bit_count()} complete subtrees")

    def append(self, subtree: Hash, height: int = 0) -> None:
        """Take one more complete subtree of ``2**height`` leaves; the size has to be a multiple of that."""
        assert self.size & ((1 << height) - 1) == 0
        size = self.size >> height
        while size & 1:
            subtree = node_hash(self._hashes.pop(), subtree)
            size >>= 1
        self._hashes.append(subtree)
        self.size += 1 << height

    def root(self) -> Hash:
        """The root of the tree so far."""
        return join(self._hashes)
