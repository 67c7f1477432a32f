"""The declared communications, one by one."""

from __future__ import annotations

from ringfort.environment.flows import INTERNET, communications
from ringfort.environment.load import load_text
from tests.environment.declare import SOUND, sound


def test_every_pair_of_hosts_and_every_common_family() -> None:
    found = [item for item in communications(load_text(SOUND)) if item.flow == "web-to-app"]
    assert [(item.caller, item.target, item.family, str(item.source), str(item.destination)) for item in found] == [
        ("web-1", "app", 4, "10.1.1.2", "10.1.2.2"),
        ("web-1", "app", 6, "fd00:1:0:1::2", "fd00:1:0:2::2"),
        ("web-2", "app", 4, "10.1.1.3", "10.1.2.2"),
        ("web-2", "app", 6, "fd00:1:0:1::3", "fd00:1:0:2::2"),
    ]
    assert {str(ports) for item in found for ports in item.ports} == {"8443"}


def test_the_internet_reaches_what_is_published_in_its_family() -> None:
    found = [item for item in communications(load_text(SOUND)) if item.caller == INTERNET]
    assert [(item.flow, item.target, item.family, item.source) for item in found] == [
        ("internet-to-web", "web-1", 4, None),
        ("internet-to-ping", "web-1", 4, None),
    ]


def test_a_host_does_not_call_itself() -> None:
    environment = sound(("  - {from: web, to: app}", "  - {from: web, to: app}\n  - {from: orders, to: orders}"))
    found = {(item.caller, item.target) for item in communications(environment) if item.flow == "orders-to-orders"}
    assert found == {("orders-north-back", "orders-south-back"), ("orders-south-back", "orders-north-back")}
