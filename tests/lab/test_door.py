"""Customers call from the internet, through the edge, with their own certificates; nobody else is heard."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ringfort.control.client import CallRefusedError, Client, Endpoint
from ringfort.control.errors import ControlError
from ringfort.environment.load import load_text
from ringfort.environment.model import Tls
from ringfort.errors import DeclarationError
from ringfort.identity.bundle import Bundle
from ringfort.identity.store import read_credential
from ringfort.kernel import netns
from ringfort.lab import customers
from ringfort.lab.authority import Authority, key_file, operator_holder, service_holder
from ringfort.lab.client import Outcome, call
from ringfort.lab.deploying import ordered
from ringfort.lab.lab import Lab
from ringfort.lab.plane import Plane
from ringfort.proof.claims import verify
from tests.control.running import customer_key
from tests.lab.calls import host
from tests.lab.running import running

DOOR = """
trust-domain: lab.example
internet: {bogons-except: [198.51.100.0/24, 203.0.113.0/24]}
control: {controller: controller, customers: customers, door: door}
sites:
  north:
    blocks: [10.10.0.0/16]
    providers:
      alpha: {networks: [198.51.100.0/28]}
    routers: [{name: r1, machine: core-1}, {name: r2, machine: core-2}]
    segments:
      edge: {tier: edge, networks: [10.10.1.0/24], machine: fabric}
      admin: {tier: administration, networks: [10.10.2.0/24], machine: fabric}
hosts:
  gate: {site: north, segment: edge, services: [door]}
  web: {site: north, segment: edge, services: [app]}
  control: {site: north, segment: admin, services: [controller, customers]}
  desk: {site: north, segment: admin}
  core-1-mgmt: {site: north, segment: admin, manages: [r1]}
  core-2-mgmt: {site: north, segment: admin, manages: [r2]}
  fabric-mgmt: {site: north, segment: admin, manages: [north/edge, north/admin]}
services:
  controller: {protocol: tcp, ports: [9440], tls: mutual}
  customers: {protocol: tcp, ports: [9442], tls: mutual}
  door: {protocol: tcp, ports: [9442]}
  app: {protocol: tcp, ports: [8443], tls: mutual}
flows:
  - {from: "host:desk", to: app}
  - {from: "group:all", to: controller, name: nodes}
  - {from: "host:desk", to: controller, as: [alice, bob], name: operators}
  - {from: internet, to: door}
  - {from: door, to: customers}
published:
  - {service: door, provider: north/alpha, address: 198.51.100.5, port: 9442}
"""
EXAMPLES = Path(__file__).parents[2] / "examples" / "applications"
PUBLIC = Endpoint("198.51.100.5", 9442)
VISITOR = "203.0.113.10"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running(tmp_path_factory.mktemp("door"), DOOR, "door") as made:
        yield made


def bundle(lab: Lab) -> Bundle:
    return Authority(lab.keys).bundle


@pytest.mark.lab
def test_a_customer_calls_from_the_internet_and_its_exact_certificate_is_what_counts(lab: Lab, tmp_path: Path) -> None:
    acme, forged = customer_key(tmp_path, "acme"), customer_key(tmp_path, "forged")
    plane = Plane.of(lab.environment)
    assert plane is not None
    bob = read_credential(key_file(lab.keys, operator_holder("bob", "desk")))
    here = Endpoint(str(lab.environment.hosts["control"].addresses[0]), 9440)
    with netns.inside(plane.place("desk")), Client.platform(here, bob, bundle(lab)) as client:
        client.call("POST", "/v1/customers", {"name": "acme", "certificate": acme.text}, reason="CONTRACT-1")
    with lab.inside("visitor"), Client.customer(PUBLIC, acme.pem, acme.key, bundle(lab)) as client:
        listed = client.get("/v1/customers/acme/certificates")["certificates"]
        assert [one["thumbprint"] for one in listed] == [acme.thumbprint]
        with pytest.raises(CallRefusedError):
            client.get("/v1/nodes")
        second = {"certificate": customer_key(tmp_path, "second").text}
        client.call("POST", "/v1/customers/acme/certificates", second)
    with netns.inside(plane.place("desk")), Client.platform(here, bob, bundle(lab)) as client:
        record = client.get("/v1/audit/records?limit=1000")["records"][-1]
        record = client.get(f"/v1/audit/records/{record['sequence']}")
        assert record["action"] == "control:customer-certificate:add"
        assert VISITOR in json.dumps(record)
    operator = key_file(lab.keys, operator_holder("bob", "desk"))
    for pem, key in ((forged.pem, forged.key), (operator, operator)):
        with (
            lab.inside("visitor"),
            Client.customer(PUBLIC, pem, key, bundle(lab)) as client,
            pytest.raises(ControlError),
        ):
            client.get("/v1/customers/acme/certificates")


@pytest.mark.lab
def test_both_example_applications_are_deployed_from_the_internet_by_their_customers(lab: Lab) -> None:
    plane = Plane.of(lab.environment)
    assert plane is not None
    assert customers.ensure(plane, ["umbrella", "globex"]) == ("umbrella", "globex")
    assert customers.ensure(plane, ["umbrella", "globex"]) == ()
    for name, application in (("umbrella", "guestbook"), ("globex", "hello")):
        done = ordered(plane, customers.of(plane, name), ["deploy", str(EXAMPLES / application), "--format", "json"])
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["deployment"] == 1
    stolen = ordered(plane, customers.of(plane, "globex"), ["application", "show", "guestbook"])
    assert (stolen.returncode, "not-found" in stolen.stderr) == (1, True), stolen


@pytest.mark.lab
def test_inside_only_the_door_reaches_the_place_where_customers_are_heard(lab: Lab) -> None:
    address = str(lab.environment.hosts["control"].addresses[0])
    door = service_holder("door", "gate")
    assert call(lab, host("gate"), address, 9442, tls=Tls.MUTUAL, holder=door).outcome is Outcome.ADMITTED
    stolen = call(lab, host("web"), address, 9442, tls=Tls.MUTUAL, holder=door)
    assert stolen.outcome is not Outcome.ADMITTED


@pytest.mark.lab
def test_the_claims_hold_with_the_door(lab: Lab) -> None:
    documents, checks = lab.read_back()
    assert [check.service for check in checks["gate"]] == ["door"]
    assert {check.service for check in checks["control"]} == {"controller", "customers"}
    assert verify(lab.environment, documents, checks).exit_code == 0


@pytest.mark.parametrize(
    ("before", "after", "code"),
    [
        ("  - {from: door, to: customers}\n", "", "door-leads-nowhere"),
        ("door: {protocol: tcp, ports: [9442]}", "door: {protocol: tcp, ports: [9442], tls: server}", "door-reads"),
        ("ports: [9442], tls: mutual}", "ports: [9442], tls: server}", "control-without-mutual-tls"),
    ],
)
def test_a_door_that_would_be_none_is_refused(before: str, after: str, code: str) -> None:
    assert before in DOOR
    with pytest.raises(DeclarationError) as refused:
        load_text("environment: door\n" + DOOR.replace(before, after))
    assert code in {problem.code for problem in refused.value.problems}
