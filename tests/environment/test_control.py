"""A control plane that could not be trusted, or that some node could not reach, is refused at its place."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ringfort.environment.difference import difference
from ringfort.environment.load import load_text
from ringfort.environment.model import Operator, OperatorRole
from ringfort.environment.serialise import control_in, from_bytes, to_bytes
from ringfort.environment.topology import devices_by_machine, node_host
from ringfort.errors import DeclarationError
from tests.environment.controlled import CONTROLLED

GOOD = f"environment: small{CONTROLLED}"


def refused(text: str) -> set[str]:
    with pytest.raises(DeclarationError) as caught:
        load_text(text)
    return {problem.code for problem in caught.value.problems}


def test_every_machine_has_a_node_that_reaches_the_controller() -> None:
    environment = load_text(GOOD)
    nodes = {machine: node_host(environment, machine) for machine in devices_by_machine(environment)}
    assert nodes == {
        "core-1": "core-1-mgmt", "core-2": "core-2-mgmt", "fabric": "fabric-mgmt", "app": "app", "control": "control",
        "watch": "watch", "desk": "desk",
    }  # fmt: skip
    managed = [str(device) for device in devices_by_machine(environment)["fabric"]]
    assert managed == ["switch:north/apps", "switch:north/admin", "host:fabric-mgmt"]


def test_operators_call_with_certificates_of_their_own() -> None:
    flow = load_text(GOOD).flows["operators"]
    assert flow.identities == ("spiffe://lab.example/operator/alice", "spiffe://lab.example/operator/bob")
    assert flow.callers == ("desk",)


def test_controllers_and_witnesses_are_known_as_such() -> None:
    services = load_text(GOOD).services
    assert services["controller"].identity == "spiffe://lab.example/controller/controller"
    assert services["witness"].identity == "spiffe://lab.example/witness/witness"
    assert services["app"].identity == "spiffe://lab.example/service/app"


OPERATORS = "witness: witness, operators: {alice: {roles: [auditor, network-operator]}, "
OPERATORS += "sam: {roles: [site-staff], sites: [north]}}}"
WITH_OPERATORS = GOOD.replace("witness: witness}", OPERATORS)


def test_operators_roles_are_declared_and_signed_with_everything_else() -> None:
    environment = load_text(WITH_OPERATORS)
    assert environment.control is not None
    alice, sam = environment.control.operators
    assert alice == Operator("alice", (OperatorRole.AUDITOR, OperatorRole.NETWORK_OPERATOR))
    assert sam == Operator("sam", (OperatorRole.SITE_STAFF,), ("north",))
    text = to_bytes(environment)
    assert from_bytes(text) == environment
    assert control_in(text) == environment.control
    assert control_in(to_bytes(replace(environment, control=None))) is None


def test_a_change_of_roles_is_shown_to_approvers_person_by_person() -> None:
    changes = difference(load_text(GOOD), load_text(WITH_OPERATORS))
    told = {(change.subject, change.attribute): (change.before, change.after) for change in changes.changed}
    assert told["operator alice", "roles"] == ("", "auditor, network-operator")
    assert told["operator sam", "sites"] == ("", "north")


@pytest.mark.parametrize(
    ("before", "after", "code"),
    [
        ("[auditor, network-operator]", "[auditor]", "nobody-publishes"),
        ("sites: [north]", "sites: [nroth]", "unknown-site"),
    ],
)
def test_operators_that_could_not_work_are_refused(before: str, after: str, code: str) -> None:
    assert refused(WITH_OPERATORS.replace(before, after)) == {code}


def test_a_role_that_there_is_not_is_refused() -> None:
    with pytest.raises(DeclarationError):
        load_text(WITH_OPERATORS.replace("site-staff", "emperor"))


def test_the_group_of_all_is_every_host() -> None:
    environment = load_text(GOOD)
    assert set(environment.flows["nodes"].callers) == set(environment.hosts)


@pytest.mark.parametrize(
    ("before", "after", "code"),
    [
        ("controller: controller,", "controller: controler,", "unknown-service"),
        ("witness: witness}", "witness: nobody}", "unknown-service"),
        ("ports: [9440], tls: mutual", "ports: [9440], tls: server", "control-without-mutual-tls"),
        ("ports: [9440], tls: mutual", "ports: [9440, 9445], tls: mutual", "control-without-mutual-tls"),
        ("segment: admin, services: [controller]", "segment: apps, services: [controller]",
         "control-outside-administration"),
        ("  core-1-mgmt: {site: north, segment: admin, manages: [r1]}\n", "", "node-unreachable"),
        ('- {from: "group:all", to: controller, name: nodes}', '- {from: "host:app", to: controller}',
         "node-unreachable"),
        ("manages: [r1]", "manages: [r1, r2]", "machines-differ"),
        ("manages: [r1]", "manages: [r1], machine: other", "machines-differ"),
        ("manages: [r1]", "manages: [r3]", "unknown-device"),
        ("manages: [north/apps, north/admin]", "manages: [north/apps, north/admn]", "unknown-device"),
        ("manages: [r1]", "manages: [r1], services: [app]", "management-shared"),
        ("manages: [r1]", "manages: [r1], customer: acme", "management-shared"),
        ("segment: admin, manages: [r1]", "segment: apps, manages: [r1]", "management-outside"),
        ("ports: [9440], tls: mutual", "ports: [9440], tls: none", "operators-unasked"),
        ("services:\n  app:", "groups: {all: {hosts: [app]}}\nservices:\n  app:", "reserved-name"),
        ("ports: [8443], tls: mutual", "ports: [8443], tls: mutual, identity: spiffe://lab.example/operator/alice",
         "not-an-identity"),
    ],
)  # fmt: skip
def test_what_could_not_be_trusted_or_reached_is_refused(before: str, after: str, code: str) -> None:
    assert before in GOOD
    assert code in refused(GOOD.replace(before, after))
