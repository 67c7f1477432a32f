"""A controller as a process, and everything that somebody may send it: a problem document or the end of the connection,
bounded memory, no traceback in its log, and others are answered meanwhile."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ringfort.control.client import Client, Endpoint
from ringfort.identity.names import Role
from ringfort.identity.tls import client_context
from tests.control.publications import Approvers
from tests.control.running import Ground, customer_key
from tests.control.test_bad_input import FORM, TOKEN, post

MEGABYTE = 1024 * 1024
MORE_MEMORY = 64 * MEGABYTE
"""What the process may take at its worst moment beyond what it had when it was asked for the first time."""

HEAD = b"Host: controller\r\n"
GET = b"GET /v1/environment HTTP/1.1\r\n" + HEAD + b"\r\n"
METADATA, LOG = b"/v1/environment/metadata/", b"/v1/audit/log/"
PUBLISH, CUSTOMERS = "/v1/environment/publications", "/v1/customers"


@dataclass
class Process:
    ground: Ground
    child: subprocess.Popen[bytes]
    endpoint: Endpoint
    log: Path

    @property
    def worst(self) -> int:
        """The most memory it has had, in bytes."""
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{self.child.pid}/status").read_text())
        assert found is not None
        return int(found[1]) * 1024

    def forget_worst(self) -> None:
        Path(f"/proc/{self.child.pid}/clear_refs").write_text("5")

    def speaking(self, name: str = "nora") -> ssl.SSLSocket:
        context = client_context(self.ground.credential(Role.OPERATOR, name), self.ground.store.bundle())
        plain = socket.create_connection((self.endpoint.host, self.endpoint.port), timeout=30)
        return context.wrap_socket(plain)

    def client(self, name: str) -> Client:
        return Client.platform(self.endpoint, self.ground.credential(Role.OPERATOR, name), self.ground.store.bundle())

    def told(self) -> str:
        return self.log.read_text()


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    ground = Ground(tmp_path_factory.mktemp("hostile"))
    log = ground.directory / "log"
    command = [sys.executable, "-m", "ringfort", "controller", "--config", str(ground.settings())]
    with log.open("wb") as file, subprocess.Popen(command, stderr=file) as child:
        try:
            until = time.monotonic() + 60
            while not (found := re.search(r"listening for platform on (\S+) port (\d+)", log.read_text())):
                assert time.monotonic() < until
                assert child.poll() is None, log.read_text()
                time.sleep(0.05)
            made = Process(ground, child, Endpoint(found[1], int(found[2])), log)
            with made.client("nora") as nora:
                nora.call("POST", PUBLISH, Approvers(ground).first(), reason="CHG-1")
            made.forget_worst()
            yield made
        finally:
            child.send_signal(signal.SIGTERM)
            assert child.wait(20) == 0


@pytest.fixture(autouse=True)
def bounded(process: Process) -> Iterator[None]:
    """After each attack: no more memory than that, no traceback, and an honest caller is answered."""
    before = process.worst
    yield
    assert process.worst - before < MORE_MEMORY
    assert "Traceback" not in process.told()
    with process.client("aude") as aude:
        assert aude.get("/v1/environment")["version"] == 1


def answers(tls: ssl.SSLSocket) -> list[tuple[int, bytes]]:
    """Status and body of everything that comes until the connection ends; all refusals are problem documents."""
    data = b""
    with contextlib.suppress(OSError):
        while piece := tls.recv(65536):
            data += piece
    found = []
    while data:
        head, _, rest = data.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        assert length is not None, head
        status, body = int(head.split()[1]), rest[: int(length[1])]
        if status >= 400:
            assert b"application/problem+json" in head, head
            assert json.loads(body)["status"] == status
        found.append((status, body))
        data = rest[int(length[1]) :]
    return found


def statuses(process: Process, request: bytes, name: str = "nora") -> list[int]:
    with process.speaking(name) as tls:
        tls.sendall(request)
        return [status for status, _ in answers(tls)]


def ending(request: bytes) -> bytes:
    """The same request, after which the connection ends."""
    return request.replace(HEAD, HEAD + b"Connection: close\r\n", 1)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 60_000,
        b'{"a":' * 12_000,
        b"[" * 30_000 + b"]" * 30_000,
        b'{"node": ' + b"9" * 50_000 + b"}",
        json.dumps({**FORM, "minutes": 1e308}).encode(),
        json.dumps(FORM).encode().replace(b"web-1", b"\\ud800"),
        json.dumps(FORM).encode().replace(b"web-1", b"\x00"),
        json.dumps(FORM).encode()[:-1] + b', "node": "web-2", "node": "../../x"}',
        json.dumps({**FORM, "addresses": ["127.0.0.1"] * 5000}).encode(),
        json.dumps({f"field-{number}": number for number in range(3000)}).encode(),
        b"\xef\xbb\xbf" + json.dumps(FORM).encode() + b"trailing",
    ],
    ids=["arrays", "objects", "closed", "digits", "float", "surrogate", "nul", "twice", "many", "unknown", "trailing"],
)
def test_json_of_any_depth_and_kind_is_refused(process: Process, body: bytes) -> None:
    request = post(TOKEN, body, "Connection: close", key=f"hostile-key-{len(body)}")
    (status,) = statuses(process, request)
    assert status in (400, 413, 422)


@pytest.mark.parametrize(
    "certificate",
    ["", "x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "-----BEGIN CERTIFICATE-----\n" * 500],
    ids=["nothing", "no PEM", "no DER", "many beginnings"],
)
def test_a_malformed_certificate_is_refused(process: Process, certificate: str) -> None:
    body = json.dumps({"name": "acme", "certificate": certificate}).encode()
    assert statuses(process, post(CUSTOMERS, body, "Connection: close"), "sophie") == [422]


def test_every_bit_of_a_certificate_may_be_wrong(process: Process, tmp_path: Path) -> None:
    """One byte after the other of a sound one is another: taken or refused, never an error of the controller."""
    lines = customer_key(tmp_path, "acme").text.strip().splitlines()
    place = 0
    with process.client("sophie") as sophie:
        for number in range(1, len(lines) - 1):
            for column in range(0, len(lines[number]), 17):
                changed = list(lines)
                letter = "A" if lines[number][column] != "A" else "B"
                changed[number] = lines[number][:column] + letter + lines[number][column + 1 :]
                form = {"name": f"bit-{place}", "certificate": "\n".join(changed) + "\n"}
                place += 1
                answer = sophie.send(
                    "POST",
                    CUSTOMERS,
                    json.dumps(form).encode(),
                    {
                        "Content-Type": "application/json",
                        "Idempotency-Key": f"bit-number-{place}",
                        "Ringfort-Ticket": "T-1",
                    },
                )
                assert answer.status in (201, 409, 422), answer.body
    assert place > 20


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /v1/environment HTTP/1.1\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n",
        b"GET /v1/environment HTTP/1.1\r\n" + b"".join(b"X-%d: a\r\n" % n for n in range(100_000)) + b"\r\n",
        b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /v1/environment?" + b"a=b&" * 1_900 + b" HTTP/1.1\r\n" + HEAD + b"Connection: close\r\n\r\n",
        b"GET /v1/environment HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /v1/environment HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
        b"GET /v1/environment HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"GET /v1/environment HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        b"GET /v1/environment HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET /v1/environment HTTP/1.1\r\n folded\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT /v1/environment HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"\x00" * 10_000,
        os.urandom(10_000),
    ],
    ids=[
        "header", "headers", "path", "query", "two lengths", "twice", "negative", "chunk", "space", "folded", "http2",
        "connect", "nulls", "noise",
    ],
)  # fmt: skip
def test_what_is_not_http_ends_in_a_problem_or_the_connection(process: Process, request_: bytes) -> None:
    with process.speaking() as tls:
        with contextlib.suppress(OSError):
            tls.sendall(request_)
        tls.settimeout(5)
        assert all(status < 500 for status, _ in answers(tls))


def test_http_1_0_is_answered_and_ends(process: Process) -> None:
    with process.speaking() as tls:
        tls.sendall(GET.replace(b"HTTP/1.1", b"HTTP/1.0"))
        ((status, body),) = answers(tls)
    assert (status, json.loads(body)["version"]) == (200, 1)


def test_pipelined_requests_are_answered_in_their_order(process: Process) -> None:
    bad = GET.replace(b"/v1/environment", b"/v1/environment?colour=red")
    with process.speaking() as tls:
        tls.sendall(GET + bad + GET + ending(GET.replace(b"/v1/environment", b"/v1/nodes")))
        found = answers(tls)
    assert [status for status, _ in found] == [200, 422, 200, 200]
    assert json.loads(found[3][1]) == {"nodes": []}


def test_thousands_of_pipelined_requests_cost_no_memory(process: Process) -> None:
    with process.speaking() as tls:
        tls.settimeout(3)
        with contextlib.suppress(OSError):  # nobody reads the answers: the other side stops reading, too
            for _ in range(200):
                tls.sendall(GET * 1000)


@pytest.mark.parametrize("prefix", [METADATA, b"/v1/environment/targets/", LOG])
@pytest.mark.parametrize(
    "path",
    [
        b"../../../../etc/passwd", b"..%2f..%2f..%2fetc%2fpasswd", b"%2e%2e/%2e%2e/controller.db", b"....//....//x",
        b"1.root.json%00.txt", b"..\\..\\x", b"/etc/passwd", b"%252e%252e%252fetc", b"1.root.json/../../online.key",
        b"..", b".", b"%c0%ae%c0%ae/x", b"a/" * 120,
    ],
)  # fmt: skip
def test_no_path_leads_out_of_the_repository_or_the_log(process: Process, prefix: bytes, path: bytes) -> None:
    request = b"GET " + prefix + path + b" HTTP/1.1\r\n" + HEAD + b"Connection: close\r\n\r\n"
    with process.speaking("sophie") as tls:
        tls.sendall(request)
        found = answers(tls)
    assert [status for status, _ in found] in ([400], [404]), found
    assert b"root:" not in found[0][1]


@pytest.mark.parametrize("told", ["with its length", "in chunks", "with a length and nothing more"])
def test_a_gigabyte_is_not_kept(process: Process, told: str) -> None:
    length = b"Content-Length: 1073741824"
    head = post(PUBLISH, b"").replace(
        b"Content-Length: 0", b"Transfer-Encoding: chunked" if "chunks" in told else length
    )
    piece = b"x" * MEGABYTE
    if "chunks" in told:
        piece = b"%x\r\n" % len(piece) + piece + b"\r\n"
    with process.speaking() as tls:
        tls.sendall(head)
        with contextlib.suppress(OSError):
            for _ in range(0 if "nothing" in told else 1024):
                tls.sendall(piece)
        tls.settimeout(10)
        assert all(status == 413 for status, _ in answers(tls))


def test_two_hundred_slow_callers_keep_nobody_waiting(process: Process) -> None:
    """Heads and bodies that come a byte at a time, and handshakes that are never finished."""
    slow: list[socket.socket] = []
    try:
        for number in range(100):
            tls = process.speaking()
            tls.sendall(b"GET /v1/envir" if number % 2 else post(TOKEN, b"x" * 100, key=f"slow-key-{number}")[:-99])
            plain = socket.create_connection((process.endpoint.host, process.endpoint.port), timeout=30)
            plain.sendall(b"\x16\x03\x01\x02\x00\x01")
            slow += [tls, plain]
        with process.client("aude") as aude:
            begun = time.monotonic()
            for _ in range(20):
                assert aude.get("/v1/environment")["version"] == 1
            assert time.monotonic() - begun < 10
        until = time.monotonic() + 30  # a body is given up after 10 s, a handshake after 5
        ended = [False] * len(slow)

        def wait(place: int) -> None:
            with contextlib.suppress(OSError):
                slow[place].settimeout(max(0.1, until - time.monotonic()))
                while slow[place].recv(65536):
                    pass
                ended[place] = True

        bodies = [place for place in range(len(slow)) if place % 2 or (place // 2) % 2 == 0]
        threads = [threading.Thread(target=wait, args=(place,)) for place in bodies]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(ended) >= len(bodies) * 0.9, "by a problem or without: the connection is over"
    finally:
        for one in slow:
            one.close()
