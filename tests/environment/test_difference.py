"""Two environments compared in what they mean."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringfort.environment.accesses import Allowed, merged, without
from ringfort.environment.difference import Difference, difference
from ringfort.environment.flows import communications
from ringfort.environment.load import load_text
from ringfort.environment.model import Environment, PortRange, Protocol
from ringfort.errors import DeclarationError
from tests.environment.declare import SOUND, edited, sound

BEFORE = load_text(SOUND)


def compared(*edits: tuple[str, str]) -> Difference:
    return difference(BEFORE, sound(*edits))


def pairs(result: Difference) -> tuple[set[str], set[str]]:
    """What is opened and what is closed, as texts."""

    def texts(flows: object) -> set[str]:
        return {
            f"{access.caller or 'internet'}>{access.target}/{access.protocol}/{','.join(map(str, access.ports))}"
            for flow in flows  # type: ignore[attr-defined]
            for access in flow.accesses
        }

    return texts(result.opened), texts(result.closed)


def test_an_environment_does_not_differ_from_itself() -> None:
    assert not difference(BEFORE, load_text(SOUND))


@pytest.mark.parametrize(
    "edit",
    [
        ("{from: web, to: app}", "{from: web, to: app, name: other, reason: because}"),
        ("admins: {labels: {role: administrator}}", "admins: {hosts: [admin]}"),
        ("labels: {role: app}", "labels: {role: other}"),
        ("services: [web, ping]", "services: [ping, web]"),
        (
            "  - {from: internet, to: web}\n  - {from: internet, to: ping}\n",
            "  - {from: internet, to: ping}\n  - {from: internet, to: web}\n",
        ),
        ("ports: [5432]", 'ports: ["5432"]'),
        ("sites:\n", "# a comment\nsites:\n"),
    ],
)
def test_what_means_the_same_is_no_difference(edit: tuple[str, str]) -> None:
    assert not compared(edit)


def test_a_new_flow_opens_and_the_same_flow_gone_closes() -> None:
    result = compared(
        (
            "  - {from: web, to: app}",
            "  - {from: web, to: app}\n  - {from: admin-, to: app}".replace("admin-", "host:admin"),
        )
    )
    assert pairs(result) == ({"admin>app/tcp/8443"}, set())
    assert [(flow.flow, flow.source, flow.service) for flow in result.opened] == [("admin-to-app", "host:admin", "app")]
    assert {access.family for access in result.opened[0].accesses} == {4, 6}
    assert [result.added, result.removed, result.changed] == [(), (), ()]


def test_a_flow_that_another_one_covers_opens_nothing() -> None:
    assert pairs(
        compared(("  - {from: web, to: app}", "  - {from: web, to: app}\n  - {from: host:web-1, to: app, name: x}"))
    ) == (set(), set())


def test_another_port_opens_the_new_and_closes_the_old() -> None:
    result = compared(("ports: [5432]", 'ports: ["5430-5431", "5433-5440"]'))
    opened, closed = pairs(result)
    assert "admin>db/tcp/5430-5431,5433-5440" in opened
    assert "admin>db/tcp/5432" in closed
    assert [str(change.subject) for change in result.changed] == ["service database"]


def test_a_wider_range_opens_only_what_is_new() -> None:
    opened, closed = pairs(compared(("ports: [5432]", 'ports: ["5430-5434"]')))
    assert "admin>db/tcp/5430-5431,5433-5434" in opened
    assert closed == set()


def test_a_new_host_opens_what_flows_give_it() -> None:
    result = compared(("count: 2", "count: 3"))
    assert pairs(result) == ({"web-3>app/tcp/8443"}, set())
    assert result.added == ("host web-3 in north/edge at 10.1.1.4, fd00:1:0:1::4",)


def test_publishing_opens_a_host_to_the_internet() -> None:
    result = compared(
        ("published:\n", "published:\n  - {service: web, provider: north/alpha, address: 198.51.100.7, host: web-2}\n")
    )
    assert pairs(result) == ({"internet>web-2/tcp/443"}, set())
    assert result.published == ("web at 198.51.100.7 tcp/443 (north/alpha) -> web-2",)


def test_a_lost_family_closes() -> None:
    result = compared(
        ('data, networks: [10.1.4.0/24, "fd00:1:0:4::/64"]', "data, networks: [10.1.4.0/24]"),
        ('10.1.4.10, "fd00:1:0:4::10"', "10.1.4.10"),
    )
    assert {access.family for flow in result.closed for access in flow.accesses} == {6}
    assert ("host db", "addresses", "10.1.4.10, fd00:1:0:4::10", "10.1.4.10") in [
        (change.subject, change.attribute, change.before, change.after) for change in result.changed
    ]


@pytest.mark.parametrize(
    ("old", "new", "subject", "attribute"),
    [
        ("[5432], tls: mutual", "[5432], tls: server", "service database", "tls"),
        (
            "[5432], tls: mutual",
            "[5432], tls: mutual, identity: spiffe://test.example/service/x",
            "service database",
            "identity",
        ),
        ("[10.1.4.10,", "[10.1.4.11,", "host db", "addresses"),
        ("customer: acme}", "customer: other}", "host acme", "customer"),
        ("customer: acme}", "customer: acme, machine: blade}", "host acme", "machine"),
        ("customer: acme}", 'customer: acme, mac: "52:54:00:00:00:01"}', "host acme", "mac"),
        ("guests: {tier: customer,", "guests: {tier: customer, cluster: other,", "segment north/guests", "cluster"),
        ("guests: {tier: customer,", "guests: {tier: edge,", "segment north/guests", "tier"),
        ("[198.51.100.16/28,", "[198.51.100.32/28,", "provider south/beta", "networks"),
        ("[south-r1]", "[{name: south-r1, machine: blade}]", "router south-r1", "machine"),
        ("sites:\n", "connection-limit: {per-source: 7}\nsites:\n", "environment", "connection_limit"),
        ("sites:\n", "scan-detection: {attempts: 7}\nsites:\n", "environment", "scan_detection"),
        ("[10.255.0.0/24,", "[10.254.0.0/24,", "environment", "backbone"),
        (
            '[198.51.100.0/24, "2001:db8::/32"]',
            '[198.51.100.0/24, 192.0.2.0/24, "2001:db8::/32"]',
            "environment",
            "bogons",
        ),
        ("from: group:admins", "from: group:admins, reason: x", "", ""),
    ],
)
def test_other_changes_of_meaning_are_told(old: str, new: str, subject: str, attribute: str) -> None:
    changes = [(change.subject, change.attribute) for change in compared((old, new)).changed]
    assert (subject, attribute) in changes if subject else changes == []


def test_other_identities_of_the_same_callers_are_told() -> None:
    result = compared(
        ("{from: orders, to: database}", "{from: group:orders, to: database}"),
        ("groups:\n", "groups:\n  orders: {hosts: [orders]}\n"),
    )
    assert pairs(result) == (set(), set())
    (change,) = result.changed
    assert (change.subject, change.attribute) == ("service database", "accepted_identities")
    assert change.before == "spiffe://test.example/service/orders"
    assert "spiffe://test.example/node/orders-north-back" in change.after


EDITS = [
    ("{from: web, to: app}", "{from: host:web-1, to: app}"),
    ("count: 2", "count: 3"),
    ("ports: [5432]", 'ports: ["5000-6000"]'),
    ("  - {from: app, to: orders}\n", ""),
    ("[north/back, south/back]", "[north/back]"),
    ("tls: server, application", "tls: none, application"),
    ("[10.1.4.10,", "[10.1.4.77,"),
    ("  acme: {site: north, segment: guests, customer: acme}\n", ""),
    ('data, networks: [10.1.4.0/24, "fd00:1:0:4::/64"]', "data, networks: [10.1.4.0/24]"),
    (
        "  - {service: ping, provider: north/alpha, address: 198.51.100.4, host: web-1}\n",
        "  - {service: ping, provider: north/alpha, address: 198.51.100.5, host: web-2}\n",
    ),
    ("admins: {labels: {role: administrator}}", "admins: {labels: {role: administrator}, hosts: [orders]}"),
]


def variant(chosen: frozenset[int]) -> Environment | None:
    try:
        return load_text(edited(*(EDITS[number] for number in sorted(chosen))))
    except DeclarationError:  # some edits contradict each other
        return None


def everything(environment: Environment) -> set[tuple[str, str, int, Protocol, int]]:
    """Every access as single ports: the slow definition that differences must agree with."""
    return {
        (item.caller, item.target, item.family, item.protocol, port)
        for item in communications(environment)
        for port in itertools.chain.from_iterable(range(p.first, p.last + 1) for p in item.ports or (PortRange(1, 1),))
    }


def flattened(result: Difference, opened: bool) -> list[tuple[str, str, int, Protocol, int]]:
    return [
        (access.caller, access.target, access.family, access.protocol, port)
        for flow in (result.opened if opened else result.closed)
        for access in flow.accesses
        for ports in access.ports or (PortRange(1, 1),)
        for port in range(ports.first, ports.last + 1)
    ]


variants = st.frozensets(st.integers(0, len(EDITS) - 1)).map(variant).filter(lambda item: item is not None)


@settings(deadline=None, max_examples=60)
@given(variants, variants)
def test_a_difference_is_exactly_what_differs_and_its_way_back(one: Environment, other: Environment) -> None:
    result = difference(one, other)
    opened, closed = flattened(result, opened=True), flattened(result, opened=False)
    assert len(opened) == len(set(opened)), "nothing is told twice"
    assert set(opened) == everything(other) - everything(one)
    assert set(closed) == everything(one) - everything(other)
    back = difference(other, one)
    inverted = result.inverted()
    assert (back.opened, back.closed, back.added, back.removed) == (
        inverted.opened,
        inverted.closed,
        inverted.added,
        inverted.removed,
    )
    assert (sorted(back.changed), back.published, back.withdrawn) == (
        sorted(inverted.changed),
        inverted.published,
        inverted.withdrawn,
    )


def test_each_edit_of_the_property_is_sound_alone() -> None:
    """Else the property above would be about nothing."""
    assert sum(variant(frozenset({number})) is not None for number in range(len(EDITS))) >= len(EDITS) - 1


ranges = st.lists(
    st.tuples(st.integers(1, 30), st.integers(0, 9)).map(lambda pair: PortRange(pair[0], pair[0] + pair[1]))
)


def ports(items: object) -> set[int]:
    return {port for item in items for port in range(item.first, item.last + 1)}  # type: ignore[attr-defined]


@given(ranges, ranges)
def test_ranges_are_merged_and_subtracted_like_sets(some: list[PortRange], gone: list[PortRange]) -> None:
    assert ports(merged(some)) == ports(some)
    assert ports(without(some, gone)) == ports(some) - ports(gone)
    assert all(a.last + 1 < b.first for a, b in itertools.pairwise(merged(some)))


def test_an_oracle_of_what_is_allowed() -> None:
    allowed = Allowed(BEFORE)
    assert allowed.ports("web-1", "app", 4, Protocol.TCP) == (PortRange(8443, 8443),)
    assert allowed.ports("app", "web-1", 4, Protocol.TCP) is None
    assert allowed.ports("", "web-1", 4, Protocol.ICMP) == ()
    assert allowed.ports("", "web-2", 4, Protocol.ICMP) is None, "not published"
    assert allowed.ports("", "web-1", 6, Protocol.TCP) is None, "not published in this family"
    assert allowed.ports("nobody", "app", 4, Protocol.TCP) is None
