"""Ways to get a wrong "proved": each was one, or looked like one, and is now refuted, unknown or refused."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from ringfort.environment.identity import IdentityCheck
from ringfort.environment.load import load
from ringfort.environment.model import Environment, Tls
from ringfort.environment.topology import Device, DeviceKind, gateway_addresses, gateway_mac
from ringfort.network.compile import compile_environment
from ringfort.network.identity import identity_checks
from ringfort.proof.claims import verify
from ringfort.proof.fields import ETHER_TYPE, Universe
from ringfort.proof.hooks import Hook, Layer, possible
from ringfort.proof.packets import PacketSet, where
from ringfort.proof.reader import RulesetError, read
from ringfort.proof.ruleset import Doubtful
from ringfort.proof.variables import Space
from ringfort.proof.verdict import Outcome, Verdict

Json = dict[str, Any]
Documents = dict[Device, Json]

SMALL = """
environment: small
trust-domain: small.example
sites:
  north:
    blocks: [10.10.0.0/16]
    routers: [n1]
    segments:
      front: {tier: front-end, networks: [10.10.1.0/24]MACHINE}
      back: {tier: back-end, networks: [10.10.4.0/24]}
hosts:
  app: {site: north, segment: front, count: 2, services: [app]}
  db: {site: north, segment: back, count: 2, services: [db]HOST}
services:
  app: {protocol: tcp, ports: [8443], tls: mutual}
  db: {protocol: tcp, ports: [5432], tls: mutual}
flows:
  - {from: app, to: db}
"""

ACCEPT: Json = {"accept": None}
DROP: Json = {"drop": None}
IPV4: Json = {"match": {"op": "==", "left": {"payload": {"protocol": "ether", "field": "type"}}, "right": "ip"}}
NEW: Json = {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": "new"}}
ROUTER = Device(DeviceKind.ROUTER, "n1")
SWITCH = Device(DeviceKind.SWITCH, "north/front")
HOST = Device(DeviceKind.HOST, "db-1")


def environment(machine: str = "", host: str = "") -> Environment:
    with TemporaryDirectory() as directory:
        path = Path(directory, "environment.yaml")
        path.write_text(SMALL.replace("MACHINE", machine).replace("HOST", host))
        return load(path)


@cache
def small() -> Environment:
    return environment()


@cache
def compiled() -> Documents:
    return {device: ruleset.document for device, ruleset in compile_environment(small()).items()}


def documents() -> Documents:
    return copy.deepcopy(compiled())


def match(protocol: str, field: str, value: object) -> Json:
    return {"match": {"op": "==", "left": {"payload": {"protocol": protocol, "field": field}}, "right": value}}


def write(protocol: str, field: str, value: object) -> Json:
    return {"mangle": {"key": {"payload": {"protocol": protocol, "field": field}}, "value": value}}


def port(name: str) -> Json:
    return {"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": name}}


def with_rule(changed: Documents, device: Device, chain: str, *expressions: Json, table: str = "ringfort") -> Documents:
    """A rule at the top of a chain."""
    items = changed[device]["nftables"]
    family = next(item["table"]["family"] for item in items if item.get("table", {}).get("name") == table)
    rule = {"rule": {"family": family, "table": table, "chain": chain, "expr": list(expressions)}}
    places = (i for i, item in enumerate(items) if item.get("rule", {}).get("chain") == chain)
    items.insert(next(places, len(items)), rule)
    return changed


def with_chain(changed: Documents, device: Device, family: str, table: str, **base: object) -> Documents:
    """A base chain ``x``, in a new table unless it is in ours."""
    items = changed[device]["nftables"]
    if table != "ringfort":
        items.append({"table": {"family": family, "name": table}})
    items.append({"chain": {"family": family, "table": table, "name": "x", "type": "filter", "prio": 300, **base}})
    return changed


def prove(changed: Documents, enforced: dict[str, tuple[IdentityCheck, ...]] | None = None) -> Verdict:
    return verify(small(), changed, identity_checks(small()) if enforced is None else enforced)


def outcomes(verdict: Verdict) -> dict[str, Outcome]:
    return {claim.name: claim.outcome for claim in verdict.claims}


def test_a_packet_moved_below_the_firewall_or_copied_past_it_is_unknown_with_its_place() -> None:
    for device, interface, statement in (
        (ROUTER, "front", {"fwd": {"dev": "back"}}),
        (ROUTER, "front", {"dup": {"dev": "back"}}),
        (SWITCH, "app-1", {"fwd": {"dev": "app-2"}}),
    ):
        changed = with_chain(documents(), device, "netdev", "below", hook="ingress", dev=interface, policy="accept")
        verdict = prove(with_rule(changed, device, "x", match("tcp", "dport", 22), statement, table="below"))
        assert verdict.outcome is Outcome.UNKNOWN
        assert {(u.device, u.rule_place) for u in verdict.unknowns} == {(str(device), "netdev below x rule 1")}
        assert {u.claim for u in verdict.unknowns} == {"open", "closed", "depth"}


def test_frames_dropped_below_a_switch_leave_open_unproved() -> None:
    changed = with_chain(documents(), SWITCH, "netdev", "below", hook="ingress", dev="app-1", policy="drop")
    assert outcomes(prove(changed))["open"] is Outcome.UNKNOWN


def test_a_forwarded_packet_that_is_rewritten_is_not_proved() -> None:
    rewrite = (NEW, match("tcp", "dport", 9999), write("tcp", "dport", 22), ACCEPT)
    verdict = prove(with_rule(documents(), ROUTER, "forward", *rewrite))
    assert verdict.outcome is Outcome.UNKNOWN
    assert verdict.unknowns[0].device == "router:n1"


def test_a_host_that_moves_a_port_after_its_filter_is_not_proved() -> None:
    changed = with_chain(documents(), HOST, "inet", "ringfort", hook="input", policy="accept")
    verdict = prove(with_rule(changed, HOST, "x", match("tcp", "dport", 5432), write("tcp", "dport", 22)))
    assert outcomes(verdict)["closed"] is Outcome.UNKNOWN


def test_what_decides_nothing_about_the_way_of_a_packet_stays_proved() -> None:
    clamp: Json = {"mangle": {"key": {"tcp option": {"name": "maxseg", "field": "size"}}, "value": 1360}}
    changed = with_rule(documents(), ROUTER, "forward", write("ip", "ttl", 64), clamp, {"counter": None})
    assert prove(with_rule(changed, HOST, "input", match("tcp", "dport", 22), DROP)).outcome is Outcome.PROVED


def test_a_frame_to_a_group_reaches_the_neighbour_too() -> None:
    everybody = match("ether", "daddr", "ff:ff:ff:ff:ff:ff")
    verdict = prove(with_rule(documents(), SWITCH, "forward", port("app-1"), IPV4, everybody, ACCEPT))
    assert {r.kind for r in verdict.refutations} == {"isolation-gone"}


def gateways() -> list[Json]:
    """Ways to write the gateway's MAC address that are not a plain comparison."""
    mac = gateway_mac(small(), "north/front")
    destination = {"payload": {"protocol": "ether", "field": "daddr"}}
    key = {"concat": [destination, {"meta": {"key": "iifname"}}]}
    return [
        match("ether", "daddr", {"set": [mac, "02:00:00:00:00:01"]}),
        match("ether", "daddr", {"range": [f"{mac[:-2]}00", f"{mac[:-2]}ff"]}),
        {"match": {"op": "==", "left": key, "right": {"concat": [mac, "app-1"]}}},
    ]


@pytest.mark.parametrize("number", range(3))
def test_a_hole_towards_the_gateway_is_found_however_its_address_is_written(number: int) -> None:
    changed = documents()
    for chain in ("learning", "forward"):
        with_rule(changed, SWITCH, chain, port("app-1"), IPV4, gateways()[number], ACCEPT)
    told = next(r for r in prove(changed).refutations if r.kind == "port-security-gone")
    assert "port-security:north/front" in told.let_through
    assert told.packet is not None
    assert told.packet.place == "host:app-1"


def test_a_mark_with_the_number_of_the_gateway_s_address_is_a_mark() -> None:
    number = int(gateway_addresses(small(), "north/front")[0])
    mark: Json = {"meta": {"key": "mark"}}
    changed = documents()
    for chain in ("learning", "forward"):
        with_rule(changed, SWITCH, chain, IPV4, {"match": {"op": "==", "left": mark, "right": number}}, ACCEPT)
    with_rule(changed, SWITCH, "learning", port("app-1"), {"mangle": {"key": mark, "value": number}})
    assert {"isolation-gone", "port-security-gone"} <= {r.kind for r in prove(changed).refutations}


def test_two_holes_that_open_a_door_now_are_told_as_open_now() -> None:
    changed = documents()
    for chain in ("learning", "forward"):
        with_rule(changed, SWITCH, chain, port("app-1"), IPV4, ACCEPT)
    unchecked = {
        name: tuple(replace(check, tls=Tls.SERVER, callers=frozenset()) for check in checks)
        for name, checks in identity_checks(small()).items()
    }
    verdict = prove(changed, unchecked)
    assert ("closed", "port-security-gone") in {(r.claim, r.kind) for r in verdict.refutations}


def test_a_program_that_checks_nobody_at_the_same_port_is_refuted() -> None:
    checks = identity_checks(small())
    besides = tuple(replace(c, service="app", tls=Tls.NONE, callers=frozenset()) for c in checks["db-1"])
    verdict = prove(documents(), {**checks, "db-1": (*checks["db-1"], *besides)})
    assert {r.kind for r in verdict.refutations} == {"neighbour-spoofing", "router-taken-over"}


def test_a_check_on_a_machine_that_nobody_declared_counts_for_nothing() -> None:
    checks = identity_checks(small())
    assert prove(documents(), {**checks, "stranger": checks["db-1"]}).outcome is Outcome.PROVED


def test_a_host_on_the_machine_of_another_segment_s_switch_is_on_both_sides_of_it() -> None:
    shared = environment(machine=", machine: blade", host=", machine: blade")
    rulesets = {device: ruleset.document for device, ruleset in compile_environment(shared).items()}
    verdict = verify(shared, rulesets, identity_checks(shared))
    told = {(r.kind, r.source, r.destination) for r in verdict.refutations}
    assert ("shared-machine", "north/back", "north/front") in told


def test_a_frame_of_ip_is_no_other_protocol() -> None:
    space = Space(Universe.OTHER)
    frames = PacketSet(space, possible(space, Hook("forward", Layer.BRIDGE)))
    assert not frames & where(space, ETHER_TYPE, (0x0800, 0x0800))
    assert frames & where(space, ETHER_TYPE, (0x8863, 0x8863))


TABLE: Json = {"table": {"family": "inet", "name": "t"}}
CHAIN: Json = {"family": "inet", "table": "t", "name": "c"}
STRANGE = [
    ({"element": {"family": "inet", "table": "t", "name": "s", "elem": []}}, "kind 'element'"),
    ({"chain": {**CHAIN, "type": "filter", "hook": "sideways", "prio": 0}}, "hook 'sideways'"),
    ({"chain": {**CHAIN, "type": "sieve", "hook": "input", "prio": 0}}, "type 'sieve'"),
    ({"chain": {**CHAIN, "type": "filter", "hook": "input", "prio": 0, "policy": "foo"}}, "policy 'foo'"),
    ({"table": {"family": "inet", "name": "u", "flags": ["asleep"]}}, "flag 'asleep'"),
    (TABLE, "listed twice"),
]


@pytest.mark.parametrize(("strange", "told"), STRANGE)
def test_what_the_reader_does_not_know_of_a_ruleset_is_refused_and_not_left_out(strange: Json, told: str) -> None:
    with pytest.raises(RulesetError, match=told):
        read({"nftables": [TABLE, strange]})


def test_an_operator_or_a_write_that_is_not_known_is_followed_both_ways() -> None:
    wide: Json = {"mangle": {"key": {"payload": {"base": "nh", "offset": 64, "len": 256}}, "value": 5}}
    odd: Json = {"match": {"op": "foo", "left": {"meta": {"key": "iifname"}}, "right": "edge"}}
    rule: Json = {"rule": {"family": "inet", "table": "t", "chain": "c", "expr": [odd, wide, ACCEPT]}}
    statements = read({"nftables": [TABLE, {"chain": CHAIN}, rule]}).tables[0].chains["c"].rules[0].statements
    assert [type(statement) for statement in statements[:2]] == [Doubtful, Doubtful]


def test_a_set_with_a_flag_that_is_not_known_is_not_read() -> None:
    odd: Json = {"set": {"family": "inet", "table": "t", "name": "s", "type": "ipv4_addr", "flags": ["foo"]}}
    assert "foo" in read({"nftables": [TABLE, odd]}).tables[0].sets["s"].unread


def test_a_hole_where_no_provider_is_has_callers_inside_only() -> None:
    verdict = prove(with_rule(documents(), HOST, "input", NEW, match("tcp", "dport", 22), ACCEPT))
    assert {"one-mechanism", "router-taken-over"} <= {r.kind for r in verdict.refutations}
    assert all(r.packet is not None and not r.packet.place.startswith("internet") for r in verdict.refutations)
