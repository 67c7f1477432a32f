"""A host takes and sends what its own flows declare, in the families it has."""

from __future__ import annotations

from hypothesis import given, settings

from ringfort.environment.model import Environment
from ringfort.environment.topology import gateway_mac
from ringfort.network.compile import compile_device, compile_environment
from tests.network.worlds import example, host, keys, objects, rules, worlds


def test_everything_must_come_from_the_gateway() -> None:
    rule = rules(compile_device(example("small"), host("web")).document, "input")[1]
    mac = gateway_mac(example("small"), "north/edge")
    assert rule[1] == {
        "match": {"op": "==", "left": {"payload": {"protocol": "ether", "field": "saddr"}}, "right": mac}
    }
    assert rule[2] == {"goto": {"target": "from-gateway"}}


def test_the_internet_may_call_what_is_published_of_this_host_only() -> None:
    document = compile_device(example("small"), host("web")).document
    assert keys(document, "public4") == [("10.10.1.2", "tcp", 443)]
    assert keys(document, "public6") == [("fd00:10:0:1::2", "tcp", 443)]
    assert "public4" not in objects(compile_device(example("small"), host("app-1")).document, "map")


def test_the_internet_is_nobody_who_is_inside_and_no_bogon() -> None:
    document = compile_device(example("small"), host("web")).document
    networks = {key[0]["prefix"]["addr"] for key in keys(document, "never-internet4") if isinstance(key[0], dict)}
    assert {"10.0.0.0", "127.0.0.0"} <= networks
    public = [rule for rule in rules(document, "from-gateway") if "@public4" in str(rule)]
    assert public[0][0]["match"]["op"] == "!="


@given(worlds())
@settings(deadline=None)
def test_a_host_without_a_family_has_no_rules_for_it(world: Environment) -> None:
    for device, ruleset in compile_environment(world).items():
        if device.name in world.hosts and str(device).startswith("host:"):
            versions = {address.version for address in world.hosts[device.name].addresses}
            text = ruleset.text
            assert versions >= {4} or "ip saddr" not in text
            assert versions >= {6} or "ip6 saddr" not in text


def test_a_host_without_flows_accepts_replies_and_nothing_else() -> None:
    document = compile_device(example("one-host"), host("alone")).document
    assert objects(document, "map") == {}
    assert [len(rules(document, chain)) for chain in ("from-gateway", "to-gateway")] == [2, 2]
