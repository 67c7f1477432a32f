"""What services check of their callers."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings

from ringfort.environment.load import load
from ringfort.environment.model import Environment, Tls
from ringfort.network.identity import identity_checks
from tests.network.worlds import example, worlds

SHOP = Path(__file__).parents[2] / "examples" / "shop"


def test_a_mutual_service_accepts_exactly_the_identities_of_its_flows() -> None:
    (database, replication) = identity_checks(load(SHOP))["db-n-1"]
    prefix = "spiffe://shop.example"
    assert database.service == "database"
    assert database.callers == {
        f"{prefix}/service/orders",
        f"{prefix}/service/stock",
        *(f"{prefix}/node/{name}" for name in ("admin-n-1", "admin-n-2", "admin-s")),
    }
    assert replication.callers == {f"{prefix}/service/database"}


def test_a_service_without_mutual_tls_checks_nobody() -> None:
    web, ping = identity_checks(example("small"))["web"]
    assert (web.service, web.tls, web.callers) == ("web", Tls.SERVER, frozenset())
    assert (ping.service, ping.tls, ping.callers) == ("ping", Tls.NONE, frozenset())


@given(worlds())
@settings(deadline=None)
def test_every_host_has_one_check_for_each_of_its_services(world: Environment) -> None:
    checks = identity_checks(world)
    assert {name: tuple(check.service for check in own) for name, own in checks.items()} == {
        host.name: host.services for host in world.hosts.values()
    }
    for own in checks.values():
        for check in own:
            assert (check.protocol, check.ports) == (
                world.services[check.service].protocol,
                world.services[check.service].ports,
            )
