"""Instances and their sandboxes: proved as compiled, refuted by every sandbox that is not what it should be."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from ipaddress import ip_address
from typing import Any

import pytest

from ringfort.environment.load import load_text
from ringfort.environment.model import Environment
from ringfort.environment.topology import Device, DeviceKind, devices
from ringfort.network.compile import compile_environment
from ringfort.network.identity import identity_checks
from ringfort.proof.addresses import key_of
from ringfort.proof.claims import verify
from ringfort.proof.explain import Ask, explain
from ringfort.proof.layers import SandboxLayer
from ringfort.proof.reading import read_layers
from ringfort.proof.verdict import Decision, Outcome, Refutation, Verdict

Json = dict[str, Any]
Documents = dict[Device, Json]

GUESTS = """
environment: guests
trust-domain: guests.example
sites:
  north:
    blocks: [10.10.0.0/16, "fd00:10::/32"]
    routers: [r1, r2]
    segments:
      front: {tier: front-end, networks: [10.10.1.0/24, "fd00:10:0:1::/64"]}
      guests: {tier: customer, networks: [10.10.2.0/24, "fd00:10:0:2::/64"]}
      metal: {tier: hypervisor, networks: [10.10.3.0/24, "fd00:10:0:3::/64"]}
hosts:
  web: {site: north, segment: front, services: [web]}
  acme: {site: north, segment: guests, hypervisor: metal, customer: acme, services: [shop]}
  globex: {site: north, segment: guests, hypervisor: metal, customer: globex, services: [blog]}
  initech: {site: north, segment: guests, hypervisor: metal, customer: initech}
  metal: {site: north, segment: metal}
services:
  web: {protocol: tcp, ports: [443], tls: mutual}
  shop: {protocol: tcp, ports: [8080], tls: mutual}
  blog: {protocol: tcp, ports: [8081], tls: mutual}
flows:
  - {from: web, to: shop}
  - {from: web, to: blog}
  - {from: "customer:acme", to: web, name: acme-calls}
  - {from: "customer:acme", to: blog, name: acme-reads}
"""
ACCEPT: Json = {"accept": None}
NEW: Json = {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": "new"}}
SANDBOX = Device(DeviceKind.SANDBOX, "globex")


@cache
def environment() -> Environment:
    return load_text(GUESTS)


@cache
def _compiled() -> Mapping[Device, Json]:
    return {device: ruleset.document for device, ruleset in compile_environment(environment()).items()}


def prove(changed: Documents | None = None, world: Environment | None = None) -> Verdict:
    world = world or environment()
    return verify(world, changed or dict(_compiled()), identity_checks(world))


def with_rule(device: Device, chain: str, *expressions: Json) -> Documents:
    """The documents with a rule at the top of a chain of one device."""
    changed = dict(_compiled())
    document = copy.deepcopy(changed[device])
    items = document["nftables"]
    rule = {"rule": {"family": "inet", "table": "ringfort", "chain": chain, "expr": list(expressions)}}
    items.insert(next(i for i, item in enumerate(items) if item.get("rule", {}).get("chain") == chain), rule)
    changed[device] = document
    return changed


def match(protocol: str, field: str, value: object) -> Json:
    return {"match": {"op": "==", "left": {"payload": {"protocol": protocol, "field": field}}, "right": value}}


def interface(key: str, name: str) -> Json:
    return {"match": {"op": "==", "left": {"meta": {"key": key}}, "right": name}}


def told(verdict: Verdict, kind: str) -> Refutation:
    found = [refutation for refutation in verdict.refutations if refutation.kind == kind]
    assert found, [(r.kind, r.summary) for r in verdict.refutations]
    return found[0]


def test_two_owners_refuse_whatever_a_guest_sends_its_neighbours_on_one_hypervisor() -> None:
    verdict = prove()
    assert verdict.outcome is Outcome.PROVED
    (entry,) = (e for e in verdict.depths if (e.source, e.destination) == ("north/guests", "north/guests"))
    assert (entry.depth, entry.promised) == (2, 2)
    assert entry.mechanisms == ("port-security:north/guests", "sandbox-filter")


def test_every_failure_is_counted() -> None:
    claim = next(claim for claim in prove().claims if claim.name == "depth")
    routers, segments, hosts, mutual, hypervisors = 2, 3, 5, 3, 1
    mechanisms = routers + segments + hosts + mutual
    assert claim.checked == mechanisms + routers + 2 * hosts + hypervisors + 1


def test_a_sandbox_without_rules_is_found() -> None:
    changed = dict(_compiled())
    changed[SANDBOX] = {"nftables": [{"metainfo": {"json_schema_version": 1}}]}
    verdict = prove(changed)
    assert told(verdict, "one-mechanism").let_through == ("sandbox-filter:globex",)
    assert told(verdict, "sandbox-widened").let_through == ("sandbox-filter:globex",)
    assert told(verdict, "sandbox-spoofing").packet is not None
    assert told(verdict, "sandbox-itself").claim == "closed"


def test_a_sandbox_that_lets_its_guest_call_a_neighbour_is_named_with_the_rule() -> None:
    verdict = prove(with_rule(SANDBOX, "from-inside", NEW, match("tcp", "dport", 8080), ACCEPT))
    refutation = told(verdict, "sandbox-widened")
    assert refutation.claim == "depth"
    assert refutation.failure == "instance-taken-over:globex"
    assert refutation.packet is not None
    assert refutation.packet.place == "host:globex"
    assert refutation.depth == 2, "a router and whatever guards the receiver are left"
    assert refutation.path[0].decision is Decision.ACCEPTS
    rule = "inet ringfort from-inside rule 1"
    assert f"sandbox:globex was changed by hand ({rule}" in refutation.edit
    assert {r.kind for r in verdict.refutations} == {"sandbox-widened"}


@pytest.mark.parametrize("there", ["169.254.169.254", "8.8.8.8", "10.10.99.99", "10.10.2.1"])
def test_a_guest_that_reaches_what_is_no_host_is_found(there: str) -> None:
    changed = with_rule(SANDBOX, "from-inside", match("ip", "daddr", there), ACCEPT)
    if there.startswith("169"):
        items = changed[SANDBOX]["nftables"]
        for item in items:
            if item.get("set", {}).get("name") == "link-local4":
                item["set"]["elem"] = []
    refutation = told(prove(changed), "sandbox-widened")
    assert refutation.packet is not None
    assert refutation.packet.destination == there
    assert refutation.summary.startswith("sandbox:globex lets its guest send")


def test_a_metadata_address_is_refused_twice_in_the_sandbox() -> None:
    changed = with_rule(SANDBOX, "from-inside", NEW, match("ip", "daddr", "169.254.169.254"), ACCEPT)
    assert prove(changed).outcome is Outcome.PROVED


def test_a_guest_that_can_pass_for_its_neighbour_is_found() -> None:
    changed = with_rule(SANDBOX, "from-guest", ACCEPT)
    assert prove(changed).outcome is Outcome.PROVED, "the look-up of flows asks for the source once more"
    changed[SANDBOX] = copy.deepcopy(changed[SANDBOX])
    items = changed[SANDBOX]["nftables"]
    place = next(i for i, item in enumerate(items) if item.get("rule", {}).get("chain") == "from-inside")
    rule = {"family": "inet", "table": "ringfort", "chain": "from-inside"}
    items.insert(
        place, {"rule": {**rule, "expr": [match("ip", "saddr", "10.10.2.2"), match("tcp", "dport", 443), ACCEPT]}}
    )
    refutation = told(prove(changed), "sandbox-spoofing")
    assert refutation.packet is not None
    assert (refutation.packet.place, refutation.packet.source) == ("host:globex", "10.10.2.2")
    assert "lets its guest pass for 10.10.2.2" in refutation.summary


def test_a_foreign_mac_address_that_is_accepted_is_a_hole() -> None:
    foreign = match("ether", "saddr", "02:00:00:00:00:66")
    changed = with_rule(Device(DeviceKind.SANDBOX, "acme"), "from-guest", foreign, ACCEPT)
    assert ("depth", "sandbox-spoofing") in {(r.claim, r.kind) for r in prove(changed).refutations}


def test_a_sandbox_that_lets_in_what_no_flow_declares_leaves_one_mechanism() -> None:
    changed = with_rule(SANDBOX, "to-inside", match("tcp", "dport", 22), ACCEPT)
    refutation = told(prove(changed), "one-mechanism")
    assert refutation.let_through == ("sandbox-filter:globex",)
    assert refutation.packet is not None
    assert (refutation.packet.protocol, refutation.packet.port) == ("tcp", 22)


def test_two_open_sandboxes_on_one_hypervisor_leave_the_router_alone() -> None:
    """Between two guests of one hypervisor both sandboxes have one owner; open both, and one owner is left."""
    initech = match("ip", "saddr", "10.10.2.4")
    changed = with_rule(SANDBOX, "to-inside", initech, match("tcp", "dport", 22), ACCEPT)
    sender = Device(DeviceKind.SANDBOX, "initech")
    changed[sender] = with_rule(sender, "from-inside", match("tcp", "dport", 22), ACCEPT)[sender]
    verdict = prove(changed)
    found = [r for r in verdict.refutations if r.kind == "one-mechanism" and r.source == "north/guests"]
    assert found
    assert found[0].failure.startswith("router-filter:")
    assert set(found[0].let_through) == {"sandbox-filter:initech", "sandbox-filter:globex"}
    assert found[0].path[0].mechanism == "sandbox-filter:initech", "the guest's own sandbox is on the way and counts"


def test_a_sandbox_that_refuses_what_is_declared_is_found() -> None:
    for chain, port in (("to-inside", 8081), ("from-inside", 443)):
        device = SANDBOX if port == 8081 else Device(DeviceKind.SANDBOX, "acme")
        verdict = prove(with_rule(device, chain, match("tcp", "dport", port), {"drop": None}))
        refutation = told(verdict, "declared-but-refused")
        assert refutation.let_through == (f"sandbox-filter:{device.name}",)


def test_a_sandbox_that_refuses_replies_and_one_that_accepts_strays_are_found() -> None:
    established = {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": "established"}}
    untracked = {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": "untracked"}}
    assert (
        "sandbox:globex"
        in told(prove(with_rule(SANDBOX, "forward", established, {"drop": None})), "replies-refused").summary
    )
    assert "sandbox:globex" in told(prove(with_rule(SANDBOX, "forward", untracked, ACCEPT)), "stateless-accept").summary


def test_a_rule_below_what_is_followed_is_unknown_and_not_proved() -> None:
    changed = dict(_compiled())
    document = copy.deepcopy(changed[SANDBOX])
    document["nftables"] += [
        {"table": {"family": "netdev", "name": "x"}},
        {"chain": {"family": "netdev", "table": "x", "name": "i", "type": "filter", "hook": "ingress", "prio": 0,
                   "dev": "guest", "policy": "accept"}},
        {"rule": {"family": "netdev", "table": "x", "chain": "i", "expr": [{"fwd": {"dev": "uplink"}}]}},
    ]  # fmt: skip
    changed[SANDBOX] = document
    assert prove(changed).outcome is Outcome.UNKNOWN


def test_a_switch_on_the_hypervisors_machine_is_no_second_owner() -> None:
    """The loader refuses it; whoever signs such an environment all the same is told."""
    world = environment()
    segment = replace(world.segments["north/guests"], machine="metal")
    changed = replace(world, segments={**world.segments, segment.key: segment})
    verdict = prove(world=changed)
    assert verdict.outcome is Outcome.REFUTED
    kinds = {r.kind for r in verdict.refutations if r.claim == "depth"}
    assert kinds == {"shared-machine", "neighbour-spoofing"}
    spoofing = told(verdict, "neighbour-spoofing")
    assert spoofing.packet is not None
    assert spoofing.packet.place == "host:initech", "a guest beside the one that may call, and beside its receiver"


def test_the_reader_sees_what_the_guest_can_send_and_be_sent() -> None:
    layer = read_layers(environment(), devices(environment()), dict(_compiled())).hosts["acme"]
    assert isinstance(layer, SandboxLayer)
    own, web = key_of(ip_address("10.10.2.2")), key_of(ip_address("10.10.1.2"))
    assert ((own, own), (web, web), (6 << 16 | 443, 6 << 16 | 443)) in layer.outgoing
    assert ((web, web), (own, own), (6 << 16 | 8080, 6 << 16 | 8080)) in layer.incoming
    assert (len(layer.outgoing), len(layer.incoming)) == (4, 2)
    assert not layer.foreign
    assert not layer.own
    assert not layer.stray
    assert not layer.mute


def test_sandboxes_that_differ_in_elements_alone_share_their_execution() -> None:
    executions = read_layers(environment(), devices(environment()), dict(_compiled())).executions
    many = load_text(GUESTS.replace("customer: acme, services", "customer: acme, count: 40, services"))
    documents = {device: ruleset.document for device, ruleset in compile_environment(many).items()}
    assert read_layers(many, devices(many), documents).executions == executions


def test_an_explanation_goes_through_both_sandboxes() -> None:
    found = explain(environment(), dict(_compiled()), identity_checks(environment()), Ask("acme", "globex", "tcp/22"))
    assert not found.possible
    assert [hop.mechanism for hop in found.path][:1] == ["sandbox-filter:acme"]
    assert found.refusing == ("sandbox-filter:acme", "router-filter:r1", "sandbox-filter:globex")
    assert found.depth == 2, "both sandboxes are lost with their hypervisor"
    without = ("sandbox-filter:acme", "sandbox-filter:globex")
    again = Ask("acme", "globex", "tcp/22", without)
    assert explain(environment(), dict(_compiled()), identity_checks(environment()), again).refusing == (
        "router-filter:r1",
    )
