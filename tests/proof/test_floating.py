"""Floating addresses are proved whoever holds them: a fault at any of the hosts that may is a fault."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import pytest

from ringfort.environment.load import load_text
from ringfort.environment.model import Environment
from ringfort.environment.topology import Device, DeviceKind
from ringfort.network.compile import compile_environment
from ringfort.network.identity import identity_checks
from ringfort.proof.claims import verify
from ringfort.proof.explain import Ask, explain
from ringfort.proof.verdict import Outcome, Verdict
from tests.environment.floated import FLOATED

GATES = ("gate-1", "gate-2")
SWITCH = Device(DeviceKind.SWITCH, "north/edge")


@cache
def environment() -> Environment:
    return load_text(f"environment: float{FLOATED}")


@cache
def compiled() -> dict[Device, Any]:
    return {device: ruleset.document for device, ruleset in compile_environment(environment()).items()}


def prove(changed: dict[Device, Any]) -> Verdict:
    return verify(environment(), changed, identity_checks(environment()))


def without(changed: Any, where: str, *words: str) -> Any:  # noqa: ANN401
    """Without the elements of a set or map in which all of these words stand."""
    found = copy.deepcopy(changed)
    named = next(i[k] for i in found["nftables"] for k in ("set", "map") if i.get(k, {}).get("name") == where)
    kept = [element for element in named["elem"] if not all(word in str(element) for word in words)]
    assert len(kept) < len(named["elem"])
    named["elem"] = kept
    return found


def host(name: str) -> Device:
    return Device(DeviceKind.HOST, name)


def test_the_compiled_rules_keep_every_promise_whoever_holds_the_addresses() -> None:
    verdict = prove(compiled())
    assert verdict.outcome is Outcome.PROVED, [r.summary for r in verdict.refutations]
    assert verdict.counts["hosts"] == len(environment().hosts)


@pytest.mark.parametrize("name", GATES)
def test_any_holder_that_would_refuse_visitors_is_found(name: str) -> None:
    changed = {**compiled(), host(name): without(compiled()[host(name)], "public4", "10.10.4.100", "443")}
    (refuted,) = prove(changed).refutations
    assert refuted.claim == "open"
    assert f"host-firewall:{name}" in refuted.edit + refuted.summary + "".join(refuted.let_through) + str(refuted.path)


@pytest.mark.parametrize("name", GATES)
def test_any_holder_that_would_take_more_is_found(name: str) -> None:
    """One port more for the internet at the floating address alone: the routers are left to refuse it, nobody else."""
    changed = copy.deepcopy(compiled()[host(name)])
    public = next(i["map"] for i in changed["nftables"] if i.get("map", {}).get("name") == "public4")
    (at,) = (pair for pair in public["elem"] if "10.10.4.100" in str(pair) and "443" in str(pair))
    public["elem"].append([{"concat": [*at[0]["concat"][:2], 22]}, at[1]])
    verdict = prove({**compiled(), host(name): changed})
    assert {refuted.claim for refuted in verdict.refutations} == {"depth"}
    assert all(refuted.packet and refuted.packet.destination == "10.10.4.100" for refuted in verdict.refutations)


@pytest.mark.parametrize("name", GATES)
def test_a_port_that_does_not_let_its_holder_hold_is_found(name: str) -> None:
    verdict = prove({**compiled(), SWITCH: without(compiled()[SWITCH], "bound4", "10.10.4.100", f"'{name}'")})
    assert {claim.name for claim in verdict.claims if claim.outcome is Outcome.REFUTED} == {"open"}


def test_a_switch_without_rules_is_found() -> None:
    verdict = prove({**compiled(), SWITCH: {"nftables": []}})
    assert "depth" in {refuted.claim for refuted in verdict.refutations}


def test_explain_names_who_holds_the_addresses_and_where_it_makes_a_difference() -> None:
    ask = Ask("internet", "gate-n", "tcp/443")
    told = explain(environment(), compiled(), identity_checks(environment()), ask)
    assert told.possible
    assert told.declared.startswith("internet-to-gateway")
    assert not told.otherwise
    changed = {**compiled(), host("gate-2"): without(compiled()[host("gate-2")], "public4", "10.10.4.100", "443")}
    told = explain(environment(), changed, identity_checks(environment()), ask)
    assert told.possible
    assert told.otherwise == ("over r1, with gate-n at gate-2, it is refused by host-firewall:gate-2",)
