"""Every declared communication reaches exactly the devices it concerns, once, and nothing else does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringfort.environment.model import Environment, Protocol
from ringfort.environment.topology import Device, DeviceKind, devices
from ringfort.network.compile import Compiler, compile_device, compile_environment
from ringfort.network.nft import Json
from tests.network.worlds import EXAMPLES, example, host, keys, router, shuffled, switch, worlds

Communication = tuple[str, str, str, int]
"""Source, destination, protocol, port (0 for echo requests)."""


def declared(environment: Environment) -> Iterator[tuple[str, str, Communication]]:
    """Caller, callee and what is declared between them, read from the flows without the compiler."""
    for flow in environment.flows.values():
        service = environment.services[flow.service]
        ports = [port for span in service.ports for port in range(span.first, span.last + 1)] or [0]
        for caller in flow.callers:
            for callee in service.hosts:
                if caller == callee:
                    continue
                for source in environment.hosts[caller].addresses:
                    for destination in environment.hosts[callee].addresses:
                        if source.version == destination.version:
                            for port in ports:
                                what = (str(source), str(destination), service.protocol.value, port)
                                yield caller, callee, what


def allowed(document: Json, prefix: str) -> Counter[Communication]:
    """How many elements of a device's maps allow each communication."""
    found: Counter[Communication] = Counter()
    for version in "46":
        for source, destination, protocol, port in keys(document, f"{prefix}{version}"):
            found[source, destination, protocol, port] += 1
        for source, destination, protocol, port in keys(document, f"{prefix}-wide{version}"):
            first, last = port["range"] if isinstance(port, dict) else (port, port)
            found.update((source, destination, protocol, number) for number in range(first, last + 1))
        found.update((*pair, Protocol.ICMP.value, 0) for pair in keys(document, f"{prefix}-echo{version}"))
    return found


def once_at_most(found: Counter[Communication], document: Json, prefix: str) -> bool:
    """No element twice; a port may stand in the exact map and within a range of the one for long ranges."""
    exact = {key for version in "46" for key in keys(document, f"{prefix}{version}")}
    return all(count == 1 or (count == 2 and what in exact) for what, count in found.items())


@given(worlds())
@settings(deadline=None)
def test_each_declared_communication_has_one_element_in_each_router_and_host_concerned(world: Environment) -> None:
    rulesets = {device: ruleset.document for device, ruleset in compile_environment(world).items()}
    wanted: dict[tuple[Device, str], set[Communication]] = {}
    for caller, callee, what in declared(world):
        for site in {world.hosts[caller].site, world.hosts[callee].site}:
            for name in world.sites[site].routers:
                wanted.setdefault((router(name), "flows"), set()).add(what)
        wanted.setdefault((host(caller), "outgoing"), set()).add(what)
        wanted.setdefault((host(callee), "incoming"), set()).add(what)
    for device, document in rulesets.items():
        for prefix in ("flows", "incoming", "outgoing"):
            found = allowed(document, prefix)
            assert set(found) == wanted.get((device, prefix), set()), (device, prefix)
            assert once_at_most(found, document, prefix), (device, prefix)


@given(worlds(), st.integers())
@settings(deadline=None)
def test_the_order_of_declarations_changes_nothing(world: Environment, seed: int) -> None:
    there = compile_environment(shuffled(world, seed))
    assert {device: ruleset.text for device, ruleset in compile_environment(world).items()} == {
        device: ruleset.text for device, ruleset in there.items()
    }


@given(worlds())
@settings(max_examples=20, deadline=None)
def test_compiling_twice_gives_the_same(world: Environment) -> None:
    assert compile_environment(world) == compile_environment(world)


@given(worlds())
@settings(max_examples=20, deadline=None)
def test_one_device_alone_compiles_to_what_it_is_among_all(world: Environment) -> None:
    every = compile_environment(world)
    assert tuple(every) == devices(world)
    assert all(compile_device(world, device) == ruleset for device, ruleset in every.items())


def test_both_routers_of_a_site_carry_the_same_ruleset_object() -> None:
    compiler = Compiler(example("small"))
    assert compiler.device(router("r1")).document is compiler.device(router("r2")).document


def test_the_title_says_whose_ruleset_it_is() -> None:
    compiler = Compiler(example("small"))
    titles = [compiler.device(device).title for device in (router("r1"), switch("north/edge"), host("web"))]
    assert titles == [
        "routers of site north (r1, r2) in small",
        "switch of segment north/edge in small",
        "host web in small",
    ]


@pytest.mark.parametrize("name", EXAMPLES)
def test_nothing_is_accepted_by_policy_except_what_is_judged_later(name: str) -> None:
    for device, ruleset in compile_environment(example(name)).items():
        for entry in ruleset.document["nftables"]:
            chain = entry.get("chain", {})
            if chain.get("policy") == "accept":
                assert device.kind is DeviceKind.ROUTER
                assert chain["name"] in {"published", "replies"}, "a filter that accepts by policy"


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_chain_set_map_and_counter_is_used_and_every_one_used_exists(name: str) -> None:
    for device, ruleset in compile_environment(example(name)).items():
        text = ruleset.text
        for entry in ruleset.document["nftables"]:
            ((kind, body),) = entry.items()
            if kind in {"set", "map"}:
                assert f"@{body['name']} " in text.replace("\n", " "), (
                    f"{device}: {kind} {body['name']} is never looked up"
                )
            elif kind == "counter":
                assert f'counter name "{body["name"]}"' in text, f"{device}: counter {body['name']} counts nothing"
            elif kind == "chain" and "hook" not in body:
                assert f"goto {body['name']}" in text, f"{device}: chain {body['name']} is never entered"
