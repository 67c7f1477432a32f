"""The picture for the terminal shows the whole environment in little room."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringfort.environment.load import load_text
from ringfort.report.text import picture_text
from tests.report import samples

SHOP = samples.shop()


def test_the_example_fits_on_a_screen_of_a_hundred_columns() -> None:
    lines = picture_text(SHOP).splitlines()
    assert max(map(len, lines)) <= 100
    assert len(lines) <= 48


@pytest.mark.parametrize("width", [60, 72, 79, 100, 160])
def test_no_line_is_longer_than_asked(width: int) -> None:
    assert max(map(len, picture_text(SHOP, width=width).splitlines())) <= width


def test_everything_that_was_declared_can_be_found() -> None:
    picture = picture_text(SHOP)
    providers = [provider.name for provider in SHOP.providers.values()]
    segments = [segment.name for segment in SHOP.segments.values()]
    for name in ["the internet", "backbone", *SHOP.sites, *SHOP.routers, *SHOP.services, *providers, *segments]:
        assert name in picture


def test_each_group_of_hosts_is_one_line_with_its_services() -> None:
    lines = [line for line in picture_text(SHOP).splitlines() if "app-n" in line]
    assert len(lines) == 1
    assert "app-n ×3   app :8443" in lines[0]


def test_flows_show_how_they_are_protected() -> None:
    lines = picture_text(SHOP).splitlines()
    internet = next(line for line in lines if line.startswith("  internet"))
    assert internet.split()[1:7] == ["─▶", "web", "┄▶", "dns", "┄▶", "ping"]
    assert next(line for line in lines if line.startswith("  app ")).split()[1:3] == ["═▶", "orders"]


def test_colour_is_used_only_when_asked_for_and_changes_no_character() -> None:
    plain, coloured = picture_text(SHOP), picture_text(SHOP, colour=True)
    assert "\x1b" not in plain
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain


def test_a_large_environment_is_cut_short_and_says_what_is_left_out() -> None:
    picture = picture_text(samples.large(segments=40, hosts=50))
    assert "… and 28 segments more with 1,400 hosts" in picture
    assert "… and 20 hosts more" in picture
    assert len(picture.splitlines()) < 120


def test_an_environment_with_nothing_in_it_is_still_a_picture() -> None:
    assert picture_text(load_text(samples.EMPTY)).startswith(" nothing")


@settings(max_examples=30, deadline=None)
@given(
    sites=st.integers(1, 5),
    length=st.integers(1, 50),
    providers=st.integers(0, 4),
    width=st.integers(60, 140),
)
def test_any_names_and_numbers_of_sites_fit(sites: int, length: int, providers: int, width: int) -> None:
    name = "x" * length
    lines = ["environment: x", "trust-domain: x.example", 'backbone: {networks: ["fd00:ff::/64"]}', "sites:"]
    for site in range(sites):
        lines += [f"  {name}-s{site}:", f"    blocks: [10.{site}.0.0/16]", f"    routers: [{name}-r{site}]"]
        if providers:
            lines += ["    providers:"]
        lines += [f'      {name}-{n}: {{networks: ["2a0f:{site}:{n}::/64"]}}' for n in range(providers)]
        lines += ["    segments:", f"      {name}: {{tier: data, networks: [10.{site}.1.0/24]}}"]
    picture = picture_text(load_text("\n".join(lines)), width=width)
    assert max(map(len, picture.splitlines())) <= width
