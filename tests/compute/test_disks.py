"""An instance's own disk: encrypted with a key that is nowhere but in the memory of who needs it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from ringfort.compute import disks, luks
from ringfort.compute.errors import SandboxError
from ringfort.compute.guest.launch import Launch
from tests.compute.guests import Ground, ended, said

KEY = bytes(range(32))
MARKER = "customer-data-0123456789-" * 40
PROGRAM = f"""
import os, pathlib
kept = pathlib.Path("/data/kept")
print("found", kept.read_text() == {MARKER!r} if kept.exists() else "nothing", flush=True)
with kept.open("w") as file:
    file.write({MARKER!r})
    file.flush()
    os.fsync(file.fileno())
print("written", flush=True)
__import__("time").sleep(1000)
"""


def test_a_disk_without_a_key_has_a_file_system_to_be_seen(tmp_path: Path) -> None:
    path = disks.make(tmp_path / "data", 8, os.getuid())
    assert path.read_bytes()[1024 + 56 :][:2] == b"\x53\xef", "ext4's magic number"
    assert disks.is_of(path, 8)
    assert not disks.is_of(path, 9)


def test_of_an_encrypted_disk_nothing_is_to_be_seen(tmp_path: Path) -> None:
    path = disks.make(tmp_path / "data", 8, os.getuid(), KEY)
    content = path.read_bytes()
    assert content.startswith(b"LUKS\xba\xbe")
    assert b"lost+found" not in content
    assert content[luks.PAYLOAD_BYTES + 1024 + 56 :][:2] != b"\x53\xef"
    assert disks.is_of(path, 8, KEY)
    assert not disks.is_of(path, 8)
    assert path.stat().st_blocks * 512 < 4 << 20, "as sparse as before"


def test_two_disks_of_one_key_have_nothing_in_common(tmp_path: Path) -> None:
    one, other = (disks.make(tmp_path / name, 8, os.getuid(), KEY).read_bytes() for name in ("one", "other"))
    assert one[luks.PAYLOAD_BYTES :][:4096] != other[luks.PAYLOAD_BYTES :][:4096]


@pytest.mark.lab
def test_what_an_instance_writes_is_there_again_and_never_in_the_file(ground: Ground) -> None:
    specification = ground.specification("encrypted", {"main.py": PROGRAM}, disk_key=KEY)
    for expected in ("found nothing", "found True"):
        with ended(ground.sandbox(specification)) as sandbox:
            sandbox.start(Launch("python", ("/app/main.py",)), ground.template())
            said(sandbox, expected)
            said(sandbox, "written")
            for process in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    words = process.read_bytes()
                except OSError:
                    continue
                assert KEY.hex().encode() not in words
            sandbox.stop(1)
    assert specification.disk is not None
    content = specification.disk.read_bytes()
    assert MARKER[:25].encode() not in content
    assert KEY not in content
    assert KEY.hex().encode() not in content


@pytest.mark.lab
def test_with_another_key_it_does_not_start(ground: Ground) -> None:
    specification = ground.specification("locked", {"main.py": PROGRAM}, disk_key=KEY)
    wrong = replace(specification, disk_key=KEY[::-1])
    with pytest.raises(SandboxError, match="QEMU does not start"):
        ground.sandbox(wrong).start(Launch("python", ("/app/main.py",)), ground.template())
