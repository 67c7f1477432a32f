"""Whatever is sent: a clear problem document, bounded memory and time, never a traceback."""

from __future__ import annotations

import json
import resource
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from ringfort.control import bodies, connections, rates
from ringfort.control.client import CallRefusedError
from ringfort.identity.names import Role
from ringfort.identity.tls import client_context
from tests.control.described import faults_of
from tests.control.running import REPORT, Ground, Running, running

TOKEN = "/v1/enrolment-tokens"
FORM = {"node": "web-1", "site": "north", "addresses": ["127.0.0.1"]}


@contextmanager
def speaking(controller: Running, role: Role = Role.OPERATOR, name: str = "nora") -> Iterator[ssl.SSLSocket]:
    """A connection of somebody who is known, to write anything to."""
    ground = controller.ground
    context = client_context(ground.credential(role, name), ground.store.bundle())
    with (
        socket.create_connection((controller.platform.host, controller.platform.port), timeout=20) as plain,
        context.wrap_socket(plain) as tls,
    ):
        yield tls


def answered(tls: ssl.SSLSocket) -> tuple[int, dict[str, Any]]:
    """Status and problem of the answer."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = tls.recv(65536)
        assert piece, f"no answer: {data!r}"
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    while len(body) < int(fields[b"content-length"]):
        body += tls.recv(65536)
    assert fields[b"content-type"].startswith(b"application/problem+json"), head
    assert b"Traceback" not in body
    assert b".py" not in body
    return int(head.split()[1]), json.loads(body)


def post(path: str, body: bytes, *headers: str, key: str = "a-key-of-its-own") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: controller", f"Content-Length: {len(body)}", "Ringfort-Ticket: T-1"]
    lines += ["Content-Type: application/json", f"Idempotency-Key: {key}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "not-json"),
        (b"", 400, "not-json"),
        (b"\xff\xfe", 400, "not-json"),
        (b"[" * 50_000, 400, "not-json"),
        (b"null", 422, "invalid"),
        (b"[]", 422, "invalid"),
        (json.dumps({**FORM, "colour": "red"}).encode(), 422, "invalid"),
        (json.dumps({**FORM, "node": "../../etc"}).encode(), 422, "invalid"),
        (json.dumps({**FORM, "node": "x" * 5000}).encode(), 422, "invalid"),
        (json.dumps({**FORM, "addresses": []}).encode(), 422, "invalid"),
        (json.dumps({**FORM, "addresses": ["10.0.0.300"]}).encode(), 422, "invalid"),
        (json.dumps({**FORM, "minutes": 10**30}).encode(), 422, "invalid"),
        (json.dumps({**FORM, "site": "nowhere"}).encode(), 422, "site-unknown"),
        (json.dumps({**FORM, "addresses": ["8.8.8.8"]}).encode(), 422, "identity-address-outside-site"),
    ],
)
def test_a_body_that_is_not_what_the_call_takes(controller: Running, body: bytes, status: int, code: str) -> None:
    with speaking(controller) as tls:
        tls.sendall(post(TOKEN, body))
        got, problem = answered(tls)
    assert (got, problem["type"].rpartition("/")[2]) == (status, code)
    assert problem["status"] == status
    assert problem["detail"]
    assert faults_of("POST", TOKEN, got, "application/problem+json", json.dumps(problem).encode()) == []


def test_an_unknown_field_is_named_and_no_value_is_echoed(controller: Running) -> None:
    with speaking(controller) as tls:
        tls.sendall(post(TOKEN, json.dumps({**FORM, "password": "sesame"}).encode()))
        _, problem = answered(tls)
    assert problem["faults"] == [{"pointer": "/password", "detail": "Extra inputs are not permitted"}]
    assert "sesame" not in json.dumps(problem)


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (b"GET /v1/nodes HTTP/1.1\r\nHost: x\r\n\r\n".replace(b"nodes", b"no-such-thing"), 404, "not-found"),
        (b"GET /v1/nodes/..%2f..%2fetc HTTP/1.1\r\nHost: x\r\n\r\n", 404, "not-found"),
        (b"DELETE /v1/nodes HTTP/1.1\r\nHost: x\r\n\r\n", 405, "method-unknown"),
        (b"GET /v1/nodes?colour=red HTTP/1.1\r\nHost: x\r\n\r\n", 422, "invalid"),
        (b"GET /v1/events?limit=many HTTP/1.1\r\nHost: x\r\n\r\n", 422, "invalid"),
        (b"GET /v1/events?limit=1&limit=2 HTTP/1.1\r\nHost: x\r\n\r\n", 422, "invalid"),
        (b"NONSENSE\r\n\r\n", 400, "http-malformed"),
        (b"GET / HTTP/9.9\r\n\r\n", 400, "http-malformed"),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n", 400, "http-malformed"),
        (b"GET /v1/nodes HTTP/1.1\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", 400, "http-malformed"),
        (post(TOKEN, b"{}", "Content-Encoding: gzip"), 415, "encoding-unsupported"),
        (post(TOKEN, b"{}").replace(b"application/json", b"text/plain"), 415, "media-type"),
        (post(TOKEN, b"{}", key="short"), 400, "idempotency-key-missing"),
        (post(TOKEN, b"{}").replace(b"T-1", b"x" * 600), 400, "reason-unreadable"),
    ],
)
def test_a_request_that_is_not_one_of_ours(controller: Running, request_: bytes, status: int, code: str) -> None:
    with speaking(controller, name="nora") as tls:
        tls.sendall(request_)
        got, problem = answered(tls)
    assert (got, problem["type"].rpartition("/")[2]) == (status, code)


def test_a_gigabyte_is_refused_unread(controller: Running) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with speaking(controller) as tls:
        tls.sendall(post("/v1/environment/publications", b"").replace(b"Length: 0", b"Length: 1073741824"))
        status, problem = answered(tls)
    assert (status, problem["type"].rpartition("/")[2]) == (413, "too-large")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024


def test_a_gigabyte_in_pieces_of_no_told_length_is_cut_off(controller: Running) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    head = post(TOKEN, b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    sent, begun = 0, time.monotonic()
    with speaking(controller) as tls:
        tls.sendall(head)
        piece = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        try:
            while sent < 2**30:
                tls.sendall(piece)
                sent += len(piece)
        except OSError:
            pass  # the connection was ended: nobody reads any more
    assert sent < 2**30
    assert time.monotonic() - begun < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024


def test_a_slow_body_is_given_up(controller: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "SECONDS", 0.5)
    with speaking(controller) as tls:
        tls.sendall(post(TOKEN, b"x" * 100)[:-90])
        begun = time.monotonic()
        status, problem = answered(tls)
    assert (status, problem["type"].rpartition("/")[2]) == (408, "too-slow")
    assert time.monotonic() - begun < 5


def test_a_slow_head_and_an_idle_connection_are_given_up(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "IDLE_SECONDS", 1.0)
    with running(ground, "controller-3") as controller, speaking(controller) as tls:
        tls.sendall(b"GET /v1/nodes HTTP/1.1\r\nHost: ")
        begun = time.monotonic()
        assert tls.recv(100) == b""
        assert time.monotonic() - begun < 10


def test_plaintext_and_half_a_handshake_harm_nobody(controller: Running) -> None:
    with socket.create_connection((controller.platform.host, controller.platform.port), timeout=20) as plain:
        plain.sendall(b"GET /v1/nodes HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"HTTP" not in plain.recv(100)
    with socket.create_connection((controller.platform.host, controller.platform.port), timeout=20) as plain:
        plain.sendall(b"\x16\x03\x01\x02\x00\x01")
    assert controller.operator("nora").get("/v1/nodes")["nodes"] is not None


def test_a_report_of_too_many_events_is_refused(controller: Running) -> None:
    node, _ = controller.enrol("web-20")
    event = {
        "key": "k", "at": "2026-11-24T10:00:00Z", "kind": "drift", "severity": "alert", "subject": "router-filter:r1",
    }  # fmt: skip
    many = {**REPORT, "events": [{**event, "key": str(number)} for number in range(201)]}
    with pytest.raises(CallRefusedError) as refused:
        node.call("POST", "/v1/nodes/web-20/reports", many)
    assert (refused.value.status, refused.value.code) == (422, "invalid")
    answer = node.call("POST", "/v1/nodes/web-20/reports", {**REPORT, "events": [event, event]})
    assert answer["events"] == 1
    assert node.call("POST", "/v1/nodes/web-20/reports", {**REPORT, "events": [event]})["events"] == 0


def test_too_many_changes_are_refused_until_later(controller: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "BURST", 3.0)
    monkeypatch.setattr(rates, "EACH_SECOND", 2.0)
    node, _ = controller.enrol("eager")
    answers: list[object] = []
    for _ in range(20):
        try:
            answers.append(node.call("POST", "/v1/nodes/eager/reports", REPORT)["events"])
        except CallRefusedError as refused:
            answers.append((refused.status, refused.code))
    assert set(answers) == {0, (429, "too-many")}
    time.sleep(1.0)
    node.call("POST", "/v1/nodes/eager/reports", REPORT)


def test_a_caller_that_leaves_amid_a_change_finds_it_done(controller: Running) -> None:
    aude = controller.operator("aude")
    with speaking(controller) as tls:
        tls.sendall(post(TOKEN, json.dumps({**FORM, "node": "left-behind"}).encode(), key="left-behind-key"))
    until = time.monotonic() + 5
    while True:
        objects = [r["object"] for r in aude.get("/v1/audit/records?object=node/left-behind")["records"]]
        if objects or time.monotonic() > until:
            break
        time.sleep(0.05)
    assert objects == ["node/left-behind"]
    again = controller.operator("nora").call(
        "POST", TOKEN, {**FORM, "node": "left-behind"}, reason="T-1", key="another-key"
    )
    assert again["node"] == "left-behind"
