"""Every runtime in a real guest, and what a hostile application can do to it and to the machine."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from wasmtime import wat2wasm

from ringfort.compute.guest.launch import Launch
from ringfort.compute.logs import HALF, older
from ringfort.compute.sandbox import Sandbox
from ringfort.compute.trial import accelerator
from tests.compute.guests import FIRST_UID, Ground, ended, healthy, said

pytestmark = pytest.mark.lab

ANSWER = "Status: 204\\0a\\0a"
MODULE = f"""(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "{ANSWER}")
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 16)) (i32.store (i32.const 4) (i32.const 13))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"""

HOSTILE = """
import json, os, resource, socket, subprocess, sys, time
def say(name, value):
    print(json.dumps({name: value}), flush=True)
children = []
try:
    while True:
        pid = os.fork()
        if pid == 0:
            time.sleep(1000)
        children.append(pid)
except OSError as error:
    say("processes", len(children))
for pid in children:
    os.kill(pid, 9)
    os.waitpid(pid, 0)
say("hog", subprocess.run([sys.executable, "-c", "kept = [bytearray(1 << 20) for _ in range(1000)]"]).returncode)
written = 0
try:
    with open("/data/full", "wb", buffering=0) as file:
        while True:
            written += file.write(bytes(1 << 18))
except OSError as error:
    say("disk", [written, error.strerror])
reached = []
for address in ("10.0.0.1", "169.254.169.254", "192.0.2.1"):
    try:
        socket.create_connection((address, 80), 2).close()
        reached.append(address)
    except OSError:
        pass
say("reached", reached)
line = "x" * 1000 + chr(10)
for _ in range(6000):
    sys.stdout.write(line)
sys.stdout.flush()
while True:
    time.sleep(0.2)
    say("still", "here")
time.sleep(1000)
"""


def values(text: str) -> dict[str, object]:
    """What the hostile application told."""
    found: dict[str, object] = {}
    for line in text.splitlines():
        if line.startswith("{"):
            found |= json.loads(line)
    return found


@pytest.fixture(scope="module")
def hostile(ground: Ground) -> Iterator[Sandbox]:
    specification = ground.specification("hostile", {"main.py": HOSTILE})
    with ended(ground.sandbox(specification)) as sandbox:
        sandbox.start(Launch("python", ("/app/main.py",), processes=20), ground.template())
        yield sandbox


def test_a_fork_bomb_ends_at_the_declared_number_of_processes(hostile: Sandbox) -> None:
    assert values(said(hostile, "processes"))["processes"] == 19


def test_a_memory_hog_is_ended_and_nothing_else_is(hostile: Sandbox) -> None:
    assert values(said(hostile, "hog"))["hog"] == -9
    assert hostile.details()["running"] is True


def test_a_full_disk_is_the_instances_own(hostile: Sandbox) -> None:
    found = values(said(hostile, "disk"))["disk"]
    assert isinstance(found, list)
    written, reason = found
    assert reason == "No space left on device"
    assert 8 << 20 < written < 16 << 20
    disk = hostile.specification.disk
    assert disk is not None
    assert disk.stat().st_size == 16 << 20


def test_without_a_wire_nothing_is_reached(hostile: Sandbox) -> None:
    assert values(said(hostile, "reached"))["reached"] == []


def test_a_flooded_log_is_bounded_and_the_guest_still_answers(hostile: Sandbox) -> None:
    until = time.monotonic() + 60
    log = hostile.specification.log
    while not older(log).exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert "still" in said(hostile, "still")[-2000:]
    assert hostile.details()["running"] is True
    assert older(log).stat().st_size + log.stat().st_size <= 2 * HALF


def test_a_webassembly_module_answers(ground: Ground) -> None:
    specification = ground.specification("wasm", {"app.wasm": bytes(wat2wasm(MODULE))})
    options = {"module": "app.wasm", "ports": [8080], "directories": [], "environment": {}}
    launch = Launch("wasm", options={**options, "clock": False, "fuel": 10_000, "memory": 16})
    with ended(ground.sandbox(specification)) as sandbox:
        sandbox.start(launch, ground.template())
        healthy(sandbox)
        assert '" 204' in said(sandbox, "204")


def test_files_are_served_and_nothing_hidden(ground: Ground) -> None:
    files = {"public/index.html": "<p>hello", "public/.secret": "x", "app.yaml": "y"}
    launch = Launch("static", options={"directory": "public", "ports": [8080]})
    with ended(ground.sandbox(ground.specification("static", files))) as sandbox:
        sandbox.start(launch, ground.template())
        healthy(sandbox)
        assert "404" in sandbox.health(8080, "/.secret")
        assert "404" in sandbox.health(8080, "/../app.yaml")
        assert "404" in sandbox.health(8080, "/%2e%2e/app.yaml")


def test_a_trial_boot_decides_and_is_remembered(ground: Ground) -> None:
    runtime = ground.directory / "trial"
    assert accelerator(ground.image, FIRST_UID, runtime, 3.0) in ("kvm", "tcg")
    if Path("/dev/kvm").exists():
        started = time.monotonic()
        assert accelerator(ground.image, FIRST_UID, runtime, 3.0) in ("kvm", "tcg")
        assert time.monotonic() - started < 1
