"""The base image: the same inputs give the same bytes, and nothing in it is another's."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from ringfort.compute import appdisk, image
from ringfort.compute.errors import ImageError
from ringfort.compute.guest.verity import BLOCK, hash_tree
from ringfort.compute.image import Image
from ringfort.compute.tree import Tree, to_cpio, to_tar
from tests.compute.guests import tar_of


@pytest.mark.lab
def test_the_same_inputs_give_the_same_bytes(base: Image, tmp_path: Path) -> None:
    """Built anew from the packages that the manifest lists, somewhere else."""
    again = image.build(image.current_inputs(base.directory / "manifest.json"), tmp_path)
    assert again.directory != base.directory
    assert again.files == base.files
    assert again.inputs == base.inputs


@pytest.mark.lab
def test_a_changed_file_of_an_image_is_noticed(base: Image, tmp_path: Path) -> None:
    for path in base.directory.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    image.opened(tmp_path, check=True)
    with (tmp_path / "initrd").open("r+b") as file:
        file.seek(1000)
        file.write(b"x")
    with pytest.raises(ImageError, match="initrd is not the file that was built"):
        image.opened(tmp_path, check=True)


@pytest.mark.lab
def test_the_manifest_lists_every_package_with_its_digest(base: Image) -> None:
    inputs = json.loads((base.directory / "manifest.json").read_text())["inputs"]
    names = [package["name"] for package in inputs["packages"]]
    assert names == sorted(image.ROOT_PACKAGES)
    assert all(len(package["sha256"]) == 64 for package in (*inputs["packages"], inputs["kernel"]))


def test_a_missing_image_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ImageError) as refused:
        image.latest(tmp_path)
    assert refused.value.hint == "run `ringfort image build`"


def trees() -> tuple[Tree, Tree]:
    """One tree, put together in two orders."""
    one, other = Tree(), Tree()
    one.file("usr/bin/a", b"1", 0o755)
    one.link("bin", "usr/bin")
    one.device("dev/console", 5, 1)
    other.device("dev/console", 5, 1)
    other.link("bin", "usr/bin")
    other.file("usr/bin/a", b"1", 0o755)
    return one, other


def test_equal_trees_are_equal_bytes() -> None:
    one, other = trees()
    assert to_tar(one) == to_tar(other)
    assert to_cpio(one) == to_cpio(other)


def test_a_cpio_is_read_by_the_kernels_rules() -> None:
    data = to_cpio(trees()[0])
    assert len(data) % 512 == 0
    assert data.startswith(b"070701")
    assert b"TRAILER!!!" in data


def test_set_uid_bits_and_devices_of_packages_are_left_behind() -> None:
    import tarfile

    member, device = tarfile.TarInfo("./bin/su"), tarfile.TarInfo("./dev/mem")
    member.mode, device.type = 0o4755, tarfile.CHRTYPE
    tree = Tree()
    tree.merge({"bin/su": (member, b"x"), "dev/mem": (device, b"")})
    assert set(tree.entries) == {"usr", "usr/bin", "usr/bin/su"}
    assert stat.S_IMODE(tree.entries["usr/bin/su"].mode) == 0o755


def test_equal_applications_are_equal_disks(tmp_path: Path) -> None:
    tar = tar_of({"main.py": "x" * 100_000, "a/b": "y"})
    one, other = appdisk.build(tar, tmp_path / "one"), appdisk.build(tar, tmp_path / "other")
    assert one.root == other.root
    assert one.path.read_bytes() == other.path.read_bytes()
    assert appdisk.build(tar_of({"main.py": "z"}), tmp_path / "third").root != one.root


def test_any_changed_bit_of_the_data_changes_the_root() -> None:
    data = bytes(200 * BLOCK)
    tree, root = hash_tree(data, b"salt")
    assert len(tree) == 3 * BLOCK, "two blocks of 200 digests, and one above them"
    for place in (0, 100 * BLOCK, len(data) - 1):
        changed = bytearray(data)
        changed[place] ^= 1
        assert hash_tree(bytes(changed), b"salt")[1].digest != root.digest


def test_one_block_is_its_own_root() -> None:
    """The kernel has no level above a single block."""
    tree, root = hash_tree(bytes(BLOCK), b"")
    assert tree == b""
    assert root.blocks == 1
