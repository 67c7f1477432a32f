"""The edge's address stays reachable when what holds it dies: two hosts on one wire, real keepalived, real HAProxy."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address
from pathlib import Path

import pytest

from ringfort.gateway import process
from ringfort.gateway.edge import keepalived, running
from ringfort.gateway.edge.keepalived import Shared
from ringfort.gateway.edge.model import Edge, EdgeError, Endpoint, Server, TlsMode
from ringfort.gateway.edge.render import Place
from ringfort.kernel.netns import inside
from ringfort.kernel.processes import Process
from ringfort.lab.state import write_private

PUBLIC = ip_address("192.0.2.100")
NAME = "www.shop.example"


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@dataclass
class Host:
    """One edge host: a namespace with HAProxy and keepalived."""

    namespace: str
    address: IPv4Address
    directory: Path
    keepalived: subprocess.Popen[bytes] | None = None

    @property
    def place(self) -> Place:
        return Place(str(self.directory / "edge"))

    def holds(self) -> bool:
        shown = subprocess.run(
            ["ip", "-n", self.namespace, "-4", "addr", "show", "eth0"], capture_output=True, text=True
        )
        return f"{PUBLIC}/32" in shown.stdout

    def start(self, other: Host, priority: int) -> None:
        endpoint = Endpoint(NAME, "acme", "shop", TlsMode.OFF, (Server("none", ip_address("127.0.0.1"), 9),))
        edge = Edge((ip_address(str(PUBLIC)),), (endpoint,))
        with inside(self.namespace):
            running.apply(edge, self.place, write_private)
        alive = self.directory / "alive"
        alive.write_text(keepalived.alive(edge.alive_port))
        alive.chmod(0o755)
        shared = Shared("north", "eth0", 51, (PUBLIC,), self.address, (other.address,), priority, str(alive))
        configuration = self.directory / "keepalived.conf"
        configuration.write_text(keepalived.render(shared))
        self.begin()

    def begin(self) -> None:
        files = [str(self.directory / name) for name in ("keepalived.pid", "vrrp.pid", "checkers.pid")]
        for file in files:  # of one that was killed; a test's first process may not have waited for it yet
            Path(file).unlink(missing_ok=True)
        words = ["keepalived", "--dont-fork", "--log-console", "-f", str(self.directory / "keepalived.conf")]
        words += ["-p", files[0], "-r", files[1], "-c", files[2], "--vrrp"]
        with (self.directory / "log").open("wb") as log:
            self.keepalived = subprocess.Popen(
                ["ip", "netns", "exec", self.namespace, *words], stdout=log, stderr=log, start_new_session=True
            )

    def kill_keepalived(self, number: int = signal.SIGKILL) -> None:
        """Kill all of it: first the one that watches its worker, so that it can't start another."""
        if self.keepalived is None:
            return
        worker = Process.of(int((self.directory / "vrrp.pid").read_text()))
        os.kill(self.keepalived.pid, number)
        self.keepalived.wait(10)
        self.keepalived = None
        if worker.is_running and number == signal.SIGKILL:
            os.kill(worker.pid, number)
        until(lambda: not worker.is_running, 5, "its worker ends")

    def kill_haproxy(self) -> None:
        with inside(self.namespace):
            found = process.running(self.place)
        assert found is not None
        os.kill(found.pid, signal.SIGKILL)


@pytest.fixture
def hosts() -> Iterator[tuple[Host, Host, str]]:
    mark = f"gv{os.getpid() % 100000}"
    wire, visitor = f"{mark}-w", f"{mark}-v"
    names = [f"{mark}-a", f"{mark}-b"]
    directory = Path(tempfile.mkdtemp(prefix="ringfort-vrrp-", dir="/run"))
    directory.chmod(0o755)
    made: list[Host] = []
    try:
        for name in (wire, visitor, *names):
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("-n", wire, "link", "add", "wire0", "type", "bridge")
        ip("-n", wire, "link", "set", "wire0", "up")
        for number, name in enumerate((visitor, *names), 1):
            ip("-n", wire, "link", "add", f"p{number}", "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("-n", wire, "link", "set", f"p{number}", "master", "wire0", "up")
            ip("-n", name, "link", "set", "eth0", "up")
            ip("-n", name, "addr", "add", f"192.0.2.{number}/24", "dev", "eth0")
        for number, name in enumerate(names, 2):
            home = directory / name
            home.mkdir(mode=0o755)
            made.append(Host(name, IPv4Address(f"192.0.2.{number}"), home))
        made[0].start(made[1], 200)
        made[1].start(made[0], 100)
        yield made[0], made[1], visitor
    finally:
        for host in made:
            host.kill_keepalived()
            with inside(host.namespace):
                process.end(host.place)
        for name in (wire, visitor, *names):
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
        shutil.rmtree(directory)


def until(holds: Callable[[], bool], seconds: float, what: str) -> float:
    """Seconds until something holds."""
    started = time.monotonic()
    while not holds():
        assert time.monotonic() - started < seconds, what
        time.sleep(0.02)
    return time.monotonic() - started


def answers(visitor: str) -> bool:
    """Whether the edge answers at its public address; with an error of its own, as there is no application."""
    try:
        with inside(visitor), socket.create_connection((str(PUBLIC), 80), 0.5) as connection:
            connection.sendall(f"GET / HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
            return connection.recv(12).startswith(b"HTTP/1.1 503")
    except OSError:
        return False


@pytest.mark.lab
def test_the_address_moves_when_keepalived_or_haproxy_dies(hosts: tuple[Host, Host, str]) -> None:
    one, two, visitor = hosts
    until(lambda: one.holds() and answers(visitor), 15, "the first holds it")
    assert not two.holds()
    one.kill_keepalived()
    if one.holds():  # its worker had no time to let go; a host that died would no longer answer
        ip("-n", one.namespace, "addr", "del", f"{PUBLIC}/32", "dev", "eth0")
    assert until(lambda: two.holds() and answers(visitor), 10, "the second takes it") < 3
    one.begin()
    time.sleep(3)
    assert two.holds(), "and keeps it when the first is back"
    assert not one.holds()
    two.kill_haproxy()
    took = until(lambda: one.holds() and not two.holds() and answers(visitor), 15, "back, as its HAProxy is dead")
    assert took < 8
    one.kill_keepalived(signal.SIGTERM)
    time.sleep(1)
    assert not one.holds(), "who leaves in order lets go"


def test_an_address_that_can_not_move_is_refused() -> None:
    here, there = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")
    good = {"name": "north", "interface": "eth0", "router": 51, "addresses": (PUBLIC,), "own": here, "others": (there,)}
    good |= {"priority": 100, "alive": "/run/alive"}
    assert "192.0.2.100/32 dev eth0" in keepalived.render(Shared(**good))  # type: ignore[arg-type]
    for change in (
        {"router": 0}, {"priority": 255}, {"others": ()}, {"addresses": ()}, {"interface": "eth0\n}"},
        {"alive": "/run/x; reboot"}, {"name": "a b"}, {"others": (ip_address("fd00::1"),)},
        {"addresses": (ip_address("2001:db8::1"),)}, {"account": "no body"},
    ):  # fmt: skip
        with pytest.raises(EdgeError):
            Shared(**(good | change))  # type: ignore[arg-type]
