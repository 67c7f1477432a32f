"""What the gateway's hosts are told is what is deployed and runs at their site; what they ask for, nobody else gets."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509
from sqlalchemy import select

from ringfort.control.application_tables import public_certificates
from ringfort.control.client import CallRefusedError, Client
from ringfort.control.owners import Owners
from ringfort.environment.load import load_text
from ringfort.gateway.acme import files
from ringfort.identity.certificates import new_key
from ringfort.identity.names import Role
from tests.control.places import beat, placed
from tests.control.publications import Approvers
from tests.control.running import DOMAIN, Ground, Running, csr, running
from tests.control.shops import Customer, customer, own_certificate
from tests.environment.gatewayed import GATEWAYED

ACME = {
    "plain: gateway-plain}": "plain: gateway-plain, acme: acme, acme-name: certificates.acme.example}",
    "hosts:\n": "hosts:\n  certifier: {site: north, segment: admin, services: [acme]}\n",
    "\nservices:\n": "\nservices:\n  acme: {protocol: tcp, ports: [8443], tls: mutual}\n",
    "\nflows:\n": "\nflows:\n  - {from: gateway, to: acme}\n  - {from: acme, to: gateway-plain}\n",
}
TEXT = f"environment: gate{GATEWAYED}".replace("gate.example", DOMAIN)
for _before, _after in ACME.items():
    TEXT = TEXT.replace(_before, _after, 1)
ENVIRONMENT = load_text(TEXT)
EDGE = "/v1/nodes/gate/edge"
ENDPOINTS = """\
  [{name: web, port: 8080, public-name: acme.example, hsts: true},
  {name: own, port: 8081, public-name: own.acme.example, tls: certificate},
  {name: inside, port: 8082, public-name: inside.acme.example, tls: passthrough, challenge-port: 8083},
  {name: unseen, port: 8084}]
health: {path: /health}
"""


@dataclass
class World:
    """A controller with a gateway in force, its node and a hypervisor's; and a customer with an application."""

    controller: Running
    gate: Client
    metal: Client
    acme: Customer

    def edge(self) -> dict[str, dict[str, Any]]:
        found = {one["name"]: one for one in self.gate.get(EDGE)["endpoints"]}
        certificates = found.pop("certificates.acme.example")
        assert [server["name"] for server in certificates["servers"]] == ["certifier"]
        return found

    def leaving(self) -> dict[str, bool]:
        return {one["name"]: one["leaving"] for one in self.edge()["acme.example"]["servers"]}

    def report(self, state: str = "running", **versions: int) -> None:
        """What all instances are, as their node says."""
        nora = self.controller.operator("nora")
        said = [
            {
                "instance": one["instance"], "state": state, "settings": 0,
                "deployment": versions.get(one["instance"], one["deployment"]),
            }
            for one in nora.get("/v1/instances")["instances"]
        ]  # fmt: skip
        beat(self.metal, "metal-1", *said)


def software(shop: Customer, text: bytes = b"1") -> bytes:
    return shop.software(text, name="web", endpoints=ENDPOINTS)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    ground = Ground(tmp_path_factory.mktemp("edge"))
    files.create(ground.directory / "public", "tests", ["acme.example"], b"a passphrase for tests", datetime.now(UTC))
    path = ground.settings()
    path.write_text(f'public_authority = "public"\n{path.read_text()}')
    with running(ground) as controller:
        publication = Approvers(ground, environment=ENVIRONMENT).first()
        controller.operator("nora").call("POST", "/v1/environment/publications", publication, reason="CHG-1")
        gate, _ = controller.enrol("gate")
        metal, _ = controller.enrol("metal-1")
        acme = customer(controller, ground.directory, "acme")
        acme.deploy(software(acme))
        beat(metal, "metal-1")
        placed(acme, 2)
        yield World(controller, gate, metal, acme)


def test_each_public_name_is_told_with_the_places_where_it_is_answered(world: World) -> None:
    world.report()
    edge = world.edge()
    assert list(edge) == ["acme.example", "own.acme.example", "inside.acme.example"], "what has no public name is none"
    web, own, inside = edge.values()
    assert web == {
        "name": "acme.example", "customer": "acme", "application": "web", "tls": "platform", "hsts": True,
        "health": "/health", "challenge_port": 0, "certificate": "",
        "servers": [
            {"name": place, "address": str(ENVIRONMENT.hosts[place].addresses[0]), "port": 8080, "leaving": False}
            for place in ("acme-1", "acme-2")
        ],
    }  # fmt: skip
    assert (own["tls"], own["health"], [one["port"] for one in own["servers"]]) == ("certificate", "", [8081, 8081])
    assert (inside["tls"], inside["challenge_port"]) == ("passthrough", 8083)


def test_an_instance_gets_visitors_while_it_runs_what_it_is_told_and_only_then(world: World) -> None:
    world.report()
    assert world.leaving() == {"acme-1": False, "acme-2": False}
    for state in ("starting", "unhealthy", "stopped"):
        world.report(state)
        assert world.leaving() == {"acme-1": True, "acme-2": True}
    world.report()
    nora = world.controller.operator("nora")
    one = next(i for i in nora.get("/v1/instances")["instances"] if i["place"] == "acme-1")["instance"]
    nora.call("POST", f"/v1/instances/{one}/stop", reason="T-1")
    assert world.leaving() == {"acme-1": True, "acme-2": False}, "held"
    nora.call("POST", f"/v1/instances/{one}/start", reason="T-1")
    assert world.leaving() == {"acme-1": False, "acme-2": False}
    world.acme.deploy(software(world.acme, b"2"))
    assert True in world.leaving().values(), "one at least is told another version"
    world.report()
    world.acme.call("POST", "/applications/web/stop")
    assert world.leaving() == {"acme-1": True, "acme-2": True}
    world.acme.call("POST", "/applications/web/start")
    world.report()


def test_a_gateway_host_that_waits_hears_of_a_change_at_once(world: World) -> None:
    world.report()
    known = world.gate.get(EDGE)["revision"]
    heard: list[float] = []

    def wait() -> None:
        answer = world.gate.get(f"{EDGE}?known={known}")
        assert answer["revision"] != known
        heard.append(time.monotonic())

    waiting = threading.Thread(target=wait)
    waiting.start()
    time.sleep(0.3)
    assert heard == []
    began = time.monotonic()
    world.report("unhealthy")
    waiting.join(10)
    assert heard[0] - began < 2
    world.report()


def test_a_customers_own_certificate_is_verified_sealed_and_opened_for_the_gateway_alone(world: World) -> None:
    sent = own_certificate("own.acme.example")
    taken = world.acme.call("POST", "/public-certificates", sent)["certificates"]
    assert [(one["name"], one["private"]) for one in taken] == [("own.acme.example", True)]
    endpoint = world.edge()["own.acme.example"]
    assert endpoint["certificate"] == taken[0]["digest"]
    pem = world.gate.fetch(f"{EDGE}/certificates/own.acme.example")
    assert pem.decode().endswith(sent["key"])
    with world.controller.controller.database.reading() as connection:
        row = connection.execute(select(public_certificates)).one()
    assert not any(line.encode() in row.sealed_key for line in sent["key"].splitlines()[1:-1])
    other, _ = world.controller.enrol("elsewhere")
    for client, path in ((world.metal, EDGE), (other, EDGE), (world.metal, EDGE.replace("gate", "metal-1"))):
        for what in ("", "/certificates/own.acme.example"):
            with pytest.raises(CallRefusedError) as refused:
                client.fetch(path + what)
            assert refused.value.code in ("forbidden", "not-the-gateway")
    with pytest.raises(CallRefusedError) as refused:
        world.acme.call("POST", "/public-certificates", {**sent, "key": own_certificate("own.acme.example")["key"]})
    assert refused.value.code == "certificate-key-mismatch"
    world.acme.call("DELETE", "/public-certificates/own.acme.example")
    assert world.edge()["own.acme.example"]["certificate"] == ""


def test_another_customers_certificate_for_a_name_changes_nothing_of_it(world: World) -> None:
    globex = customer(world.controller, world.controller.ground.directory, "globex")
    globex.call("POST", "/public-certificates", own_certificate("own.acme.example"))
    assert world.edge()["own.acme.example"]["certificate"] == ""
    with pytest.raises(CallRefusedError) as refused:
        world.gate.fetch(f"{EDGE}/certificates/own.acme.example")
    assert refused.value.code == "not-found"


def test_the_platforms_certificates_are_for_names_that_ask_for_them_and_keys_of_the_gateway(world: World) -> None:
    key = new_key()
    made = world.gate.call("POST", f"{EDGE}/certificates/acme.example", {"csr": csr(key)})
    leaf = x509.load_pem_x509_certificate(made["chain"].encode())
    assert leaf.public_key() == key.public_key()
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["acme.example"]
    for name in ("own.acme.example", "inside.acme.example", "nobodys.acme.example"):
        with pytest.raises(CallRefusedError) as refused:
            world.gate.call("POST", f"{EDGE}/certificates/{name}", {"csr": csr(key)})
        assert refused.value.code == "not-found"
    with pytest.raises(CallRefusedError) as refused:
        world.metal.call("POST", "/v1/nodes/metal-1/edge/certificates/acme.example", {"csr": csr(key)})
    assert refused.value.code == "not-the-gateway"


def test_the_acme_server_alone_is_told_whose_a_name_is_and_has_a_name_of_its_own(world: World) -> None:
    acme = world.controller.client(Role.SERVICE, "acme")
    owners = Owners(acme)
    assert owners.customer_of("inside.acme.example") == "acme"
    assert owners.customer_of("nobodys.acme.example") is None
    others = {world.controller.client(Role.SERVICE, "guests"): "not-the-acme-server", world.gate: "forbidden"}
    others[world.controller.operator("nora")] = "forbidden"
    for client, code in others.items():
        with pytest.raises(CallRefusedError) as refused:
            client.get("/v1/public-names/inside.acme.example")
        assert refused.value.code == code
    made = world.gate.call("POST", f"{EDGE}/certificates/certificates.acme.example", {"csr": csr(new_key())})
    assert "BEGIN CERTIFICATE" in made["chain"]
