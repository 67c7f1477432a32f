"""Whether a packet is declared follows from the words of the file."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from ringfort.drill.declaration import Declaration, Place, PlaceKind, Standing
from ringfort.environment.model import Protocol
from tests.drill import worlds

SHOP = worlds.shop()
SAYS = Declaration(SHOP)
WEB_1, WEB_2, APP_1, DB_1 = (SHOP.hosts[name].addresses[0] for name in ("web-n-1", "web-n-2", "app-n-1", "db-n-1"))
PUBLIC = ip_address("198.51.100.4")
STRANGER, BOGON = ip_address("203.0.113.9"), ip_address("192.168.1.1")


def host(name: str) -> Place:
    return Place(PlaceKind.HOST, name)


ALPHA = Place(PlaceKind.INTERNET, "north/alpha")
ROUTER = Place(PlaceKind.ROUTER, "north-r1")
TCP, UDP, ICMP = Protocol.TCP, Protocol.UDP, Protocol.ICMP
YES, MAYBE, NO = Standing.DECLARED, Standing.TOLERATED, Standing.UNDECLARED

CASES = {
    "a caller with its own address": (host("web-n-1"), WEB_1, APP_1, TCP, 8443, YES),
    "a caller at another port": (host("web-n-1"), WEB_1, APP_1, TCP, 8444, NO),
    "a caller by another protocol": (host("web-n-1"), WEB_1, APP_1, UDP, 8443, NO),
    "a caller with the address of another caller": (host("web-n-2"), WEB_1, APP_1, TCP, 8443, NO),
    "a caller's address, sent by a router": (ROUTER, WEB_1, APP_1, TCP, 8443, NO),
    "a caller's address, sent from the internet": (ALPHA, WEB_1, APP_1, TCP, 8443, NO),
    "a host without a flow": (host("web-n-1"), WEB_1, DB_1, TCP, 5432, NO),
    "a member of a group that may call": (
        host("admin-n-1"),
        SHOP.hosts["admin-n-1"].addresses[0],
        DB_1,
        TCP,
        5432,
        YES,
    ),
    "a port within a declared range": (
        host("web-n-1"),
        WEB_1,
        SHOP.hosts["watch-n"].addresses[0],
        TCP,
        6517,
        YES,
    ),
    "a service calls its own kind on another host": (
        host("db-n-2"),
        SHOP.hosts["db-n-2"].addresses[0],
        DB_1,
        TCP,
        5433,
        YES,
    ),
    "a stranger at a published address": (ALPHA, STRANGER, PUBLIC, TCP, 443, YES),
    "a stranger pings a published address": (ALPHA, STRANGER, PUBLIC, ICMP, 0, YES),
    "a stranger at a published address's closed port": (ALPHA, STRANGER, PUBLIC, TCP, 22, NO),
    "a stranger with a source that can't exist": (ALPHA, BOGON, PUBLIC, TCP, 443, NO),
    "a stranger who claims to be inside": (ALPHA, WEB_2, PUBLIC, TCP, 443, NO),
    "a stranger at the inside address of a public service": (ALPHA, STRANGER, WEB_1, TCP, 443, MAYBE),
    "a host with a source on the internet at a public service": (host("app-n-1"), STRANGER, WEB_1, TCP, 443, MAYBE),
    "a host with its own address at a public service": (host("app-n-1"), APP_1, WEB_1, TCP, 443, NO),
    "a stranger at an inside service": (ALPHA, STRANGER, APP_1, TCP, 8443, NO),
    "an address nobody has": (host("web-n-1"), WEB_1, ip_address("10.10.2.200"), TCP, 8443, NO),
}


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_a_packet_is_declared_by_its_place_source_and_service(
    case: tuple[Place, object, object, Protocol, int, Standing],
) -> None:
    place, source, destination, protocol, port, expected = case
    assert SAYS.standing(place, source, destination, protocol, port) is expected  # type: ignore[arg-type]


def test_both_families_are_judged_alike() -> None:
    source, destination = SHOP.hosts["web-n-1"].addresses[1], SHOP.hosts["app-n-1"].addresses[1]
    assert SAYS.standing(host("web-n-1"), source, destination, TCP, 8443) is YES
    assert SAYS.standing(host("web-n-2"), source, destination, TCP, 8443) is NO
