"""What the customers' door hands on: the address that a customer calls from is the one that stands in front."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfort.control import proxied
from ringfort.control.errors import ControlError
from tests.control.running import CustomerKey, Ground, Running, customer_key, running

VISITOR = "203.0.113.77"


def header(source: str) -> bytes:
    """What the door puts in front."""
    return proxied.header(source, "2001:db8::5" if ":" in source else "198.51.100.5")


@pytest.fixture(scope="module")
def doored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, CustomerKey]]:
    """A controller behind a door, and a customer."""
    ground = Ground(tmp_path_factory.mktemp("doored"))
    settings = ground.settings()
    settings.write_text(settings.read_text().replace("[listen]", '[listen]\ndoor = ["127.0.0.1:0"]'))
    with running(ground) as controller:
        acme = customer_key(ground.directory, "acme")
        form = {"name": "acme", "certificate": acme.text}
        controller.operator("sophie").call("POST", "/v1/customers", form, reason="CONTRACT-1")
        yield controller, acme


def ask(
    doored: tuple[Running, CustomerKey], front: bytes, *, pieces: bool = False, call: bytes = b"GET", body: bytes = b""
) -> bytes:
    """What the customer is answered; b"" if nothing is."""
    controller, acme = doored
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(acme.pem, acme.key)
    head = b"%b /v1/customers/acme/certificates HTTP/1.1\r\nHost: x\r\nIdempotency-Key: one-and-only\r\n" % call
    head += b"Content-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body)
    raw = socket.create_connection(controller.controller.door_addresses[0], 10)
    for part in [front[at : at + 1] for at in range(len(front))] if pieces else [front]:
        raw.sendall(part)
    with context.wrap_socket(raw, do_handshake_on_connect=False) as connection:
        try:
            connection.do_handshake()
            connection.sendall(head + body)
            return b"".join(iter(lambda: connection.recv(65536), b""))
        except OSError:
            return b""


def test_the_header_is_the_one_of_the_specification() -> None:
    """Section 2.2: signature, version and command, family and transport, length, both addresses, both ports."""
    assert header(VISITOR) == (
        b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes([203, 0, 113, 77, 198, 51, 100, 5]) + bytes(4)
    )


@pytest.mark.parametrize("source", [VISITOR, "2001:db8::77"])
def test_a_customer_is_heard_at_the_address_that_stands_in_front(
    doored: tuple[Running, CustomerKey], source: str
) -> None:
    assert b"200 OK" in ask(doored, header(source))
    assert b"200 OK" in ask(doored, header(source), pieces=True)


def test_the_record_of_a_change_tells_from_where_it_came(doored: tuple[Running, CustomerKey], tmp_path: Path) -> None:
    more = json.dumps({"certificate": customer_key(tmp_path, "more").text}).encode()
    assert b"201 Created" in ask(doored, header(VISITOR), call=b"POST", body=more)
    records = doored[0].operator("aude").get("/v1/audit/records?limit=1000")["records"]
    record = doored[0].operator("aude").get(f"/v1/audit/records/{records[-1]['sequence']}")
    assert record["action"] == "control:customer-certificate:add"
    assert VISITOR in json.dumps(record)


@pytest.mark.parametrize(
    "front",
    [
        b"",
        b"PROXY TCP4 203.0.113.77 198.51.100.5 40000 9442\r\n",
        header(VISITOR).replace(b"QUIT", b"QUIP"),
        proxied.SIGNATURE + b"\x20\x00\x00\x00",
        proxied.SIGNATURE + b"\x21\x11\xff\xff" + b"x" * 65535,
        proxied.SIGNATURE + b"\x21\x11\x00\x02xx",
    ],
)
def test_without_a_true_header_nobody_is_heard(doored: tuple[Running, CustomerKey], front: bytes) -> None:
    opening = b"\x16\x03\x01\x00\x10" + bytes(40)  # as TLS begins; there would be an alert
    at = doored[0].controller.door_addresses[0]
    with socket.create_connection(at, 10) as raw, contextlib.suppress(ConnectionError):
        raw.sendall(front + opening)
        assert raw.recv(100) == b""
    assert b"200 OK" in ask(doored, header(VISITOR)), "others are"


def test_who_says_nothing_is_gone_soon(doored: tuple[Running, CustomerKey], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxied, "HEADER_SECONDS", 0.3)
    with socket.create_connection(doored[0].controller.door_addresses[0], 10) as silent:
        silent.sendall(proxied.SIGNATURE[:5])
        begun = time.monotonic()
        assert silent.recv(1) == b""
        assert time.monotonic() - begun < 5.0


def test_only_loopback_may_say_where_others_are(tmp_path: Path) -> None:
    ground = Ground(tmp_path)
    settings = ground.settings()
    settings.write_text(settings.read_text().replace("[listen]", '[listen]\ndoor = ["0.0.0.0:0"]'))
    with pytest.raises(ControlError) as refused, running(ground):
        pass
    assert refused.value.code == "address-not-loopback"


@given(st.binary(min_size=proxied.HEAD, max_size=proxied.HEAD), st.binary(max_size=64))
def test_any_bytes_are_an_address_or_refused(head: bytes, rest: bytes) -> None:
    try:
        found = proxied.source(head, rest)
    except ValueError:
        return
    assert ip_address(found)
