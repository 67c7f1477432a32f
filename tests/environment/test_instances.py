"""A customer's instance that the platform would trust, and a hypervisor worth breaking into, are refused in place."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ringfort.environment.load import load_text
from ringfort.environment.serialise import SerialisedError, from_bytes, to_bytes
from ringfort.environment.topology import device_of, devices, instances, machine_of, node_host
from tests.environment.declare import only_problem, problems_of

GOOD = """\
environment: guests
trust-domain: guests.example
control: {controller: controller}
backbone: {networks: [10.255.0.0/24]}
sites:
  north:
    blocks: [10.10.0.0/16]
    routers: [{name: r1, machine: core}]
    segments:
      admin: {tier: administration, networks: [10.10.1.0/24], machine: fabric}
      metal: {tier: hypervisor, networks: [10.10.2.0/24], machine: fabric}
      guests: {tier: customer, networks: [10.10.3.0/24], machine: fabric}
      edge: {tier: edge, networks: [10.10.4.0/24], machine: fabric}
  south:
    blocks: [10.20.0.0/16]
    routers: [{name: r2, machine: core}]
    segments:
      metal: {tier: hypervisor, networks: [10.20.2.0/24], machine: fabric}
hosts:
  acme: {site: north, segment: guests, hypervisor: metal-1, customer: acme, count: 2, services: [shop]}
  globex: {site: north, segment: guests, hypervisor: metal-1, customer: globex}
  metal: {site: north, segment: metal, count: 2}
  far: {site: south, segment: metal}
  control: {site: north, segment: admin, services: [controller]}
  desk: {site: north, segment: admin, machine: office}
  core-mgmt: {site: north, segment: admin, manages: [r1, r2]}
  fabric-mgmt: {site: north, segment: admin, manages: [north/admin]}
services:
  shop: {protocol: tcp, ports: [8080], tls: mutual}
  controller: {protocol: tcp, ports: [9443], tls: mutual}
flows:
  - {from: "group:all", to: controller, name: nodes}
  - {from: "host:desk", to: controller, as: [alice], name: operators}
  - {from: "customer:globex", to: shop}
"""


def test_an_instance_is_on_its_hypervisors_machine_behind_a_sandbox() -> None:
    environment = load_text(GOOD)
    assert instances(environment) == {"metal-1": ("acme-1", "acme-2", "globex")}
    sandbox = device_of(environment.hosts["acme-1"])
    assert str(sandbox) == "sandbox:acme-1"
    assert machine_of(environment, sandbox) == "metal-1"
    assert sandbox in devices(environment)
    assert "host:acme-1" not in map(str, devices(environment))


def test_the_hypervisors_node_is_no_guest_and_no_guest_is_among_all_hosts() -> None:
    environment = load_text(GOOD)
    assert node_host(environment, "metal-1") == "metal-1"
    assert not {"acme-1", "acme-2", "globex"} & set(environment.flows["nodes"].callers)


@pytest.mark.parametrize(
    ("code", "old", "new"),
    [
        ("unknown-hypervisor", "hypervisor: metal-1, customer: globex", "hypervisor: §metol-1, customer: globex"),
        ("unknown-hypervisor", "hypervisor: metal-1, customer: globex", "hypervisor: §metal, customer: globex"),
        ("nested-instance", "hypervisor: metal-1, customer: globex", "hypervisor: §acme-1, customer: globex"),
        ("hypervisor-elsewhere", "hypervisor: metal-1, customer: globex", "hypervisor: §far, customer: globex"),
        (
            "instance-without-customer",
            "{site: north, segment: guests, hypervisor: metal-1, customer: acme, ",
            "{site: north, segment: guests, hypervisor: §metal-1, ",
        ),
        ("instance-outside-customer", "globex: {site: north, segment: guests", "globex: {site: north, segment: §edge"),
        ("instance-machine", "customer: globex}", "customer: globex, machine: §blade}"),
        ("instance-controls", "services: [shop]", "services: [shop, §controller]"),
        ("hypervisor-segment", "hypervisor: metal-1, customer: globex", "hypervisor: desk, customer: globex"),
        ("hypervisor-of-customer", "segment: metal, count: 2}", "segment: metal, count: 2, customer: §acme}"),
        ("hypervisor-guards", "  metal: {site: north, segment: metal, count: 2}",
         "  §metal: {site: north, segment: metal, count: 2, machine: core}"),
        ("hypervisor-guards", "  metal: {site: north, segment: metal, count: 2}",
         "  §metal: {site: north, segment: metal, count: 2, machine: office}"),
        ("customer-among-hypervisors", "far: {site: south, segment: metal}",
         "far: {site: south, segment: §metal, customer: acme}"),
        ("instance-operators", '{from: "customer:globex", to: shop}',
         '{from: "customer:globex", to: shop, as: §[alice]}'),
        ("instance-calls-platform", '  - {from: "customer:globex", to: shop}',
         '  - §{from: "customer:globex", to: shop}\n  - {from: "customer:globex", to: controller}'),
    ],
)  # fmt: skip
def test_what_would_make_a_guest_dangerous_is_refused(code: str, old: str, new: str) -> None:
    assert GOOD.count(old) == 1
    text = GOOD.replace(old, new)
    if code == "instance-calls-platform":
        text = text.replace("§", "").replace(
            '  - {from: "customer:globex", to: c', '  - §{from: "customer:globex", to: c'
        )
    if code == "hypervisor-segment":
        text = text.replace("desk: {site: north, segment: admin", "desk: {site: north, segment: §admin")
    if code == "instance-controls":
        text = text.replace("segment: admin, services: [controller]}", "segment: admin}")
        _is_among(code, text.replace("§", ""))
        return
    assert only_problem(text).code == code


def _is_among(code: str, text: str) -> None:
    assert code in {problem.code for problem in problems_of(text)}


def test_a_signed_environment_with_an_impossible_instance_is_refused() -> None:
    environment = load_text(GOOD)
    assert from_bytes(to_bytes(environment)) == environment
    one = environment.hosts["acme-1"]
    impossible = (
        replace(one, hypervisor="acme-2"),
        replace(one, hypervisor="nobody"),
        replace(one, machine="blade"),
        replace(one, customer=""),
    )
    for host in impossible:
        with pytest.raises(SerialisedError):
            from_bytes(to_bytes(replace(environment, hosts={**environment.hosts, one.name: host})))
