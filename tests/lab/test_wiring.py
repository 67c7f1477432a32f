"""Wiring shared by several processes comes out as wiring by one: the same lab, and nothing left to change."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ringfort.errors import RingfortError
from ringfort.lab import building, netlink, plan, state, wiring
from ringfort.lab.differences import Address, Change, Step, differences
from ringfort.lab.lab import Lab
from tests.lab import worlds
from tests.lab.calls import failures
from tests.lab.running import running

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab that was wired by several processes, small as it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wiring, "MANY", 0)
        with running(tmp_path_factory.mktemp("wired"), worlds.SMALL, "wired") as made:
            yield made


def test_what_several_processes_wired_is_what_one_would_have(shared: Lab) -> None:
    wanted = plan.plan(shared.environment, shared.active())
    with netlink.Connections() as connections:
        alone = {name: netlink.observe(connections, name) for name in wanted}
        assert differences(wanted, alone) == []
        assert wiring.observed(list(wanted), connections) == alone


def test_a_lab_that_several_processes_wired_works(shared: Lab) -> None:
    assert failures(shared) == []


def test_another_router_is_made_the_active_one_whatever_was_there(shared: Lab) -> None:
    site = "north"
    affected = building.namespaces_of_site(shared.environment, site)
    shared.activate(site, "r2")
    # Killed in the middle: r1 is noted as the active one, and r2 still is.
    state.save(shared.environment.name, building.ACTIVE, {site: "r1"})
    shared.activate(site, "r1")
    wanted = plan.plan(shared.environment, {site: "r1"})
    with netlink.Connections() as connections:
        seen = wiring.observed(list(wanted), connections)
    assert differences({name: wanted[name] for name in affected}, seen) == []
    assert differences(wanted, seen) == []


def test_what_the_kernel_refuses_another_process_is_told(shared: Lab) -> None:
    place = shared.namespace("internet")
    change = Change(place, Step.ADD_ADDRESS, Address("lo", "10.0.0.1/99"))
    wanted = plan.plan(shared.environment, shared.active())
    with netlink.Connections() as connections, pytest.raises(RingfortError) as refused:
        wiring.converge(wanted, [place], connections, [change])
    assert "kernel-refused" in refused.value.code
