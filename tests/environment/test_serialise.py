"""The text that is signed: one for each environment, and nothing else is taken."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import synthetic_sites
from ringfort.environment.codecs import WrongFormError, codec_of
from ringfort.environment.load import load, load_portable
from ringfort.environment.model import (
    ConnectionLimit,
    Control,
    Environment,
    Operator,
    OperatorRole,
    ScanDetection,
    Tier,
    Tls,
)
from ringfort.environment.serialise import SerialisedError, from_bytes, to_bytes
from ringfort.environment.topology import gateway_addresses
from ringfort.errors import DeclarationError, Origin
from tests.environment.declare import sound
from tests.house.tree import ROOT
from tests.network.worlds import worlds

SHOP = load(ROOT / "examples" / "shop")
SHOP_TEXT = to_bytes(SHOP)
FIRST, SECOND = list(SHOP.hosts.values())[:2]

NAMES = st.from_regex(r"[a-z]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
WORDS = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=12)
NUMBERS = st.integers(0, 2**53 - 1)
ORIGINS = st.builds(Origin, WORDS, NUMBERS, NUMBERS)
OPERATORS = st.lists(
    st.builds(
        Operator,
        st.sampled_from(["alice", "bob"]),
        st.lists(st.sampled_from(OperatorRole), min_size=1, unique=True).map(tuple),
        st.just(()),
    ),
    max_size=2,
).map(tuple)
OPTIONAL = st.just("") | NAMES


@st.composite
def environments(draw: st.DrawFn) -> Environment:
    """Small environments, with whatever may stand in those fields of which the compiler makes nothing."""
    world = draw(worlds())

    def each(things: Any, **fields: st.SearchStrategy[Any]) -> dict[str, Any]:  # noqa: ANN401
        fields["origin"] = ORIGINS
        return {
            key: replace(thing, **{name: draw(values) for name, values in fields.items()})
            for key, thing in things.items()
        }

    services = st.sampled_from(list(world.services))
    labels = st.dictionaries(NAMES, st.from_regex("[A-Za-z0-9]([A-Za-z0-9._-]{0,6}[A-Za-z0-9])?", fullmatch=True))
    return replace(
        world,
        name=draw(NAMES),
        sites=each(world.sites),
        providers=each(world.providers),
        routers=each(world.routers, machine=NAMES),
        segments=each(world.segments, tier=st.sampled_from(Tier), cluster=NAMES, machine=NAMES),
        hosts=each(world.hosts, customer=OPTIONAL, labels=labels, machine=NAMES, management=st.booleans()),
        services=each(world.services, tls=st.sampled_from(Tls), application=OPTIONAL),
        flows=each(world.flows, reason=WORDS, operators=st.lists(NAMES, max_size=2).map(tuple)),
        scan_detection=draw(st.builds(ScanDetection, NUMBERS, NUMBERS, NUMBERS)),
        connection_limit=draw(st.builds(ConnectionLimit, NUMBERS)),
        control=draw(st.none() | st.builds(Control, services, *[st.just("") | services] * 3, OPERATORS, ORIGINS)),
    )


@settings(max_examples=60, deadline=None)
@given(environments())
def test_any_environment_comes_back_as_it_was_in_its_order(environment: Environment) -> None:
    back = from_bytes(to_bytes(environment))
    assert back == environment
    for section in ("sites", "segments", "hosts", "services", "flows", "routers", "providers"):
        assert list(getattr(back, section)) == list(getattr(environment, section))
    assert back.hosts_by_segment == environment.hosts_by_segment
    assert to_bytes(back) == to_bytes(environment)


def test_the_example_comes_back_as_it_was() -> None:
    assert from_bytes(SHOP_TEXT) == SHOP


def test_the_text_is_json_with_sorted_names_and_nothing_between() -> None:
    plain = json.dumps(json.loads(SHOP_TEXT), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert plain.encode() == SHOP_TEXT


def edited(edit: Any) -> bytes:  # noqa: ANN401
    document = json.loads(SHOP_TEXT)
    edit(document)
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def setting(path: str, value: object) -> Any:  # noqa: ANN401
    def edit(document: Any) -> None:  # noqa: ANN401
        *way, last = path.split(".")
        for word in way:
            document = document[int(word) if word.isdigit() else word]
        if value is ...:
            del document[last]
        else:
            document[int(last) if last.isdigit() else last] = value

    return edit


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("hosts.3.mac", ..., "hosts.3: 'mac' is missing"),
        ("hosts.3.color", "red", "hosts.3: 'color' is unknown"),
        ("flows", ..., "'flows' is missing"),
        ("hosts.0.addresses.0", "10.10.1.256", "hosts.0.addresses: '10.10.1.256' is no address"),
        ("hosts.0.addresses.0", "FD00::1", "'FD00::1' is no address"),
        ("hosts.0.addresses.0", "fe80::1%eth0", "'fe80::1%eth0' is no address"),
        ("hosts.0.addresses.0", 17, "17 is no address"),
        ("hosts.0.labels", {"role": 3}, "hosts.0.labels: 3 is no text"),
        ("hosts.0.management", 1, "hosts.0.management: 1 is neither true nor false"),
        ("hosts.0.services", "web", "hosts.0.services: 'web' is no list"),
        ("hosts.0", "web", "hosts.0: 'web' is no mapping"),
        ("hosts.0.origin", "file:01:1", "is no place in a file"),
        ("services.0.ports.0", "443-443", "is no range of ports"),
        ("services.0.tls", "mutal", "'mutal' is none of none, server, mutual"),
        ("sites.0.blocks.0", "10.10.0.1/16", "'10.10.0.1/16' is no network"),
        ("connection_limit.per_source", True, "True is no whole number"),
        ("connection_limit.per_source", 2**53, "is no whole number"),
        ("connection_limit.per_source", 1.0, "1.0 is no whole number"),
        ("hosts.0.name", SECOND.name, "stands there twice"),
        ("hosts.0.segment", "north/nowhere", "there is no segment 'north/nowhere'"),
        ("flows.0.service", "nothing", "there is no service 'nothing'"),
        ("services.0.hosts", ["nobody"], "there is no host 'nobody'"),
        ("published.0.host", "nobody", "there is no host 'nobody'"),
        ("backbone", [], "backbone: [] is no mapping"),
        ("hosts.0.name", 'a"; flush ruleset', "is no name"),
        ("hosts.0.machine", "a\n", "is no machine"),
        ("flows.0.name", "\x1b[2K", "is no flow"),
        ("flows.0.reason", "\x1b[2K", "is no text in one line"),
        ("flows.0.reason", "x" * 201, "is no text in one line"),
        ("flows.0.origin", "\u202e:1:1", "is no text in one line"),
        ("trust_domain", "other.example", "is no identity here"),
        ("hosts.0.mac", "01:00:00:00:00:00", "is no MAC address"),
        ("hosts.0.labels", {"role": "a b"}, "is no label"),
        ("hosts.0.addresses", ["10.99.0.1"], "10.99.0.1 is no host's address in"),
        ("hosts.0.addresses", [str(gateway_addresses(SHOP, FIRST.segment)[0])], "is no host's address in"),
        ("hosts.0.addresses", [str(SECOND.addresses[0])], f"{SECOND.addresses[0]} is {FIRST.name}'s already"),
        ("hosts.0.mac", SECOND.mac, f"{SECOND.mac} is {FIRST.name}'s already"),
        ("hosts.0.identity", SECOND.identity, f"{SECOND.identity} is {FIRST.name}'s already"),
        ("hosts.0.identity", SHOP.services["app"].identity, "is service app's already"),
        ("hosts.0.site", "south", "is at another site than south"),
        ("segments.0.networks.0", "10.11.1.0/24", "lies outside of the site's blocks"),
        ("segments.0.networks.0", "10.10.2.0/24", "overlap"),
        ("sites.0.blocks.0", "10.20.0.0/16", "overlap"),
        ("services.0.ports", [], "its ports are none for tcp"),
        ("services.0.ports", ["0"], "its ports are none for tcp"),
        ("services.0.ports", ["9-8"], "its ports are none for tcp"),
        ("published.0.port", 0, "port 0"),
        ("published.0.port", 65536, "port 65536"),
        ("published.0.address", "198.51.100.99", "198.51.100.99 is none of"),
    ],
)  # fmt: skip
def test_what_is_missing_unknown_or_of_another_kind_is_told_with_its_place(path: str, value: object, told: str) -> None:
    with pytest.raises(SerialisedError) as error:
        from_bytes(edited(setting(path, value)))
    assert error.value.code == "environment-value"
    assert told in error.value.message


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"", "environment-text"),
        (b"\xff", "environment-text"),
        (b"[" * 100_000, "environment-text"),
        (b"[NaN]", "environment-text"),
        (b"9" * 10_000, "environment-text"),
        (SHOP_TEXT + b"\n", "environment-text"),
        (SHOP_TEXT.replace(b'"form":', b'"form":"x","form":'), "environment-text"),
        (SHOP_TEXT.replace(b"web", rb"\u0077eb"), "environment-text"),
        (b"[]", "environment-form"),
        (b"{}", "environment-form"),
        (b'{"form":"ringfort-environment-2"}', "environment-form"),
        (b'{"form":"ringfort-environment-1"}', "environment-value"),
    ],
)
def test_any_other_text_is_refused(text: bytes, code: str) -> None:
    with pytest.raises(SerialisedError) as error:
        from_bytes(text)
    assert error.value.code == code


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(SHOP_TEXT) - 1), st.binary(max_size=3), st.integers(0, 3))
def test_a_changed_text_is_refused_or_another_environment(place: int, new: bytes, length: int) -> None:
    changed = SHOP_TEXT[:place] + new + SHOP_TEXT[place + length :]
    try:
        found = from_bytes(changed)
    except SerialisedError:
        return
    assert to_bytes(found) == changed
    assert (found == SHOP) == (changed == SHOP_TEXT)


def test_a_declaration_has_the_same_text_wherever_it_lies(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(ROOT / "examples" / "shop", elsewhere)
    texts = {to_bytes(load_portable(path)) for path in (ROOT / "examples" / "shop", elsewhere)}
    assert len(texts) == 1
    assert str(tmp_path).encode() not in texts.pop()


def test_a_refused_declaration_is_told_with_the_places_that_the_user_knows(tmp_path: Path) -> None:
    (tmp_path / "environment.yaml").write_text("environment: x\n")
    with pytest.raises(DeclarationError) as error:
        load_portable(tmp_path)
    assert str(error.value.problems[0].origin).startswith(str(tmp_path))


GROUPS = st.sampled_from(
    ["0", "00", "1", "10", "01", "ff", "FF", "100", "256", "ffff", "10000", "", "g", "1.2.3.4", "١"]
)


@st.composite
def spellings(draw: st.DrawFn) -> str:
    """Addresses near each other, spelt rightly and wrongly."""
    if draw(st.booleans()):
        head = draw(st.sampled_from(["10.0.0", "10.0.1", "0.0.0", "010.0.0", "10.0"]))
        return f"{head}.{draw(GROUPS)}"
    head = draw(
        st.sampled_from(["fd00:1:0:2:", "fd00:", "", "fd00::1:0:0", "fd00:0:0:1:", "1:0:0:0:0:0:0", "FD00:", ":"])
    )
    return f"{head}:{draw(GROUPS)}"


@settings(max_examples=300, deadline=None)
@given(st.lists(spellings(), min_size=1, max_size=12))
def test_an_address_is_taken_in_its_one_spelling_whatever_was_read_before(texts: list[str]) -> None:
    codec, memo = codec_of(IPv4Address | IPv6Address), dict[str, Any]()
    for text in texts:
        try:
            right = str(ip_address(text)) == text
        except ValueError:
            right = False
        try:
            found = codec.read(text, memo)
        except WrongFormError:
            assert not right
        else:
            assert right
            assert found == ip_address(text)


@pytest.mark.parametrize(
    "edits",
    [
        (),
        (("{from: web, to: app}", "{from: segment:north/edge, to: app, reason: 'ärger — 日本語'}"),),
        (("app: {protocol: tcp, ports: [8443]", "app: {protocol: tcp, ports: [8443, 9000-9100]"),),
        (
            (
                "{site: north, segment: guests, customer: acme}",
                "{site: north, segment: guests, customer: acme, count: 9}",
            ),
        ),
        (("routers: [north-r1, north-r2]", "routers: [{name: north-r1, machine: m-1}, north-r2]"),),
        (("ping: {protocol: icmp}", "ping: {protocol: icmp}\n  spare: {protocol: udp, ports: [1-65535]}"),),
    ],
)
def test_what_the_loader_takes_is_taken_as_text(edits: tuple[tuple[str, str], ...]) -> None:
    environment = sound(*edits)
    assert from_bytes(to_bytes(environment)) == environment


def test_half_a_character_has_no_text() -> None:
    with pytest.raises(SerialisedError, match="no UTF-8 form"):
        to_bytes(replace(SHOP, name="\ud800"))


def test_ten_thousand_hosts_are_read_in_well_under_a_second() -> None:
    text = to_bytes(synthetic_sites.environment(10_000))
    spent = []
    for _ in range(3):
        start = time.process_time()
        environment = from_bytes(text)
        spent.append(time.process_time() - start)
        assert len(environment.hosts) == 10_000
    assert min(spent) < 1.5, "0.5 s when measured; three times that on a busy machine"
