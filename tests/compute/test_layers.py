"""The optional layers inside a guest: each is attacked alone, with the others off, and then all of them together."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ringfort.compute.guest.launch import Launch, Layers
from ringfort.compute.sandbox import Sandbox
from tests.compute.guests import Ground, ended, log_of, said

pytestmark = pytest.mark.lab

ATTACKS = """
import ctypes, glob, json, os, socket, sys
sys.path.insert(0, "/usr/lib/ringfort")
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *values):
    if libc.syscall(number, *values) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
def write(path, text="x"):
    with open(path, "w") as file:
        file.write(text)
def escalate():
    libc.prctl(38, 0, 0, 0, 0)
    os.setuid(0)
    os.setresuid(0, 0, 0)
    if os.getuid() != 0:
        raise OSError("still not root")
def run_own_program():
    with open("/bin/busybox", "rb") as source, open("/data/own", "wb") as target:
        target.write(source.read())
    os.chmod("/data/own", 0o755)
    if os.spawnv(os.P_WAIT, "/data/own", ["true"]) != 0:
        raise OSError("did not run")
attacks = {
    "become root": escalate,
    "set the clock": lambda: call(227, 0, ctypes.byref((ctypes.c_long * 2)(2_000_000_000, 0))),
    "mount": lambda: (call(165, b"tmpfs", b"/tmp", b"tmpfs", 0, 0)),
    "read the first process": lambda: open("/proc/1/environ").read(),
    "talk to the host": lambda: [os.open(path, os.O_RDWR) for path in glob.glob("/dev/vport*")][0],
    "read the disk": lambda: os.open("/dev/vda", os.O_RDONLY),
    "read the kernel's messages": lambda: open("/dev/kmsg").close(),
    "write to the system": lambda: write("/etc/x"),
    "change a setting of the kernel": lambda: write("/proc/sys/kernel/core_pattern", "|/data/own"),
    "leave its control group": lambda: write("/sys/fs/cgroup/cgroup.procs", "0"),
    "open a packet socket": lambda: socket.socket(17, 3).close(),
    "open a netlink socket": lambda: socket.socket(16, 3, 0).close(),
    "open a vsock": lambda: socket.socket(40, 1).close(),
    "make a user namespace": lambda: call(272, 0x10000000),
    "trace a process": lambda: call(101, 0x4206, 1, 0, 0),  # PTRACE_SEIZE
    "load a program into the kernel": lambda: call(321, 0, ctypes.create_string_buffer(
        (1).to_bytes(4, "little") + (4).to_bytes(4, "little") * 2 + (1).to_bytes(4, "little") + bytes(56)), 72),
    "set up io_uring": lambda: call(425, 1, ctypes.create_string_buffer(120)),
    "use keys": lambda: call(248, b"user", b"x", b"y", 1, -3),
    "load a module": lambda: call(313, os.open("/app/main.py", os.O_RDONLY), b"", 0),
    "run what it wrote": run_own_program,
}
def attempt(attack, layer):
    reader, writer = os.pipe()
    if os.fork() == 0:
        try:
            if layer:
                layer()
            attack()
            answer = "done"
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}"
        os.write(writer, answer.encode())
        os._exit(0)
    os.close(writer)
    with open(reader) as file:
        answer = file.read()
    os.wait()
    return answer or "killed"
def judged(layer=None):
    return {name: attempt(attack, layer) for name, attack in attacks.items()}
"""

TOGETHER = ATTACKS + "print(json.dumps(judged()), flush=True)\n"

ALONE = (
    ATTACKS
    + """
from ringfort.compute.guest import account, landlock, seccomp
from ringfort.compute.guest.system import prctl
def with_landlock():
    prctl(38, 1)
    landlock.enforce(landlock.application_rights(["/data", "/tmp"]))
def with_seccomp():
    prctl(38, 1)
    seccomp.enforce()
results = {"none": judged(), "account": judged(account.enter), "landlock": judged(with_landlock),
           "seccomp": judged(with_seccomp)}
print(json.dumps(results), flush=True)
"""
)

NOBODY = {"load a module", "make a user namespace", "talk to the host"}
"""What not even root can do in a guest: its kernel has shut these doors for good, and the port is taken."""

KEEPS_OUT = {
    "account": {
        "become root", "set the clock", "mount", "read the first process", "read the disk",
        "read the kernel's messages", "change a setting of the kernel", "leave its control group",
        "open a packet socket", "trace a process",
    },
    "landlock": {
        "read the disk", "read the kernel's messages", "change a setting of the kernel",
        "leave its control group",
    },
    "seccomp": {
        "set the clock", "mount", "open a packet socket", "open a netlink socket", "trace a process", "set up io_uring",
        "load a program into the kernel", "use keys",
    },
}  # fmt: skip
"""What each layer refuses, alone."""


def results(sandbox: Sandbox) -> dict[str, Any]:
    """What the attacks told."""
    until = time.monotonic() + 120
    while sandbox.status().state != "exited" and time.monotonic() < until:
        time.sleep(0.05)
    found = json.loads(said(sandbox, "}\n").splitlines()[-1])
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def alone(ground: Ground) -> Iterator[dict[str, dict[str, str]]]:
    """Each layer alone, in a guest whose application is root."""
    specification = ground.specification("bare", {"main.py": ALONE})
    with ended(ground.sandbox(specification)) as sandbox:
        launch = Launch("python", ("/app/main.py",), layers=Layers(False, True, False, False))
        sandbox.start(launch, ground.template())
        yield results(sandbox)


def test_without_any_layer_the_attacks_are_real(alone: dict[str, dict[str, str]]) -> None:
    everything = set().union(*KEEPS_OUT.values())
    failed = {name: told for name, told in alone["none"].items() if name in everything and told != "done"}
    assert failed == {}


@pytest.mark.parametrize("layer", KEEPS_OUT)
def test_each_layer_keeps_out_what_it_is_there_for(alone: dict[str, dict[str, str]], layer: str) -> None:
    let_through = {name for name in KEEPS_OUT[layer] if alone[layer][name] == "done"}
    assert let_through == set()


def test_a_read_only_file_system_is_not_written_to_even_by_root(alone: dict[str, dict[str, str]]) -> None:
    assert "Read-only file system" in alone["none"]["write to the system"]


def test_nothing_that_was_written_is_run_even_by_root(alone: dict[str, dict[str, str]]) -> None:
    assert alone["none"]["run what it wrote"] != "done"


def test_nobody_opens_what_the_kernel_has_shut(alone: dict[str, dict[str, str]]) -> None:
    assert {name for name in NOBODY if alone["none"][name] == "done"} == set()


def test_all_layers_together_keep_everything_out(ground: Ground) -> None:
    specification = ground.specification("clad", {"main.py": TOGETHER})
    with ended(ground.sandbox(specification)) as sandbox:
        sandbox.start(Launch("python", ("/app/main.py",)), ground.template())
        told = results(sandbox)
    assert len(told) >= 20, log_of(sandbox)
    assert {name for name, answer in told.items() if answer == "done"} == set()
