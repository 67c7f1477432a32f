"""The jail, attacked from inside: what runs in it is not QEMU but what somebody would run who took QEMU over."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ringfort.compute import cgroups, jail

pytestmark = pytest.mark.lab

PYTHON = Path("/usr/bin/python3.11")
LIBRARY = Path("/usr/lib/python3.11")
UID = 1_699_999_000 + os.getpid() % 1000
CTYPES = tuple(Path("/usr/lib/x86_64-linux-gnu").glob("libffi.so.8"))

ATTACKS = """
import ctypes, json, os, resource, signal, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *values):
    if libc.syscall(number, *values) < 0:
        raise OSError(ctypes.get_errno(), "refused")
def connect(family, address):
    with socket.socket(family) as one:
        one.settimeout(2)
        one.connect(address)
def write(path):
    with open(path, "w") as file:
        file.write("x")
port, abstract = int(sys.argv[1]), sys.argv[2]
attacks = {
    "read the machine's passwords": lambda: open("/etc/shadow").read(),
    "read another process": lambda: open("/proc/1/environ").read(),
    "find a device": lambda: os.listdir("/dev"),
    "find a home": lambda: os.listdir("/home"),
    "write into the root": lambda: write("/x"),
    "write into the base image": lambda: write("/base"),
    "become root": lambda: os.setuid(0),
    "join a group": lambda: os.setgroups([0]),
    "change the root": lambda: os.chroot("/"),
    "mount": lambda: call(165, b"tmpfs", b"/", b"tmpfs", 0, 0),
    "unmount": lambda: call(166, b"/base", 2),
    "make a user namespace": lambda: call(272, 0x10000000),
    "make a user namespace by clone": lambda: call(56, 0x10000000 | 17, 0, 0, 0, 0),
    "trace a process": lambda: call(101, 16, os.getppid(), 0, 0),
    "load a program into the kernel": lambda: call(321, 0, 0, 0),
    "use a key of the machine's": lambda: call(250, 0, -4, 1),
    "set up io_uring": lambda: call(425, 8, ctypes.create_string_buffer(256)),
    "make a socket to the hypervisor": lambda: socket.socket(40, 1),
    "make a packet socket": lambda: socket.socket(17, 3),
    "make a netlink socket": lambda: socket.socket(16, 3),
    "reach a server on this machine": lambda: connect(socket.AF_INET, ("127.0.0.1", port)),
    "reach a socket with an abstract name": lambda: connect(socket.AF_UNIX, abstract),
    "reach the internet": lambda: connect(socket.AF_INET, ("192.0.2.1", 80)),
    "lift a limit": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2),
    "end a process outside": lambda: os.kill(int(sys.argv[3]), 0),
}
def attempt(attack):
    try:
        attack()
    except OSError as error:
        return error.strerror or str(error)
    except Exception as error:
        return str(error)
    return "done"
print(json.dumps({name: attempt(attack) for name, attack in attacks.items()}))
"""

FORKING = """
import os, time
children = 0
try:
    while True:
        if os.fork() == 0:
            time.sleep(5)
            os._exit(0)
        children += 1
except OSError:
    print(children, flush=True)
os._exit(0)
"""

FILLING = """
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
try:
    with open("/data", "r+b", buffering=0) as file:
        while file.write(bytes(1 << 20)):
            pass
except OSError as error:
    print(error.strerror)
"""

HOGGING = """
kept = []
while True:
    kept.append(bytearray(1 << 20))
    print(len(kept), flush=True)
"""


@contextmanager
def inside(code: str, tmp: Path, groups: tuple[Path, ...] = (), *words: str) -> Iterator[subprocess.Popen[str]]:
    """Python with this code in the jail."""
    data = tmp / "data"
    data.touch()
    os.chown(data, UID, UID)
    filter_ = jail.system_calls()
    command = jail.command(
        UID,
        jail.Limits(8, groups),
        {str(LIBRARY): LIBRARY, "/base": Path("/etc/hostname"), **{str(path): path for path in CTYPES}},
        {"/data": data},
        [],
        ["-I", "-S", "-c", code, *words],
        filter_,
        PYTHON,
    )
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, pass_fds=[filter_]) as process:
        os.close(filter_)
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def tmp() -> Iterator[Path]:
    """A directory that the account can get to, as those of sandboxes are."""
    made = Path(f"/dev/shm/ringfort-jail-{os.getpid()}")
    made.mkdir(mode=0o755)
    yield made
    for path in made.iterdir():
        path.unlink()
    made.rmdir()


def test_nothing_of_the_machine_can_be_had_from_inside(tmp: Path) -> None:
    abstract = f"\0ringfort-test-{os.getpid()}"
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as other:
        other.bind(abstract)
        other.listen()
        words = (str(server.getsockname()[1]), "@" + abstract[1:], str(os.getpid()))
        with inside(ATTACKS.replace("sys.argv[2]", "chr(0) + sys.argv[2][1:]"), tmp, (), *words) as process:
            output, _ = process.communicate(timeout=60)
    results = json.loads(output)
    assert len(results) > 20
    assert {name: result for name, result in results.items() if result == "done"} == {}


def test_the_same_attacks_outside_the_jail_are_real(tmp: Path) -> None:
    """As root and without the jail most of them work, so it is the jail that refuses them. Those that would harm this
    machine are left out."""
    harmless = ("read the machine's passwords", "find a device", "reach a server", "reach a socket", "make a netlink")
    kept = ATTACKS.replace("sys.argv[2]", "chr(0) + sys.argv[2][1:]").replace(
        "for name, attack in attacks.items()}",
        f"for name, attack in attacks.items() if name.startswith({harmless!r})}}",
    )
    abstract = f"\0ringfort-test-{os.getpid()}"
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as other:
        other.bind(abstract)
        other.listen()
        command = [str(PYTHON), "-I", "-S", "-c", kept, str(server.getsockname()[1]), "@" + abstract[1:], "1"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    results = json.loads(done.stdout)
    assert len(results) == len(harmless)
    assert set(results.values()) == {"done"}


def test_it_can_write_no_more_than_its_own_disk(tmp: Path) -> None:
    with inside(FILLING, tmp) as process:
        output, _ = process.communicate(timeout=60)
    assert output.strip() == "File too large"
    assert (tmp / "data").stat().st_size == 8 << 20


@pytest.fixture
def groups() -> Iterator[tuple[Path, ...]]:
    made = cgroups.make(f"e-jail-{os.getpid()}", 0, 100)
    if not made.directories:
        pytest.skip("no control groups are to be had here")
    yield made.directories
    made.remove(10)


def test_it_can_start_no_more_processes_than_its_group_allows(tmp: Path, groups: tuple[Path, ...]) -> None:
    with inside(FORKING, tmp, groups) as process:
        assert process.stdout is not None
        assert 10 < int(process.stdout.readline()) < cgroups.PROCESSES


def test_it_can_take_no_more_memory_than_its_group_allows(tmp: Path, groups: tuple[Path, ...]) -> None:
    with inside(HOGGING, tmp, groups) as process:
        output, _ = process.communicate(timeout=120)
    assert 50 < int(output.splitlines()[-1]) <= cgroups.OVERHEAD_MIB
    assert process.returncode != 0
