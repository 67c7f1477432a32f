"""Customers' instances on a real node, told by a real controller, in real virtual machines: from deploy to answer."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from ringfort.compute import image
from ringfort.compute.sandbox import RUNTIME
from ringfort.kernel import nft, settings
from ringfort.kernel.netns import inside
from ringfort.lab.occupied import translated
from ringfort.node.hosting import TABLE, memory_of
from ringfort.node.instances import wiring
from ringfort.node.instances.house import House
from ringfort.node.instances.life import DRAIN_SECONDS
from tests.compute.bundles import bundle, file
from tests.node.hosting import ADDRESS, CALLED, World, world

pytestmark = pytest.mark.lab

SHOP = """
import os, socket, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
BOOK = Path("/data/book")
def call(port):
    try:
        with socket.create_connection(("10.1.9.9", port), timeout=1) as connection:
            return connection.recv(100).decode()
    except OSError as error:
        return type(error).__name__
class Page(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path == "/calls":
            return self.answer(" ".join(f"{port} {call(port)}" for port in (5000, 5001)))
        self.answer(f"%(version)s {os.environ['GREETING']} {BOOK.read_text() if BOOK.exists() else ''}")
    def do_POST(self):
        with BOOK.open("wb") as file:
            file.write(self.rfile.read(int(self.headers["Content-Length"])))
            file.flush()
            os.fsync(file.fileno())
        self.answer("kept")
    def answer(self, text):
        content = text.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
    def log_message(self, *_):
        pass
print("the shop %(version)s opens", flush=True)
ThreadingHTTPServer(("", 8080), Page).serve_forever()
"""
MIB = 64 + 112
APP = """\
application: web
runtime: python
module: shop
resources: {memory: 64, disk: 8}
endpoints: [{name: web, port: 8080, public-name: acme.example}]
configuration: {GREETING: CustomersOwnWords}
health: {path: /, interval: 1, timeout: 1}
"""


def software(version: str, more: str = "") -> bytes:
    return bundle(file("app.yaml", (APP + more).encode()), file("shop.py", (SHOP % {"version": version}).encode()))


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    base = image.ensure()
    with world(tmp_path_factory.mktemp("hosting")) as made:
        house = House.of(made.state, {}, lambda: None)  # type: ignore[arg-type, return-value]
        house.prepare()
        wanted = base, MIB, house.accelerator(base)
        while house.templates.get(*wanted) is None:  # somebody else may make one just now
            house.templates.make(*wanted)
            time.sleep(0.2)
        made.acme.deploy(software("first"))
        yield made


def test_what_is_deployed_answers_at_its_place(host: World) -> None:
    assert host.ask(host.place()) == (200, "first CustomersOwnWords ")


def test_what_it_writes_is_its_customers_to_read(host: World) -> None:
    host.until(
        lambda: any(
            "the shop first opens" in line["text"] for line in host.of_acme("GET", "/applications/web/log")["lines"]
        )
    )


def test_an_instance_reaches_nothing_and_nothing_but_its_endpoint_is_reached(host: World) -> None:
    """On its wire: neither its place's own ports nor anything beyond; without declared egress nothing is forwarded."""
    with inside(host.space(host.place())):
        assert settings.read("net.ipv4.ip_forward") == "0"
        with pytest.raises(OSError, match=r"refused|timed out"):
            socket.create_connection((wiring.INNER, 22), timeout=2)
    assert set(translated(nft.ruleset(host.space(host.place())))) == {8080}


def test_rules_of_a_wire_that_were_changed_by_hand_are_as_before_within_seconds(host: World) -> None:
    space = host.space(host.place())
    nft.run(space, f"delete table inet {TABLE}")
    assert host.ask(host.place())[0] == 0
    host.until(lambda: host.ask(host.place())[0] == 200)
    assert "drift" in host.log()


def test_a_virtual_machine_that_is_killed_is_started_again_with_its_disk(host: World) -> None:
    place = host.place()
    assert host.ask(place, body="kept through it") == (200, "kept")
    (machine,) = host.machines()
    os.kill(machine, signal.SIGKILL)
    host.until(lambda: host.ask(place)[1] == "first CustomersOwnWords kept through it")
    (other,) = host.machines()
    assert other != machine


def test_an_instance_that_is_told_another_version_drains_first(host: World) -> None:
    place = host.place()
    begin = time.monotonic()
    host.acme.deploy(software("second", "egress: [{to: 10.1.9.9/32, ports: [5000]}]\n"))
    answers: list[tuple[float, tuple[int, str]]] = []

    def is_second() -> bool:
        answers.append((time.monotonic() - begin, host.ask(place)))
        return answers[-1][1][1].startswith("second")

    host.until(is_second)
    served = [at for at, (_, text) in answers if text.startswith("first")]
    assert max(served) >= DRAIN_SECONDS - 0.5
    assert all(status == 200 for at, (status, _) in answers if at < DRAIN_SECONDS - 0.5)
    assert answers[-1][1] == (200, "second CustomersOwnWords kept through it")


def test_an_instance_calls_what_it_declared_under_its_place_s_address_and_nothing_else(host: World) -> None:
    place = host.place()
    with inside(host.outside(place)):
        servers = [socket.create_server((CALLED, port)) for port in (5000, 5001)]

    def serve(server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection, caller = server.accept()
            connection.sendall(f"hears {caller[0]}".encode())
            connection.close()

    threads = [threading.Thread(target=serve, args=(server,)) for server in servers]
    for thread in threads:
        thread.start()
    try:
        assert host.ask(place, "/calls") == (200, f"5000 hears {ADDRESS} 5001 TimeoutError")
    finally:
        for server in servers:
            server.shutdown(socket.SHUT_RDWR)
            server.close()


def test_nothing_of_a_customer_s_is_on_a_disk_of_the_node_s(host: World) -> None:
    host.place()
    words = b"CustomersOwnWords", b"kept through it"
    found = [
        path for path in host.state.rglob("*") if path.is_file() and any(one in path.read_bytes() for one in words)
    ]
    assert found == []
    (data,) = memory_of(host.state).glob("data/*/data")
    assert not any(one in data.read_bytes() for one in words), "its own disk is encrypted even there"
    with open("/proc/self/mounts") as mounts:
        assert any(line.split()[1:3] == ["/dev/shm", "tmpfs"] for line in mounts)
    assert RUNTIME.is_relative_to("/dev/shm")


def test_a_node_that_is_killed_takes_its_instances_with_it_and_starts_them_again(host: World) -> None:
    place = host.place()
    host.kill()
    host.until(lambda: not host.machines(), 5)
    host.start()
    host.until(lambda: host.ask(place) == (200, "second CustomersOwnWords kept through it"))
    assert len(host.machines()) == 1


def test_a_place_is_as_it_was_when_its_instance_has_gone(host: World) -> None:
    place = host.place()
    host.of_acme("POST", "/applications/web/stop")
    host.until(lambda: [one["state"] for one in host.instances()] == ["stopped"])
    assert host.machines() == []
    assert not wiring.is_plugged(host.space(place))
    assert "table" not in nft.run(host.space(place), "list ruleset")
    assert host.ask(place)[0] == 0
