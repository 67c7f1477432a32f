"""What a router's ruleset says of its site, and of no other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ringfort.environment.load import load_text
from ringfort.environment.model import Protocol
from ringfort.environment.topology import backbone_addresses, backbone_mac, legs
from ringfort.errors import RingfortError
from ringfort.network.compile import compile_device
from ringfort.network.nft import Json
from tests.network.worlds import SMALL, example, keys, objects, router, rules, world

TWO_SITES = world(
    {
        "n1": ("north", "one", "46", ("a",)),
        "n2": ("north", "two", "46", ()),
        "s1": ("south", "one", "46", ("a",)),
        "s2": ("south", "two", "46", ()),
    },
    {"a": (Protocol.TCP, ((443, 443),)), "b": (Protocol.ICMP, ())},
    [("near", ("n2",), "a")],
)


def small() -> Json:
    return compile_device(example("small"), router("r1")).document


def test_antispoofing_comes_before_defragmentation_and_connection_tracking() -> None:
    assert objects(small(), "chain")["antispoofing"]["prio"] < -400  # NF_IP_PRI_CONNTRACK_DEFRAG


def test_every_interface_has_its_way_and_an_unknown_one_is_refused() -> None:
    every = rules(small(), "antispoofing")
    ways = dict(every[-2][0]["vmap"]["data"]["set"])
    assert set(ways) == {"lo", *(leg.interface for leg in legs(example("small"), "north"))}
    assert ways["alpha"] == {"goto": {"target": "from-internet"}}
    assert ways["edge"] == {"goto": {"target": "refused-spoofed"}}
    assert every[-1] == [{"goto": {"target": "refused-unknown-interface"}}]


def test_a_host_is_bound_to_its_interface_mac_and_address() -> None:
    web = example("small").hosts["web"]
    assert ("edge", web.mac, str(web.addresses[0])) in keys(small(), "bound4")
    assert len(keys(small(), "bound4")) == len(example("small").hosts)


def test_the_backbone_brings_other_sites_sources_with_their_mac_only() -> None:
    document = compile_device(TWO_SITES, router("north-r1")).document
    south = backbone_mac(TWO_SITES, "south")
    block = {"prefix": {"addr": "10.2.0.0", "len": 16}}
    assert keys(document, "backbone4") == [(south, block), (south, str(backbone_addresses(TWO_SITES, "south")[0]))]


def test_a_router_carries_no_flow_of_other_sites() -> None:
    far = replace(TWO_SITES, flows={"far": replace(TWO_SITES.flows["near"], name="far", callers=("s2",))})
    south_only = replace(far, services={"a": replace(far.services["a"], hosts=("s1",))})
    assert keys(compile_device(south_only, router("north-r1")).document, "flows4") == []
    assert len(keys(compile_device(south_only, router("south-r1")).document, "flows4")) == 1


def test_a_flow_between_sites_is_carried_by_the_routers_of_both() -> None:
    pair = ("10.1.2.3", "10.2.1.4", "tcp", 443)
    for name in ("north-r1", "north-r2", "south-r1", "south-r2"):
        assert pair in keys(compile_device(TWO_SITES, router(name)).document, "flows4")


def test_a_published_address_is_translated_on_its_own_providers_leg_only() -> None:
    assert keys(small(), "published4") == [("alpha", "198.51.100.4", "tcp", 80), ("beta", "198.51.100.20", "tcp", 443)]
    assert keys(small(), "published-echo4") == [("alpha", "198.51.100.4")]


def test_the_internet_passes_only_when_translated_and_to_what_is_published() -> None:
    public = [rule for rule in rules(small(), "new4") if "@public" in str(rule)]
    assert [rule[0] for rule in public] == [
        {"match": {"op": "in", "left": {"ct": {"key": "status"}}, "right": "dnat"}},
    ] * 2
    assert keys(small(), "public4") == [("10.10.1.2", "tcp", 443)]
    assert keys(small(), "public-echo4") == [("10.10.1.2",)]


def test_two_providers_publishing_mark_their_connections() -> None:
    assert rules(small(), "replies")
    assert rules(small(), "publish-198.51.100.20-tcp-443")[0][0] == {
        "mangle": {"key": {"ct": {"key": "mark"}}, "value": 2}
    }


def test_one_provider_alone_needs_no_marks() -> None:
    document = compile_device(example("ipv6-only"), router("r1")).document
    assert "replies" not in objects(document, "chain")
    assert "mark" not in str(document)


def test_a_service_published_at_another_site_is_refused_with_the_reason() -> None:
    (published,) = replace(
        world(
            {"n1": ("north", "one", "4", ("a",)), "s1": ("south", "one", "4", ())},
            {"a": (Protocol.TCP, ((443, 443),))},
            [("internet-a", (), "a")],
            [("a", 0)],
        )
    ).published
    abroad = world(
        {"n1": ("north", "one", "4", ("a",)), "s1": ("south", "one", "4", ())},
        {"a": (Protocol.TCP, ((443, 443),))},
        [("internet-a", (), "a")],
    )
    abroad = replace(abroad, published=(replace(published, provider="south/isp"),))
    with pytest.raises(RingfortError, match="published at south/isp for n1, which is at another site") as refused:
        compile_device(abroad, router("south-r1"))
    assert "own site" in refused.value.hint


def test_the_declared_limits_are_the_compiled_ones() -> None:
    limits = """
scan-detection: {attempts: 7, seconds: 11, refuse-seconds: 13}
connection-limit: {per-source: 17}
"""
    document = compile_device(load_text(SMALL + limits), router("r1")).document
    sets = objects(document, "set")
    assert (sets["attempts4"]["timeout"], sets["scanners4"]["timeout"]) == (11, 13)
    assert {"limit": {"rate": 1, "burst": 7, "per": "day", "inv": True}} in rules(document, "new4")[-2][0]["set"][
        "stmt"
    ]
    assert rules(document, "admit")[0][0]["set"]["stmt"] == [{"ct count": {"val": 17, "inv": True}}]


def test_flows_are_looked_up_in_hash_maps_whose_cost_does_not_grow() -> None:
    for name in ("flows4", "flows6", "published4", "public4"):
        assert "flags" not in objects(small(), "map")[name], f"{name} would be searched as intervals"
    assert "flags" not in objects(small(), "set")["bound4"]


@pytest.mark.parametrize("callers", [1, 3])
def test_the_number_of_rules_that_a_new_connection_meets_does_not_depend_on_the_number_of_flows(callers: int) -> None:
    hosts = {f"h{number}": ("north", "one", "4", ("a",) if number == 0 else ()) for number in range(callers + 1)}
    flows = [(f"f{number}", (f"h{number}",), "a") for number in range(1, callers + 1)]
    document = compile_device(world(hosts, {"a": (Protocol.TCP, ((443, 443),))}, flows), router("north-r1")).document
    met = sum(len(rules(document, chain)) for chain in ("antispoofing", "forward", "new4", "admit"))
    assert met == 14
