"""Floating addresses that could not move, or that would be somebody else's, are refused where that is written."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ringfort.environment.difference import difference
from ringfort.environment.floating import expanded, held_by, turns
from ringfort.environment.load import load_text
from ringfort.environment.model import Held
from ringfort.environment.serialise import SerialisedError, from_bytes, to_bytes
from ringfort.environment.topology import devices, ports
from tests.environment.declare import problems_of
from tests.environment.floated import FLOATED

GOOD = f"environment: float{FLOATED}"


def test_floating_addresses_are_declared_signed_and_told_when_they_change() -> None:
    environment = load_text(GOOD)
    floating = environment.floating["gate-n"]
    assert (floating.hosts, floating.segment, floating.signs) == (("gate-1", "gate-2"), "north/edge", "gate-signs")
    assert {(one.floating, one.host) for one in environment.published} == {("gate-n", "gate-1")}
    assert from_bytes(to_bytes(environment)) == environment
    other = load_text(GOOD.replace("10.10.4.100", "10.10.4.101"))
    assert [(c.subject, c.attribute) for c in difference(environment, other).changed] == [
        ("floating gate-n", "addresses")
    ]


def test_seen_as_hosts_they_serve_at_each_holder_and_call_nobody() -> None:
    environment = load_text(GOOD)
    assert turns(environment) == 2
    assert [one.name for one in held_by(environment, "gate-2")] == ["gate-n"]
    for turn, holder in ((0, "gate-1"), (1, "gate-2"), (2, "gate-1")):
        seen = expanded(environment, turn)
        held = seen.hosts["gate-n"]
        assert isinstance(held, Held)
        assert held.holder == holder
        assert "gate-n" in seen.services["gateway"].hosts
        assert not any("gate-n" in flow.callers for flow in seen.flows.values())
        assert {one.host for one in seen.published} == {"gate-n"}
        assert devices(seen) == devices(environment)
        assert ports(seen, "north/edge") == ports(environment, "north/edge")
        assert expanded(seen) is seen
    plain = replace(environment, floating={}, published=())
    assert expanded(plain) is plain


@pytest.mark.parametrize(
    ("before", "after", "code"),
    [
        ("hosts: [gate]", "hosts: [gates]", "unknown-host"),
        ("hosts: [gate]", "hosts: [gate-1]", "floating-alone"),
        ("hosts: [gate]", "hosts: [gate-1, gate-2, control]", "floating-elsewhere"),
        ("count: 2, services: [gateway", "count: 2, machine: one, services: [gateway", "floating-machine"),
        ("[10.10.4.100]", "[10.10.5.100]", "address-outside"),
        ("[10.10.4.100]", "[10.10.4.1]", "address-reserved"),
        ("[10.10.4.100]", "['fd00:10:0:4::100']", "floating-without-ipv4"),
        ("[10.10.4.100]", "[10.10.4.2]", "duplicate-address"),
        ("[10.10.4.100]", "[10.10.4.100, 10.10.4.101]", "two-addresses"),
        ("[10.10.4.100], services: [gateway, gateway-plain]", "[10.10.4.100], services: [gateway]", "host-not-serving"),
        ("[10.10.4.100], services: [gateway, ", "[10.10.4.100], services: [gateway, controller, ", "floating-unserved"),
        ("[10.10.4.100], services: [gateway, ", "[10.10.4.100], services: [gateway, gate-signs, ", "floating-tls"),
        ("ports: [9112], tls: mutual", "ports: [9112]", "floating-signs"),
        ("  - {from: gate-signs, to: gate-signs}", "  - {from: gate, to: gate-signs}", "floating-signs"),
        ("signs: gate-signs}", "signs: nothing}", "unknown-service"),
        ("gate-n: {hosts", "control: {hosts", "duplicate-name"),
        ("gate-n: {hosts", "fabric: {hosts", "duplicate-name"),
    ],
)
def test_what_could_not_float_is_refused(before: str, after: str, code: str) -> None:
    assert GOOD.count(before) == 1
    text = GOOD.replace(before, after).replace("{from: gate, to", "{from: host:gate-1, to")
    assert code in {problem.code for problem in problems_of(text)}


def test_a_signed_address_that_another_has_is_refused() -> None:
    environment = load_text(GOOD)
    floating = environment.floating["gate-n"]
    for change in (
        {"addresses": environment.hosts["gate-1"].addresses}, {"mac": environment.hosts["gate-1"].mac},
        {"hosts": ("gate-1",)},
        {"hosts": ("gate-1", "control")}, {"signs": "nowhere"}, {"site": "elsewhere"},
    ):  # fmt: skip
        text = to_bytes(replace(environment, floating={"gate-n": replace(floating, **change)}))
        with pytest.raises(SerialisedError):
            from_bytes(text)
