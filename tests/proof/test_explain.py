"""A packet is explained by the rules that decide it, in the words of the file."""

from __future__ import annotations

import json

import pytest

from ringfort.errors import RingfortError
from ringfort.proof.explain import Ask, Explanation, explain
from ringfort.proof.verdict import Decision
from tests.proof import shop


def ask(source: str, destination: str, service: str = "", *without: str, version: int = 0) -> Explanation:
    return explain(
        shop.environment(), shop.documents(), shop.checks(), Ask(source, destination, service, without, version)
    )


def test_a_declared_flow_gets_through_and_every_hop_names_it() -> None:
    told = ask("web-n-1", "app-n-1", "tcp/8443")
    assert told.possible
    assert told.exit_code == 0
    assert told.declared.startswith("web-to-app (examples/shop/flows.yaml:")
    assert [hop.mechanism for hop in told.path] == [
        "host-firewall:web-n-1",
        "port-security:north/edge",
        "router-filter:north-r1",
        "port-security:north/front-end",
        "host-firewall:app-n-1",
        "identity:app",
    ]
    assert {hop.flow for hop in told.path} == {"web-to-app", ""}


def test_an_undeclared_packet_is_refused_by_every_owner_on_its_way() -> None:
    told = ask("acme-n-1", "db-n-1", "tcp/5432")
    assert not told.possible
    assert told.exit_code == 1
    assert told.declared == ""
    assert told.refusing == (
        "sandbox-filter:acme-n-1",
        "router-filter:north-r1",
        "host-firewall:db-n-1",
        "identity:database",
    )
    assert told.depth == 3, "a host's firewall and its service's check have one owner"


def test_without_a_mechanism_the_next_one_refuses() -> None:
    told = ask(
        "acme-n-1", "db-n-1", "tcp/5432", "sandbox-filter:acme-n-1", "router-filter:north-r1", "router-filter:north-r2"
    )
    assert told.refusing == ("host-firewall:db-n-1", "identity:database")
    failed = [hop.mechanism for hop in told.path if hop.decision is Decision.FAILED]
    assert failed == ["sandbox-filter:acme-n-1", "router-filter:north-r1"]


def test_the_internet_reaches_a_published_service_through_translation() -> None:
    told = ask("internet", "198.51.100.4", "tcp/443")
    assert told.possible
    assert told.packet.place == "internet:north/alpha"
    assert told.path[0].decision is Decision.TRANSLATES
    assert told.declared.startswith("internet-to-web ")


def test_the_internet_does_not_reach_what_is_not_published() -> None:
    assert not ask("internet", "db-n-1", "tcp/5432").possible


def test_a_taken_over_router_meets_the_receiver_alone() -> None:
    told = ask("router:north-r1", "database")
    assert [hop.mechanism for hop in told.path] == [
        "port-security:north/data",
        "host-firewall:db-n-1",
        "identity:database",
    ]
    assert not told.possible


def test_between_sites_both_sites_routers_are_asked() -> None:
    told = ask("db-n-1", "db-s-1", "tcp/5433")
    assert told.possible
    assert [hop.mechanism for hop in told.path if hop.mechanism.startswith("router-filter")] == [
        "router-filter:north-r1",
        "router-filter:south-r1",
    ]


def test_ipv6_is_asked_for() -> None:
    told = ask("web-n-1", "app-n-1", version=6)
    assert ":" in told.packet.source
    assert told.possible


def test_ping_is_a_service_like_any_other() -> None:
    assert ask("internet", "ping").possible
    assert not ask("web-n-1", "app-n-1", "icmp").possible


def test_a_difference_between_the_routers_of_a_pair_is_said() -> None:
    documents = shop.without_elements(shop.router("north-r2"), "flows4", "10.10.2.2")
    told = explain(shop.environment(), documents, shop.checks(), Ask("web-n-1", "app-n-1"))
    assert told.possible
    assert told.otherwise == ("over north-r2 it is refused by router-filter:north-r2",)


@pytest.mark.parametrize(
    ("question", "code", "hint"),
    [
        (("web-n-7", "app"), "unknown-name", "did you mean web-n-2"),
        (("web-n-1", "aap"), "unknown-name", "did you mean app"),
        (("web-n-1", "10.99.0.1", "tcp/1"), "nobody-there", "name a host"),
        (("web-n-1", "app", "tcp/http"), "bad-service", "write tcp/443"),
        (("web-n-1", "admin-n-1"), "no-service", "say which"),
        (("internet:north/gamma", "web"), "unknown-name", "did you mean"),
        (("router:north-r9", "web"), "unknown-name", "did you mean north-r"),
    ],
)
def test_a_name_that_is_none_gets_a_hint(question: tuple[str, ...], code: str, hint: str) -> None:
    with pytest.raises(RingfortError) as refused:
        ask(*question)
    assert refused.value.code == code
    assert hint in refused.value.hint


def test_a_mechanism_that_is_none_gets_a_hint() -> None:
    with pytest.raises(RingfortError) as refused:
        ask("web-n-1", "app", "", "host-firewal:app-n-1")
    assert "did you mean host-firewall:app-n-1" in refused.value.hint


def test_an_explanation_is_plain_values_for_machines() -> None:
    assert json.loads(json.dumps(ask("web-n-1", "app").to_json()))["possible"] is True
