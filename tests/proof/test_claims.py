"""The promises over the example: proved as compiled, refuted by every change that breaks one, and only by those."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ringfort.environment.topology import Device
from ringfort.proof.claims import verify
from ringfort.proof.verdict import Decision, Outcome
from tests.proof import shop
from tests.proof.shop import ACCEPT, kinds, match, one, prove, with_rule


def test_the_example_keeps_every_promise() -> None:
    verdict = prove()
    assert [claim.outcome for claim in verdict.claims] == [Outcome.PROVED] * 4
    assert not verdict.refutations
    assert verdict.exit_code == 0
    assert all(entry.depth >= entry.promised for entry in verdict.depths)


def test_a_verdict_is_plain_values_for_machines() -> None:
    assert json.loads(json.dumps(prove().to_json()))["outcome"] == "proved"


def test_a_rule_added_by_hand_to_a_host_is_named_with_its_place() -> None:
    device = shop.host("db-n-1")
    verdict = prove(with_rule(device, "input", match("tcp", "dport", 22), ACCEPT))
    assert verdict.exit_code == 1
    assert ("depth", "one-mechanism") in kinds(verdict)
    told = one(verdict, "one-mechanism")
    assert told.packet is not None
    assert (told.packet.protocol, told.packet.port) == ("tcp", 22)
    assert told.let_through == ("host-firewall:db-n-1",)
    assert told.failure.startswith("router-filter:")
    rule = "inet ringfort input rule 1 (handle 9999): tcp dport 22 accept"
    assert f"host:db-n-1 was changed by hand ({rule})" in told.edit
    router = one(verdict, "router-taken-over")
    assert router.failure == "router-taken-over:north-r1"
    assert router.depth == 0


def test_a_rule_added_by_hand_to_one_router_is_found_though_the_other_is_right() -> None:
    for name in ("north-r1", "north-r2"):
        verdict = prove(with_rule(shop.router(name), "forward", match("tcp", "dport", 22), ACCEPT))
        told = one(verdict, "one-mechanism")
        assert told.claim == "depth"
        assert told.let_through == (f"router-filter:{name}",)
        assert told.failure.startswith("host-firewall:")
        assert f"router:{name} was changed by hand" in told.edit


def test_two_open_layers_are_an_open_door() -> None:
    changed = with_rule(shop.router("north-r1"), "forward", match("tcp", "dport", 22), ACCEPT)
    changed[shop.host("db-n-1")] = with_rule(shop.host("db-n-1"), "input", match("tcp", "dport", 22), ACCEPT)[
        shop.host("db-n-1")
    ]
    verdict = prove(changed)
    told = one(verdict, "undeclared-packet")
    assert told.claim == "closed"
    assert told.depth == 0
    assert told.failure == ""
    assert all(hop.decision is not Decision.REFUSES for hop in told.path)


@pytest.mark.parametrize("name", ["north-r1", "web-n-1", "db-n-1"])
def test_a_device_without_rules_is_found(name: str) -> None:
    device = shop.router(name) if name in shop.environment().routers else shop.host(name)
    verdict = prove(shop.without_rules(device))
    assert verdict.exit_code == 1
    assert ("depth", "one-mechanism") in kinds(verdict)


def test_a_switch_without_rules_no_longer_keeps_neighbours_apart() -> None:
    verdict = prove(shop.without_rules(shop.switch("north/back-end")))
    assert ("depth", "port-security-gone") in kinds(verdict)
    assert ("depth", "isolation-gone") in kinds(verdict)
    assert ("closed", "arp-spoofing") in kinds(verdict)
    assert ("closed", "foreign-protocol") in kinds(verdict)
    assert one(verdict, "port-security-gone").path[0].mechanism == "port-security:north/back-end"


@pytest.mark.parametrize(
    ("device", "name"),
    [
        (shop.router("south-r2"), "flows4"),
        (shop.host("app-n-1"), "incoming4"),
        (shop.host("web-n-1"), "outgoing4"),
        (shop.switch("north/edge"), "bound4"),
        (shop.switch("north/front-end"), "bound4"),
        (shop.router("north-r1"), "bound4"),
    ],
    ids=str,
)
def test_a_missing_element_closes_a_declared_flow(device: Device, name: str) -> None:
    address = "10.10.2.2" if device.name in ("app-n-1", "south-r2", "north/front-end") else "10.10.1.2"
    verdict = prove(shop.without_elements(device, name, address))
    assert {claim for claim, _ in kinds(verdict)} == {"open"}
    told = one(verdict, "declared-but-refused")
    assert "is declared, but refused by" in told.summary
    assert any(device.name in mechanism for mechanism in told.let_through)
    assert "flows.yaml:" in told.summary


def test_a_service_that_stops_checking_its_callers_is_refuted_for_neighbours_and_for_routers() -> None:
    verdict = prove(enforced=shop.without_mutual("database"))
    assert kinds(verdict) == {("depth", "neighbour-spoofing"), ("depth", "router-taken-over")}
    told = one(verdict, "neighbour-spoofing")
    assert told.failure.startswith("port-security:")
    assert "database on db-" in told.edit
    assert "does not check its callers as declared" in told.edit


def test_a_service_declared_without_mutual_tls_is_told_the_edit_that_closes_it() -> None:
    environment = shop.environment()
    from ringfort.environment.model import Tls

    service = replace(environment.services["database"], tls=Tls.SERVER)
    weaker = replace(environment, services={**environment.services, "database": service})
    verdict = verify(weaker, shop.documents(), shop.without_mutual("database"))
    told = one(verdict, "router-taken-over")
    assert told.edit == f"set `tls: mutual` on service database ({service.origin})"
    assert told.packet is not None
    assert told.packet.place.startswith("router:")


def test_an_undeclared_translation_to_a_private_host_is_refuted() -> None:
    rule = [
        {"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "alpha"}},
        match("tcp", "dport", 8080),
        {"dnat": {"family": "ip", "addr": "10.10.4.2", "port": 5432}},
    ]
    verdict = prove(with_rule(shop.router("north-r1"), "published", *rule))
    told = one(verdict, "undeclared-translation")
    assert "10.10.4.2:5432" in told.summary
    assert told.let_through == ("router-filter:north-r1",)


def test_what_a_router_accepts_for_itself_is_refuted() -> None:
    verdict = prove(with_rule(shop.router("south-r1"), "input", match("tcp", "dport", 22), ACCEPT))
    assert ("closed", "router-itself") in kinds(verdict)


def test_a_way_out_to_the_internet_is_refuted() -> None:
    oif = {"match": {"op": "==", "left": {"meta": {"key": "oifname"}}, "right": "alpha"}}
    verdict = prove(with_rule(shop.router("north-r1"), "forward", oif, ACCEPT))
    told = one(verdict, "to-the-internet")
    assert told.claim == "closed"


def test_a_hole_in_antispoofing_towards_the_internet_leaves_one_mechanism() -> None:
    iif = {"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "alpha"}}
    verdict = prove(with_rule(shop.router("north-r1"), "antispoofing", iif, ACCEPT))
    told = one(verdict, "internet-spoofing")
    assert told.claim == "depth"
    assert told.packet is not None
    assert told.packet.place == "internet:north/alpha"


def test_packets_of_no_connection_must_not_be_accepted() -> None:
    invalid = {"match": {"op": "==", "left": {"ct": {"key": "state"}}, "right": "invalid"}}
    verdict = prove(with_rule(shop.host("db-n-1"), "input", invalid, ACCEPT))
    assert ("closed", "stateless-accept") in kinds(verdict)


@pytest.mark.parametrize(
    ("device", "chain"),
    [(shop.router("north-r2"), "forward"), (shop.host("web-n-1"), "input"), (shop.host("db-n-1"), "output")],
    ids=["a router", "what a host takes", "what a host sends"],
)
def test_a_flow_whose_replies_are_refused_is_not_open(device: Device, chain: str) -> None:
    established = {"match": {"op": "==", "left": {"ct": {"key": "state"}}, "right": "established"}}
    verdict = prove(with_rule(device, chain, established, {"drop": None}))
    assert kinds(verdict) == {("open", "replies-refused")}
    assert str(device) in one(verdict, "replies-refused").summary


def test_a_host_and_its_router_on_one_machine_are_one_owner() -> None:
    environment = shop.environment()
    shared = replace(environment.hosts["db-n-1"], machine=environment.routers["north-r1"].machine)
    together = replace(environment, hosts={**environment.hosts, "db-n-1": shared})
    verdict = verify(together, shop.documents(), shop.checks())
    told = one(verdict, "shared-machine")
    assert told.failure == f"machine:{shared.machine}"
    assert "put host db-n-1 on a machine of its own" in told.edit


def test_two_hosts_on_one_machine_are_lost_together_and_break_nothing_else() -> None:
    environment = shop.environment()
    hosts = {
        name: replace(host, machine="blade-7") if name in ("db-n-1", "orders-n-1") else host
        for name, host in environment.hosts.items()
    }
    verdict = verify(replace(environment, hosts=hosts), shop.documents(), shop.checks())
    assert verdict.outcome is Outcome.PROVED


def test_a_flow_across_sites_without_tls_is_not_confidential() -> None:
    from ringfort.environment.model import Tls

    bare = {
        name: tuple(replace(c, tls=Tls.NONE, callers=frozenset()) if c.service == "replication" else c for c in own)
        for name, own in shop.checks().items()
    }
    verdict = prove(enforced=bare)
    told = one(verdict, "no-tls")
    assert told.claim == "confidential"
    assert "database-to-replication" in told.summary


def test_a_rule_that_is_not_understood_is_unknown_and_never_a_guess() -> None:
    odd = {"xt": {"type": "match", "name": "bpf"}}
    verdict = prove(with_rule(shop.host("db-n-1"), "input", odd, ACCEPT))
    assert verdict.outcome is Outcome.UNKNOWN
    assert verdict.exit_code == 3
    assert any(unknown.device == "host:db-n-1" and "input rule 1" in unknown.rule_place for unknown in verdict.unknowns)
