"""Guests restored from one snapshot: quickly there, and strangers to each other."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from ringfort.compute import appdisk
from ringfort.compute.errors import SandboxError
from ringfort.compute.guest.launch import Launch
from ringfort.compute.sandbox import Sandbox
from tests.compute.guests import Ground, ended, said

pytestmark = pytest.mark.lab

RANDOM = """
import json, os, random, secrets, ssl, time, uuid
print(json.dumps({
    "urandom": os.urandom(32).hex(), "getrandom": os.getrandom(32).hex(), "token": secrets.token_hex(),
    "uuid": str(uuid.uuid4()), "random": random.random(), "openssl": ssl.RAND_bytes(32).hex(), "hash": hash("x"),
    "boot": open("/proc/sys/kernel/random/boot_id").read(), "kernel uuid": open("/proc/sys/kernel/random/uuid").read(),
    "host name": os.uname().nodename, "layout": id(object()),
}))
print("time", time.time(), flush=True)
time.sleep(1000)
"""
CLONES = 3


@pytest.fixture(scope="module")
def clones(ground: Ground) -> Iterator[list[Sandbox]]:
    """Several guests, restored one right after the other."""
    with ExitStack() as stack:
        found = []
        for number in range(CLONES):
            specification = ground.specification(f"clone{number}", {"main.py": RANDOM})
            sandbox = stack.enter_context(ended(ground.sandbox(specification)))
            sandbox.start(Launch("python", ("/app/main.py",)), ground.template())
            found.append(sandbox)
        yield found


def test_clones_share_no_random_number_and_no_identity(clones: list[Sandbox]) -> None:
    told = [json.loads(said(clone, "time").splitlines()[0]) for clone in clones]
    shared = {kind for kind in told[0] if len({str(one[kind]) for one in told}) != len(told)}
    assert shared == set()


def test_a_clone_knows_what_time_it_is(clones: list[Sandbox]) -> None:
    """The snapshot's clock stood still since it was taken; the restored guest's is the host's."""
    for clone in clones:
        then = float(said(clone, "time").splitlines()[1].split()[1])
        assert abs(time.time() - then) < 120
        assert abs(clone.set_clock()) < 2


def test_a_guest_that_has_become_somebody_is_never_written_down(clones: list[Sandbox], tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="only a guest that waits can be written down"):
        clones[0].snapshot(tmp_path / "snapshot")


def test_a_guest_becomes_somebody_once(clones: list[Sandbox]) -> None:
    with pytest.raises(SandboxError, match="has been started already"):
        clones[0].run(Launch("python", ("/app/main.py",)))


def test_a_snapshot_is_for_the_machine_it_was_taken_of(ground: Ground) -> None:
    other = replace(ground.specification("other"), memory=256)
    with pytest.raises(SandboxError, match="another kind of guest"):
        ground.sandbox(other).restore(ground.template())


def test_clones_have_their_memory_to_themselves(clones: list[Sandbox], ground: Ground) -> None:
    """Nobody's pages are another's: the file of a guest's memory is gone once QEMU has it, and no two are the same."""
    for clone in clones:
        assert list((ground.directory / "run" / clone.specification.name).glob("memory")) == []


def test_a_changed_block_of_the_application_is_never_run(ground: Ground) -> None:
    """dm-verity: the changed block is an error for who reads it, and the rest is as it was."""
    large = os.urandom(300_000)  # more than a block of squashfs, so that only its own is hit
    files: dict[str, str | bytes] = {"main.py": "print('begun', flush=True); open('/app/large', 'rb').read()"}
    files["large"] = large
    specification = ground.specification("changed", files)
    disk = specification.application
    assert disk is not None
    changed = bytearray(disk.path.read_bytes())
    place = changed.index(large[50_000:50_100])
    changed[place] ^= 1
    altered = disk.path.with_name("altered")
    altered.write_bytes(changed)
    altered.chmod(0o444)
    specification = replace(specification, application=appdisk.Disk(altered, disk.root))
    with ended(ground.sandbox(specification)) as sandbox:
        sandbox.start(Launch("python", ("/app/main.py",)), ground.template())
        until = time.monotonic() + 60
        while sandbox.status().state != "exited" and time.monotonic() < until:
            time.sleep(0.05)
        assert sandbox.status().code == 1
        assert said(sandbox, "Input/output error").startswith("begun")
