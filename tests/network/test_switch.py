"""Each port of a switch speaks for its own host, and with the gateway only."""

from __future__ import annotations

from ringfort.environment.topology import gateway_mac
from ringfort.network.compile import compile_device
from ringfort.network.nft import Json
from tests.network.worlds import example, keys, objects, rules, switch


def inner() -> Json:
    return compile_device(example("small"), switch("north/inner")).document


def test_a_port_is_bound_to_the_mac_and_addresses_of_its_host_alone() -> None:
    hosts = {name: example("small").hosts[name] for name in ("app-1", "app-2")}
    assert keys(inner(), "bound4") == [(name, h.mac, str(h.addresses[0])) for name, h in hosts.items()]
    assert keys(inner(), "bound6") == [(name, h.mac, str(h.addresses[1])) for name, h in hosts.items()]


def test_a_mac_address_is_learnt_on_its_own_port_only() -> None:
    gateway = gateway_mac(example("small"), "north/inner")
    macs = {(name, example("small").hosts[name].mac) for name in ("app-1", "app-2")}
    assert set(keys(inner(), "macs")) == macs | {("r1", gateway), ("r2", gateway)}
    chain = objects(inner(), "chain")["learning"]
    assert (chain["hook"], chain["policy"]) == ("prerouting", "drop")


def test_hosts_reach_router_ports_only() -> None:
    assert keys(inner(), "router-ports") == [("r1",), ("r2",)]
    first, *_, last = rules(inner(), "forward")
    assert first[-1] == {"goto": {"target": "from-router"}}
    assert last == [{"goto": {"target": "refused-neighbour"}}]


def test_the_switch_itself_neither_serves_nor_calls() -> None:
    for hook in ("input", "output"):
        assert objects(inner(), "chain")[hook]["policy"] == "drop"
        assert rules(inner(), hook) == [[{"goto": {"target": "refused-switch-itself"}}]]


def test_connection_tracking_is_not_asked() -> None:
    assert "'ct'" not in str(inner()), "the bridge family has none"


def test_a_segment_without_hosts_delivers_nothing() -> None:
    document = compile_device(example("nobody"), switch("north/edge")).document
    assert keys(document, "bound4") == []
    assert "bound6" not in objects(document, "set"), "a rule for a family that the segment does not have"
