"""Every declared flow is used, with the right keys; stolen keys are tried where the network would not stop them."""

from __future__ import annotations

import pytest

from ringfort.drill.calls import VISITOR, declared_calls, played, stolen_calls
from ringfort.drill.declaration import Declaration, Place, PlaceKind, Standing
from ringfort.environment.model import Tls
from ringfort.environment.topology import Device
from ringfort.lab.authority import holders
from tests.drill import worlds

SHOP = worlds.shop()
CALLS = list(declared_calls(SHOP))


def test_every_flow_is_used_by_every_caller_at_every_receiver_in_both_families() -> None:
    used = {
        (call.flow, call.place.name, call.receiver, call.destination.version)
        for call in CALLS
        if isinstance(call.place, Device)
    }
    expected = {
        (flow.name, caller, receiver, version)
        for flow in SHOP.flows.values()
        for caller in flow.callers
        for receiver in SHOP.services[flow.service].hosts
        for version in (4, 6)
        if caller != receiver
    }
    assert used == expected


def test_every_published_address_is_used_from_the_internet() -> None:
    used = {(call.destination, call.port) for call in CALLS if call.place == VISITOR}
    assert used == {(entry.address, entry.port) for entry in SHOP.published}


def test_every_call_is_declared() -> None:
    says = Declaration(SHOP)
    for call in CALLS:
        if isinstance(call.place, Device):
            assert call.source is not None
            place = Place(PlaceKind.HOST, call.place.name)
            assert (
                says.standing(place, call.source, call.destination, call.service.protocol, call.port)
                is Standing.DECLARED
            )


def test_callers_show_a_key_that_they_hold_exactly_where_it_is_asked_for() -> None:
    known = {holder.name: holder.identity for holder in holders(SHOP)}
    for call in CALLS:
        if call.service.tls is not Tls.MUTUAL:
            assert call.holder == ""
            continue
        assert isinstance(call.place, Device)
        assert call.holder.endswith(f"@{call.place.name}")
        assert known[call.holder] in SHOP.flows[call.flow].identities


def test_a_sample_uses_each_flow_once_in_each_family() -> None:
    found = [(call.flow, call.destination.version) for call in declared_calls(SHOP, sample=True)]
    assert len(found) == len(set(found))
    assert {flow for flow, _ in found} == set(SHOP.flows)


@pytest.mark.parametrize("victim", list(SHOP.hosts))
def test_stolen_keys_are_used_by_somebody_else_who_may_reach_the_service(victim: str) -> None:
    says = Declaration(SHOP)
    calls = list(stolen_calls(SHOP, victim))
    assert calls
    for call in calls:
        assert isinstance(call.place, Device)
        assert call.place.name != victim
        assert call.holder.endswith(f"@{victim}")
        assert call.source is not None
        place = Place(PlaceKind.HOST, call.place.name)
        assert (
            says.standing(place, call.source, call.destination, call.service.protocol, call.port) is Standing.DECLARED
        )


def test_every_service_that_a_stolen_key_opens_is_tried_with_it() -> None:
    opened = {
        f.service for f in SHOP.flows.values() if "app-n-1" in f.callers and SHOP.services[f.service].tls is Tls.MUTUAL
    }
    assert {call.service.name for call in stolen_calls(SHOP, "app-n-1")} == opened


def test_ports_that_customers_instances_have_are_left_out_and_named() -> None:
    receiver, port = CALLS[0].receiver, CALLS[0].port
    kept, left = played(CALLS, {receiver: frozenset({port}), "nobody": frozenset({port})})
    assert left == {receiver: {port}}
    assert set(CALLS) - set(kept) == {call for call in CALLS if (call.receiver, call.port) == (receiver, port)}
    assert played(CALLS, {}) == (CALLS, {})
