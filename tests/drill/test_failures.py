"""Every single failure is drilled, and what is left out can't be affected by it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from ringfort.drill.attacks import Probe
from ringfort.drill.declaration import PlaceKind
from ringfort.drill.failures import Failure, failures, mechanisms, scopes
from ringfort.drill.targets import Targets
from tests.drill import worlds

SHOP = worlds.shop()
TARGETS = Targets(SHOP)
EVERY = [probe for probes in TARGETS.rows(scopes(SHOP, None)).values() for probe in probes]
FAILURES = tuple(failures(SHOP))


def on_the_way(probe: Probe) -> Iterator[str]:
    """What may refuse a probe, told again from the topology: sender's switch, both sites' routers, receiver's switch
    and firewall, the services' checks."""
    place = probe.place
    if place.kind is PlaceKind.HOST:
        yield f"port-security:{SHOP.hosts[place.name].segment}"
        site = SHOP.hosts[place.name].site
    else:
        site = SHOP.providers[place.name].site
    yield f"site:{site}"
    if probe.target.startswith("router:"):
        return
    target = SHOP.hosts[probe.target]
    yield f"site:{target.site}"
    yield f"port-security:{target.segment}"
    yield f"host-firewall:{target.name}"
    yield from (f"identity:{service}" for service in target.services)


@pytest.mark.parametrize(
    "failure", [f for f in FAILURES if f.kind in ("port-security", "host-firewall", "identity")], ids=str
)
def test_probes_left_out_do_not_meet_what_failed(failure: Failure) -> None:
    fired = {probe for probes in TARGETS.rows(scopes(SHOP, failure)).values() for probe in probes}
    missed = [probe for probe in EVERY if probe not in fired and str(failure) in on_the_way(probe)]
    assert [str(probe) for probe in missed if not probe.target.startswith("router:")] == []
    assert fired
    assert len(fired) < len(EVERY)


@pytest.mark.parametrize("router", list(SHOP.routers))
def test_without_a_routers_filter_everything_that_crosses_its_site_is_fired(router: str) -> None:
    fired = {p for probes in TARGETS.rows(scopes(SHOP, Failure("router-filter", router))).values() for p in probes}
    site = f"site:{SHOP.routers[router].site}"
    crossing = [p for p in EVERY if site in on_the_way(p) and not p.target.startswith("router:")]
    assert [p for p in crossing if p not in fired] == []


def test_no_probe_is_fired_twice_under_one_failure() -> None:
    for failure in (None, *FAILURES):
        counts = Counter(probe for probes in TARGETS.rows(scopes(SHOP, failure)).values() for probe in probes)
        assert max(counts.values(), default=1) == 1, str(failure)


def test_every_mechanism_of_the_environment_fails_once() -> None:
    names = Counter(str(failure) for failure in FAILURES)
    assert set(names.values()) == {1}
    for router in SHOP.routers:
        assert {f"router-filter:{router}", f"router-taken-over:{router}"} <= set(names)
    for host in SHOP.hosts.values():
        kinds = ("sandbox-filter", "instance-taken-over") if host.hypervisor else ("host-firewall", "host-taken-over")
        assert {f"{kind}:{host.name}" for kind in (*kinds, "identity-stolen")} <= set(names)
    assert {"sandbox-escaped:metal-n-1", "sandbox-escaped:metal-s"} <= set(names)
    assert {f"port-security:{key}" for key in SHOP.segments} <= set(names)
    mutual = {f"identity:{service.name}" for service in SHOP.services.values() if service.tls == "mutual"}
    mutual -= {"identity:controller", "identity:witness"}  # which check for themselves, and can't be told not to
    assert {name for name in names if name.startswith("identity:")} == mutual
    assert "authority" in names


def test_a_failure_switches_off_what_its_owner_would_lose() -> None:
    assert mechanisms(SHOP, Failure("router-taken-over", "north-r1")) == ("router-filter:north-r1",)
    assert mechanisms(SHOP, Failure("host-taken-over", "db-n-1")) == ("host-firewall:db-n-1",)
    assert mechanisms(SHOP, Failure("identity-stolen", "db-n-1")) == ()
    assert "identity:orders" in mechanisms(SHOP, Failure("authority", ""))
