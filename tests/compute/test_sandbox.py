"""A real guest, in its jail, on a wire of its own."""

from __future__ import annotations

import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from ringfort.compute.guest.launch import Launch
from ringfort.compute.guest.netlink import Network
from ringfort.compute.sandbox import Sandbox
from ringfort.kernel.netns import inside
from tests.compute.guests import Ground, ended, healthy, said, wire

pytestmark = pytest.mark.lab

NAMESPACE = f"e-guest-{os.getpid()}"
SERVER = """
import http.server, os, signal, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"{os.uname().nodename} {os.environ['GREETING']}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
def leave(*_):
    print("leaving in order", flush=True)
    sys.exit(7)
signal.signal(signal.SIGTERM, leave)
print("serving as", os.getuid(), flush=True)
http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    subprocess.run(["ip", "netns", "add", NAMESPACE], check=True)
    ip = ["ip", "-n", NAMESPACE]
    subprocess.run([*ip, "tuntap", "add", "tap0", "mode", "tap", "vnet_hdr"], check=True)
    subprocess.run([*ip, "address", "add", "10.99.0.1/24", "dev", "tap0"], check=True)
    subprocess.run([*ip, "link", "set", "tap0", "up"], check=True)
    yield NAMESPACE
    subprocess.run(["ip", "netns", "delete", NAMESPACE], check=True)


@pytest.fixture(scope="module")
def guest(ground: Ground, namespace: str) -> Iterator[Sandbox]:
    """A cold start: booted, not restored."""
    network = Network(("10.99.0.2/24",), ("10.99.0.1",))
    plugged = wire(namespace, "tap0", network)
    specification = ground.specification("web", {"main.py": SERVER}, wire=plugged, cpu_percent=90)
    with ended(ground.sandbox(specification)) as sandbox:
        sandbox.start(Launch("python", ("/app/main.py",), environment={"GREETING": "hello"}))
        healthy(sandbox)
        yield sandbox


def test_it_answers_on_its_wire_and_only_there(guest: Sandbox, namespace: str) -> None:
    with inside(namespace), urllib.request.urlopen("http://10.99.0.2:8080/", timeout=20) as answer:
        assert answer.read().decode() == f"{guest.specification.name} hello"


def test_what_it_writes_is_kept(guest: Sandbox) -> None:
    assert "serving as 1000" in said(guest, "serving as")


def test_its_clock_is_right(guest: Sandbox) -> None:
    assert abs(guest.set_clock()) < 5


def test_its_qemu_is_in_a_jail(guest: Sandbox) -> None:
    qemu = qemu_of(guest)
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{qemu}/status").read_text().splitlines() if ":\t" in line
    )
    uid = str(guest.specification.uid)
    assert status["Uid"].split() == [uid] * 4
    assert status["Gid"].split() == [uid] * 4
    assert status["Groups"].split() == []
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[kind], 16) == 0, kind
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    for kind in ("user", "mnt", "pid", "net", "ipc", "uts"):
        assert os.readlink(f"/proc/{qemu}/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}"), kind


def test_its_jail_holds_nothing_but_what_it_runs_with(guest: Sandbox) -> None:
    root = Path(f"/proc/{qemu_of(guest)}/root")
    found = {"/" + str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}
    libraries = {path for path in found if path.startswith(("/lib", "/usr/lib", "/lib64")) and ".so" in path}
    own = {"/vmlinux", "/initrd", "/base", "/application", "/data"}
    firmware = {path for path in found if path.startswith("/usr/share/qemu/")}
    assert found == libraries | own | firmware | {"/usr/bin/qemu-system-x86_64"}
    assert {path.rpartition("/")[2] for path in firmware} == {"bios-microvm.bin", "qboot.rom"}


def test_its_jail_has_no_network_and_no_socket_with_a_name(guest: Sandbox) -> None:
    qemu = qemu_of(guest)
    interfaces = Path(f"/proc/{qemu}/net/dev").read_text().splitlines()[2:]
    assert [line.split(":")[0].strip() for line in interfaces] == ["lo"]
    named = [line for line in Path(f"/proc/{qemu}/net/unix").read_text().splitlines()[1:] if len(line.split()) > 7]
    assert named == []
    assert Path(f"/proc/{qemu}/net/tcp").read_text().splitlines()[1:] == []


def test_it_is_in_control_groups_that_bound_it(guest: Sandbox) -> None:
    groups = Path(f"/proc/{qemu_of(guest)}/cgroup").read_text()
    assert f"/ringfort/{guest.specification.name}" in groups


def test_after_its_start_it_has_what_it_declares_of_a_processor(guest: Sandbox) -> None:
    """It answers by now; that may have taken less than the time in which it has more."""
    quotas = [path / "cpu.cfs_quota_us" for path in guest._groups.directories]
    found = [path for path in quotas if path.exists()]
    if not found:
        pytest.skip("no control group of version 1 for the processor is to be had here")
    until = time.monotonic() + 20
    while found[0].read_text().strip() != "90000":
        assert time.monotonic() < until
        assert found[0].read_text().strip() == "100000"
        time.sleep(0.1)


def qemu_of(sandbox: Sandbox) -> int:
    """The process that runs the machine, below bubblewrap's."""
    pid = sandbox.pid
    while children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        pid = int(children[0])
    assert os.readlink(f"/proc/{pid}/exe").endswith("qemu-system-x86_64")
    return pid


def test_it_ends_in_order_and_leaves_nothing(guest: Sandbox) -> None:
    """The last one of this module: the guest is gone after it."""
    qemu = qemu_of(guest)
    groups = guest._groups.directories
    assert guest.stop() == 7
    assert "leaving in order" in said_at_the_end(guest)
    assert not Path(f"/proc/{qemu}").exists()
    assert guest.status().state == "stopped"
    assert [directory for directory in groups if directory.exists()] == []


def said_at_the_end(sandbox: Sandbox) -> str:
    return sandbox.specification.log.read_text()
