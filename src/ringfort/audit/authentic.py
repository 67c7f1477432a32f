"""Hashes and records that are known to be under a checkpoint's root, out of files that are not trusted."""

from __future__ import annotations

from collections.abc import Sequence

from ringfort.audit.checkpoint import Checkpoint
from ringfort.audit.errors import AuditError
from ringfort.audit.reading import Files, read_bundle, read_tile_file
from ringfort.audit.tiles import (
    HEIGHT,
    LARGEST_TILE,
    WIDTH,
    TileHashes,
    hashes_of,
    rows_over,
    tile_path,
    width_at,
)
from ringfort.audit.tree import HASH_BYTES, Hash, consistency_proof, inclusion_proof, leaf_hash, root


class UnauthenticError(AuditError):
    """Files do not lead to the checkpoint's root; ``path`` is the file that is wrong, if one can be named."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__("audit-unauthentic", message, "ask `ringfort audit verify` what exactly was touched")
        self.path = path


def read_tile(files: Files, level: int, number: int, width: int) -> list[Hash]:
    """The hashes of a tile as its file has them.

    Raises:
        AuditError: it is missing, or not as long as it has to be.
    """
    path = tile_path(level, number, width)
    data = read_tile_file(files, path, tile_path(level, number), LARGEST_TILE)
    if len(data) not in {width * HASH_BYTES, LARGEST_TILE}:
        raise UnauthenticError(f"{path} has {len(data)} bytes instead of {width * HASH_BYTES}: it is truncated", path)
    return hashes_of(data[: width * HASH_BYTES])


class AuthenticTiles:
    """The tiles under a checkpoint.

    The hashes of all partial tiles, taken together, give the root; so they are right if it is. A full tile is right if
    its hash is in the tile above it, and that one is right.

    Raises:
        UnauthenticError: the partial tiles don't lead to the root.
    """

    def __init__(self, files: Files, checkpoint: Checkpoint) -> None:
        self._files = files
        self._size = checkpoint.size
        self._tiles: dict[tuple[int, int], Sequence[Sequence[Hash]]] = {}
        level = 0
        while checkpoint.size >> (HEIGHT * level):
            count = checkpoint.size >> (HEIGHT * level)
            if count % WIDTH:
                partial = read_tile(files, level, count // WIDTH, count % WIDTH)
                self._tiles[level, count // WIDTH] = rows_over(partial)
            level += 1
        edge = TileHashes(checkpoint.size, lambda level, number, _: self._tiles[level, number])
        if root(checkpoint.size, edge) != checkpoint.root:
            raise UnauthenticError(f"the tiles of {files.place} don't lead to the root of its checkpoint")

    def tile(self, level: int, number: int) -> Sequence[Hash]:
        """The hashes of a tile.

        Raises:
            UnauthenticError: the tile, or one above it, doesn't lead to the root.
            AuditError: a file is missing.
        """
        return self.rows(level, number)[0]

    def rows(self, level: int, number: int) -> Sequence[Sequence[Hash]]:
        """The `rows_over` a tile. Raises as `tile` does."""
        known = self._tiles.get((level, number))
        if known is None:
            known = rows_over(read_tile(self._files, level, number, width_at(self._size, level, number)))
            if known[HEIGHT][0] != self.hash_of(level, number):
                path = tile_path(level, number)
                raise UnauthenticError(f"{path} was changed: it doesn't lead to the root of the checkpoint", path)
            self._tiles[level, number] = known
        return known

    def hash_of(self, level: int, number: int) -> Hash:
        """What the hash of a full tile has to be."""
        return self.tile(level + 1, number // WIDTH)[number % WIDTH]


class AuthenticLog:
    """Records and proofs under a checkpoint, each checked before it is handed out."""

    def __init__(self, files: Files, checkpoint: Checkpoint) -> None:
        self.files = files
        self.checkpoint = checkpoint
        self.tiles = AuthenticTiles(files, checkpoint)
        self._hashes = TileHashes(checkpoint.size, lambda level, number, _: self.tiles.rows(level, number))

    def bundle(self, number: int) -> list[bytes]:
        """The leaves of a bundle.

        Raises:
            UnauthenticError: a leaf is not the one under the root.
            AuditError: a file is missing.
        """
        leaves = read_bundle(self.files, number, width_at(self.checkpoint.size, 0, number))
        if [leaf_hash(leaf) for leaf in leaves] != list(self.tiles.tile(0, number)):
            first, last = number * WIDTH, min((number + 1) * WIDTH, self.checkpoint.size) - 1
            raise UnauthenticError(f"records {first} to {last} are not all those under the checkpoint")
        return leaves

    def leaf(self, index: int) -> bytes:
        """One leaf. Raises as `bundle` does, or when there is no such leaf."""
        if not 0 <= index < self.checkpoint.size:
            raise AuditError("audit-no-such-record", f"there is no record {index} among {self.checkpoint.size}")
        return self.bundle(index // WIDTH)[index % WIDTH]

    def inclusion(self, index: int) -> list[Hash]:
        """The proof that a leaf is under the checkpoint."""
        return inclusion_proof(index, self.checkpoint.size, self._hashes)

    def consistency(self, old: int) -> list[Hash]:
        """The proof that the first ``old`` leaves are the beginning of the log."""
        return consistency_proof(old, self.checkpoint.size, self._hashes)

    def root_at(self, size: int) -> Hash:
        """The root when the log had ``size`` records."""
        return root(size, self._hashes)
