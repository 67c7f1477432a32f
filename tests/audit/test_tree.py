"""Trees, proofs and tiles against RFC 6962's definitions written down naively, and against published vectors."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfort.audit.errors import AuditError
from ringfort.audit.tiles import (
    TileHashes,
    bundle,
    bundle_path,
    entries_of,
    full_tile_hash,
    rows_over,
    tile_path,
    tiles_of,
    width_at,
)
from ringfort.audit.tree import (
    EMPTY_ROOT,
    Frontier,
    consistency_proof,
    consistent,
    included,
    inclusion_proof,
    leaf_hash,
    root,
)

# The inputs of the test vectors that Certificate Transparency implementations share, and the roots of their prefixes.
VECTOR_LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
VECTOR_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def naive_root(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word by word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    cut = 1
    while cut * 2 < len(leaves):
        cut *= 2
    return sha256(b"\x01" + naive_root(leaves[:cut]) + naive_root(leaves[cut:])).digest()


def naive_path(index: int, leaves: list[bytes]) -> list[bytes]:
    """RFC 6962, section 2.1.1."""
    if len(leaves) == 1:
        return []
    cut = 1
    while cut * 2 < len(leaves):
        cut *= 2
    if index < cut:
        return [*naive_path(index, leaves[:cut]), naive_root(leaves[cut:])]
    return [*naive_path(index - cut, leaves[cut:]), naive_root(leaves[:cut])]


def naive_consistency(old: int, leaves: list[bytes], whole: bool = True) -> list[bytes]:
    """RFC 6962, section 2.1.2."""
    if old == len(leaves):
        return [] if whole else [naive_root(leaves)]
    cut = 1
    while cut * 2 < len(leaves):
        cut *= 2
    if old <= cut:
        return [*naive_consistency(old, leaves[:cut], whole), naive_root(leaves[cut:])]
    return [*naive_consistency(old - cut, leaves[cut:], False), naive_root(leaves[:cut])]


def some(count: int) -> list[bytes]:
    return [b"leaf %d" % number for number in range(count)]


class Naive:
    """Hashes of complete subtrees, from the leaves."""

    def __init__(self, leaves: list[bytes]) -> None:
        self._leaves = leaves

    def __call__(self, height: int, index: int) -> bytes:
        part = self._leaves[index << height : (index + 1) << height]
        assert len(part) == 1 << height, "asked for a subtree that isn't complete"
        return naive_root(part)


def test_published_vectors() -> None:
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    frontier = Frontier()
    for leaf, expected in zip(VECTOR_LEAVES, VECTOR_ROOTS, strict=True):
        frontier.append(leaf_hash(leaf))
        assert frontier.root().hex() == expected


def test_a_published_inclusion_proof() -> None:
    proof = [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ]
    made = inclusion_proof(0, 8, Naive(VECTOR_LEAVES))
    assert [item.hex() for item in made] == proof


def test_a_published_consistency_proof() -> None:
    proof = [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ]
    assert [item.hex() for item in consistency_proof(2, 5, Naive(VECTOR_LEAVES))] == proof


@given(st.data())
def test_proofs_are_those_of_the_definition(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 70))
    index = data.draw(st.integers(0, size - 1))
    old = data.draw(st.integers(1, size))
    leaves = some(size)
    assert root(size, Naive(leaves)) == naive_root(leaves)
    proof = inclusion_proof(index, size, Naive(leaves))
    assert proof == naive_path(index, leaves)
    assert included(index, size, leaf_hash(leaves[index]), proof, naive_root(leaves))
    proof = consistency_proof(old, size, Naive(leaves))
    assert proof == naive_consistency(old, leaves)
    assert consistent(old, size, naive_root(leaves[:old]), naive_root(leaves), proof)


@given(st.data())
def test_nothing_else_is_proved(data: st.DataObject) -> None:
    """A proof with anything changed in it, in its index, its size or its roots proves nothing."""
    size = data.draw(st.integers(2, 40))
    index = data.draw(st.integers(0, size - 1))
    leaves = some(size)
    whole = naive_root(leaves)
    proof = naive_path(index, leaves)
    other = data.draw(st.integers(0, size - 1).filter(lambda number: number != index))
    leaf = leaf_hash(leaves[index])
    assert not included(other, size, leaf, proof, whole)
    assert not included(index, size, leaf_hash(leaves[other]), proof, whole)
    assert not included(index, size, leaf, proof[:-1], whole)
    assert not included(index, size, leaf, [*proof, bytes(32)], whole)
    old = data.draw(st.integers(1, size - 1))
    proof = naive_consistency(old, leaves)
    forged = naive_root([b"forged", *leaves[1:old]])
    assert not consistent(old, size, forged, whole, proof)
    assert not consistent(old, size, naive_root(leaves[:old]), forged, proof)
    assert not consistent(old, size, naive_root(leaves[:old]), whole, [*proof, bytes(32)])
    assert not consistent(old, size, naive_root(leaves[:old]), whole, proof[:-1])


@pytest.mark.parametrize("size", [1, 255, 256, 257, 511, 512, 700, 65_536, 65_537, 66_000])
def test_tiles_hold_the_same_tree(size: int) -> None:
    """Tiles as tlog-tiles defines them give the root, and proofs that verify."""
    hashes = [leaf_hash(leaf) for leaf in some(size)]
    levels = [hashes]
    while len(levels[-1]) >= 256:
        row = levels[-1]
        levels.append([full_tile_hash(row[at : at + 256]) for at in range(0, len(row) // 256 * 256, 256)])
    stored = {
        (level, number): levels[level][number * 256 : number * 256 + width] for level, number, width in tiles_of(size)
    }
    from_tiles = TileHashes(size, lambda level, number, _: rows_over(stored[level, number]))
    frontier = Frontier()
    for item in hashes:
        frontier.append(item)
    assert root(size, from_tiles) == frontier.root()
    for index in {0, size // 2, size - 1}:
        assert included(index, size, hashes[index], inclusion_proof(index, size, from_tiles), frontier.root())


def test_the_tiles_of_the_specification_s_example() -> None:
    """tlog-tiles, "Partial Tiles": a tree of size 70,000, and one of 256."""
    tiles = list(tiles_of(70_000))
    assert sum(level == 0 and width == 256 for level, _, width in tiles) == 273
    assert [(level, width) for level, _, width in tiles if width < 256] == [(0, 112), (1, 17), (2, 1)]
    assert sum(level == 1 and width == 256 for level, _, width in tiles) == 1
    assert list(tiles_of(256)) == [(0, 0, 256), (1, 0, 1)]
    assert width_at(70_000, 0, 273) == 112
    assert width_at(70_000, 0, 274) == 0


def test_paths_are_those_of_the_specification() -> None:
    assert tile_path(0, 1_234_067) == "tile/0/x001/x234/067"
    assert tile_path(1, 0, 17) == "tile/1/000.p/17"
    assert bundle_path(273, 112) == "tile/entries/273.p/112"


@given(st.lists(st.binary(max_size=300), max_size=20), st.data())
def test_a_bundle_is_read_back_or_refused(entries: list[bytes], data: st.DataObject) -> None:
    written = bundle(entries)
    assert entries_of(written) == entries
    cut = data.draw(st.integers(0, len(written)))
    try:
        found = entries_of(written[:cut])
    except AuditError:
        assert cut < len(written)
    else:
        assert found == entries[: len(found)]
        assert bundle(found) == written[:cut]


def test_there_is_no_proof_of_what_is_not_there() -> None:
    with pytest.raises(AuditError, match="no record 5 among 5"):
        inclusion_proof(5, 5, Naive(some(5)))
    with pytest.raises(AuditError, match="can't begin one of 5"):
        consistency_proof(6, 5, Naive(some(5)))
    assert not included(5, 5, bytes(32), [], bytes(32))
    assert not consistent(6, 5, bytes(32), bytes(32), [])
