"""A gateway host's node: from what is deployed and runs to what a visitor gets, without anybody's hand in between."""

from __future__ import annotations

import json
import os
import signal
import ssl
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ringfort.environment.load import load_text
from ringfort.gateway import process, runtime
from ringfort.gateway.material import Kind, RevocationList, in_file
from ringfort.identity.certificates import authority_key_id
from ringfort.identity.store import read_credential
from ringfort.node.gates import gate_from_json, gate_of, gate_to_json
from ringfort.node.membership import lists_file
from ringfort.node.public import read
from tests.control.places import placed
from tests.control.shops import own_certificate
from tests.environment.floated import FLOATED
from tests.node.gated import HOST, World, guard, until, world

ENDPOINTS = """\
  [{name: web, port: 8080, public-name: acme.example, hsts: true},
  {name: own, port: 8081, public-name: own.acme.example, tls: certificate}]
"""


@pytest.fixture(scope="module")
def gated() -> Iterator[World]:
    with world(os.getpid()) as made:
        made.acme.deploy(made.acme.software(endpoints=ENDPOINTS))
        placed(made.acme, 2)
        for place in ("acme-1", "acme-2"):
            made.run(place, f"{place} of version 1")
        yield made


def names(gated: World, count: int = 8) -> set[bytes]:
    return {gated.asked("acme.example")[1].strip() for _ in range(count)}


@pytest.mark.lab
def test_a_name_is_answered_as_soon_as_an_instance_runs(gated: World) -> None:
    until(lambda: gated.asked("acme.example")[0] == 503)  # it has its certificate already
    began = time.monotonic()
    gated.report()
    until(lambda: gated.asked("acme.example")[0] == 200)
    assert time.monotonic() - began < 3
    assert names(gated) == {b"acme-1 of version 1 0", b"acme-2 of version 1 0"}
    with gated.visit("acme.example") as visit:
        visit.sendall(b"GET / HTTP/1.1\r\nHost: acme.example\r\nConnection: close\r\n\r\n")
        assert b"strict-transport-security" in visit.recv(4096)
    assert gated.gateway is not None
    assert gated.gateway.troubles == {HOST: ""}


@pytest.mark.lab
def test_an_update_place_by_place_fails_no_request(gated: World) -> None:
    gated.report()
    until(lambda: names(gated) == {b"acme-1 of version 1 0", b"acme-2 of version 1 0"})
    seen: list[tuple[int, bytes]] = []
    stop = threading.Event()

    def load() -> None:
        while not stop.is_set():
            seen.append(gated.asked("acme.example"))
            time.sleep(0.06)  # one visitor may open 500 connections in 10 s

    visitors = [threading.Thread(target=load) for _ in range(3)]
    for visitor in visitors:
        visitor.start()
    before = process.running(gated.place)
    for place in ("acme-1", "acme-2"):
        gated.report(but={place: "stopping"})
        time.sleep(1.0)
        gated.run(place, f"{place} of version 2")
        gated.report(but={place: "starting"})
        gated.report()
        time.sleep(0.7)
    stop.set()
    for visitor in visitors:
        visitor.join()
    assert {status for status, _ in seen} == {200}
    assert {body.split()[3] for _, body in seen} == {b"1", b"2"}
    assert len(seen) > 50
    until(lambda: names(gated) == {b"acme-1 of version 2 0", b"acme-2 of version 2 0"})
    assert process.running(gated.place) == before, "in the running process"


@pytest.mark.lab
def test_a_customers_own_certificate_is_shown_and_replaced(gated: World) -> None:
    gated.report()
    assert gated.asked("own.acme.example")[0] == 0, "no handshake without a certificate"
    for _ in range(2):
        sent = own_certificate("own.acme.example")
        gated.acme.call("POST", "/public-certificates", sent)
        context = ssl.create_default_context(cadata=sent["chain"])
        until(partial(answers, gated, "own.acme.example", context))
    key = gated.directory / "run/public/own/own.acme.example.pem"
    assert key.stat().st_mode & 0o777 == 0o600
    gated.acme.call("DELETE", "/public-certificates/own.acme.example")
    until(lambda: gated.asked("own.acme.example", context)[0] == 0)
    until(lambda: not key.exists())


def answers(gated: World, name: str, context: ssl.SSLContext) -> bool:
    return gated.asked(name, context)[0] == 200


def killed(gated: World) -> None:
    found = process.running(gated.place)
    assert found is not None
    os.kill(found.pid, signal.SIGKILL)


def put_away(gated: World) -> None:
    for name in ("acme-1", "acme-2"):
        runtime.order(gated.place.socket, f"set server acme.example/{name} state maint")


@pytest.mark.lab
@pytest.mark.parametrize("how", [killed, put_away])
def test_what_somebody_does_to_it_is_put_right_and_told(gated: World, how: Any) -> None:  # noqa: ANN401
    gated.report()
    until(lambda: gated.asked("acme.example")[0] == 200)
    gated.told.clear()
    how(gated)
    until(lambda: gated.told, 10)
    until(lambda: gated.asked("acme.example")[0] == 200)
    assert gated.told == [(HOST, "drift: gateway: it served something else, or nobody")]


@pytest.mark.lab
def test_a_node_that_starts_again_adopts_what_runs(gated: World) -> None:
    gated.report()
    until(lambda: gated.asked("acme.example")[0] == 200)
    before = process.running(gated.place)
    gated.end()
    assert gated.asked("acme.example")[0] == 200
    gated.begin()
    until(lambda: gated.gateway is not None and gated.gateway.troubles == {HOST: ""})
    assert gated.asked("acme.example")[0] == 200
    assert process.running(gated.place) == before


@pytest.mark.lab
def test_a_place_whose_certificate_was_revoked_gets_no_visitors_and_a_renewed_one_does(gated: World) -> None:
    gated.report()
    until(lambda: names(gated) == {b"acme-1 of version 2 0", b"acme-2 of version 2 0"})
    own = read_credential(gated.directory / "acme-1.pem").leaf
    form = {"authority": authority_key_id(own), "serial": f"{own.serial_number:x}", "reason": "stolen"}
    gated.controller.operator("sophie").call("POST", "/v1/revocations", form, reason="stolen")
    until(partial(revoked, gated))
    until(lambda: names(gated) == {b"acme-2 of version 2 0"}, 15)
    guard(gated, "acme-1")
    until(lambda: names(gated) == {b"acme-1 of version 2 0", b"acme-2 of version 2 0"}, 15)


def revoked(gated: World) -> bool:
    """Whether the list that the node has names anybody."""
    gated.learn()
    held = in_file(Kind.LISTS, lists_file(gated.directory / "state" / "identity").read_bytes())
    return any(isinstance(crl, RevocationList) and crl.serials for crl in held)


ROW: dict[str, Any] = {
    "name": "a.example", "customer": "acme", "application": "web", "tls": "off", "hsts": False, "health": "",
    "challenge_port": 0, "certificate": "", "servers": [],
}  # fmt: skip
SERVER = {"name": "s", "address": "10.1.3.2", "port": 8080, "leaving": False}


@pytest.mark.parametrize(
    "bad",
    [
        {"name": "b example"}, {"name": "b.example\n"}, {"customer": "acme ssl"}, {"tls": "none"}, {"health": "/ a"},
        {"servers": [{**SERVER, "name": "s check"}]}, {"servers": [{**SERVER, "address": "10.1.3.2:1 ssl"}]},
        {"servers": [{**SERVER, "port": 0}]}, {"servers": [SERVER, SERVER]}, {"name": "a.example"}, {"servers": None},
        {"tls": "certificate", "certificate": "../../etc/shadow"},
    ],
)  # fmt: skip
def test_what_could_not_stand_in_a_configuration_is_left_out_and_spoils_nothing(bad: dict[str, Any]) -> None:
    found = read({"revision": "r", "endpoints": [ROW, {**ROW, "name": "b.example", **bad}]})
    assert [one.name for one in found.endpoints][:1] == ["a.example"]
    assert len(found.refused) == 1
    assert not found.own


@pytest.mark.parametrize("bad", [None, [], {}, {"revision": 1, "endpoints": []}, {"revision": "r", "endpoints": {}}])
def test_an_answer_that_is_none_is_refused(bad: object) -> None:
    with pytest.raises(ValueError, match="does not say what is public"):
        read(bad)


def test_paths_of_certificates_lead_nowhere_else(tmp_path: Path) -> None:
    found = read({"revision": "r", "endpoints": [{**ROW, "name": "../../x.example"}]})
    assert found.refused.keys() == {"../../x.example"}
    assert not list(tmp_path.iterdir())


def test_a_gateway_host_answers_at_the_addresses_that_float_too() -> None:
    environment = load_text(f"environment: float{FLOATED}")
    gate = gate_of(environment, "gate-1")
    assert gate is not None
    assert gate.addresses == (*environment.hosts["gate-1"].addresses, *environment.floating["gate-n"].addresses)
    assert gate_from_json(json.loads(json.dumps(gate_to_json(gate)))) == gate
    assert gate_of(environment, "control") is None
