"""Floating addresses move when what holds them dies: real keepalived, real HAProxy, over the network of the lab."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from ringfort.environment.topology import Device, DeviceKind
from ringfort.gateway import process
from ringfort.gateway.haproxy import Files
from ringfort.kernel.processes import Process
from ringfort.lab import gates
from ringfort.lab.lab import Lab
from ringfort.lab.plan import VISITOR
from ringfort.proof.claims import verify
from tests.environment.floated import FLOATED
from tests.lab.running import running

pytestmark = pytest.mark.lab

OPERATED = (
    FLOATED.replace("  control: {site", "  desk: {site: north, segment: admin}\n  control: {site")
    .replace("flows:\n", 'flows:\n  - {from: "host:desk", to: controller, as: [alice, bob], name: operators}\n')
    .replace("count: 2, services: [guests]", "services: [guests]")
    .replace(
        "  globex: {site: north, segment: guests, hypervisor: metal-2, customer: globex, services: [guests]}\n", ""
    )
    .replace("hypervisor: metal-1", "hypervisor: metal")
    .replace("segment: metal, count: 2}", "segment: metal}")
)
"""With operators, and no more hosts than it takes."""

PUBLIC, FLOATING = "198.51.100.5", "10.10.4.100"
ONE, TWO = "gate-1", "gate-2"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running(tmp_path_factory.mktemp("floated"), OPERATED, "float") as made:
        until(lambda: len(holders(made)) == 1 and answers(made), 30)
        yield made


def until(done: Callable[[], bool], seconds: float) -> float:
    """How long it took; fails when it takes too long."""
    begin = time.monotonic()
    while not done():
        assert time.monotonic() - begin < seconds, "it took too long"
        time.sleep(0.02)
    return time.monotonic() - begin


def namespace(lab: Lab, host: str) -> str:
    return lab.namespace(Device(DeviceKind.HOST, host))


def holders(lab: Lab) -> list[str]:
    """The hosts that hold the addresses now."""
    shown = {
        host: subprocess.run(
            ["ip", "-n", namespace(lab, host), "addr", "show", "gate-n"], capture_output=True, text=True
        )
        for host in (ONE, TWO)
    }
    return [host for host in shown if f"{FLOATING}/32" in shown[host].stdout]


def answers(lab: Lab) -> bool:
    """Whether somebody on the internet gets an answer at the public address."""
    try:
        with lab.inside(VISITOR), socket.create_connection((PUBLIC, 80), 0.3) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: www.shop.example\r\n\r\n")
            return connection.recv(5) == b"HTTP/"
    except OSError:
        return False


def running_there(lab: Lab, host: str, *words: str) -> list[Process]:
    """The processes in a host's namespace in whose command line all of these words stand."""
    found = subprocess.run(["ip", "netns", "pids", namespace(lab, host)], capture_output=True, text=True, check=True)
    processes = [Process.of(int(pid)) for pid in found.stdout.split()]
    return [one for one in processes if all(word.encode() in command(one.pid) for word in words)]


def command(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read()
    except OSError:
        return b""


def kill(processes: list[Process], number: int = signal.SIGKILL) -> None:
    assert processes
    for one in processes:
        os.kill(one.pid, number)


def other(host: str) -> str:
    return TWO if host == ONE else ONE


def test_everything_is_proved_and_a_second_up_changes_nothing_whoever_holds_the_addresses(lab: Lab) -> None:
    documents, checks = lab.read_back()
    assert verify(lab.environment, documents, checks).exit_code == 0
    before = holders(lab)
    assert lab.up().is_nothing
    assert holders(lab) == before


def test_signs_of_life_stay_inside_the_hosts_and_are_counted_there(lab: Lab) -> None:
    """They go from host to host as bytes of a declared flow under mutual TLS; both count what keepalived says."""
    for host in (ONE, TWO):
        words = ["nft", "list", "counter", "inet", "ringfort", "signs"]
        shown = subprocess.run(
            ["ip", "netns", "exec", namespace(lab, host), *words], capture_output=True, text=True, check=True
        )
        assert "packets 0 " not in shown.stdout
    assert [len(running_there(lab, host, "ringfort.gateway.edge.signs")) for host in (ONE, TWO)] == [1, 1]


def test_the_addresses_move_when_keepalived_ends_and_stay_where_they_went(lab: Lab) -> None:
    (first,) = holders(lab)
    kill(running_there(lab, first, "keepalived", "--vrrp"))
    assert until(lambda: other(first) in holders(lab) and answers(lab), 10) < 6
    # its node starts it again; what it still had it loses, and it takes nothing back
    until(lambda: holders(lab) == [other(first)] and answers(lab), 15)


def test_the_addresses_move_when_their_host_is_cut_off(lab: Lab) -> None:
    (first,) = holders(lab)
    cut(lab, first, "down")
    assert until(lambda: other(first) in holders(lab) and answers(lab), 10) < 6
    cut(lab, first, "up")
    until(lambda: len(holders(lab)) == 1 and answers(lab), 20)


def test_the_addresses_leave_a_host_whose_haproxy_hangs(lab: Lab) -> None:
    (first,) = holders(lab)
    edge = process.running(Files(str(gates.edge(lab.environment, first)), "", ""))
    assert edge is not None
    kill([edge], signal.SIGSTOP)
    try:
        assert until(lambda: holders(lab) == [other(first)] and answers(lab), 15) < 10
    finally:
        kill([edge], signal.SIGCONT)


def cut(lab: Lab, host: str, state: str) -> None:
    """Take the host's port of the switch down or up."""
    switch = lab.namespace(Device(DeviceKind.SWITCH, "north/edge"))
    subprocess.run(["ip", "-n", switch, "link", "set", host, state], check=True)
