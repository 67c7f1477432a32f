"""An application as a read-only disk: a squashfs, and behind it the hash tree that the guest checks each block with.

Whoever changes the disk afterwards - at rest or while the guest runs - changes what no digest covers: the guest gets a
read error instead of the changed block.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from ringfort.compute.guest.verity import BLOCK, Root, hash_tree
from ringfort.compute.image import squash

MODE = 0o444


@dataclass(frozen=True, slots=True)
class Disk:
    """An application's disk and what it is checked against."""

    path: Path
    root: Root


def build(tar: bytes, out: Path) -> Disk:
    """The disk of an application, from its verified tar; equal tars give equal disks.

    Args:
        tar: canonical, as `ringfort.compute.bundle` leaves it: no devices, no path that leads out.
        out: the file to make.

    Raises:
        ImageError: the tar is broken, or squashfs-tools are missing.
    """
    squash(tar, out)
    data = out.read_bytes()
    data += bytes(-len(data) % BLOCK)
    # The salt follows from the data: it is against tables of known blocks, and the same input gives the same disk.
    tree, root = hash_tree(data, hashlib.sha256(data).digest())
    with out.open("wb") as file:
        file.write(data)
        file.write(tree)
    os.chmod(out, MODE)
    return Disk(out, root)
