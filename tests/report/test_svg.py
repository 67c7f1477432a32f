"""The picture is one element that stands on its own, whatever is in the environment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from ringfort.environment.load import load_text
from ringfort.environment.model import Tls
from ringfort.report.layout import MOST_CARDS, MOST_LANES, plan
from ringfort.report.summary import INTERNET, arrows, groups_by_segment
from ringfort.report.svg import BADGES, picture_svg
from tests.report import samples

SHOP = samples.shop()


def texts(picture: str) -> list[str]:
    return [element.text or "" for element in elements(picture, "text")]


def elements(picture: str, name: str) -> Iterator[ET.Element]:
    return ET.fromstring(picture).iter(f"{{http://www.w3.org/2000/svg}}{name}")


def test_the_picture_is_well_formed_and_asks_for_nothing_from_outside() -> None:
    picture = picture_svg(SHOP)
    assert list(elements(picture, "rect"))
    inside = picture.replace("http://www.w3.org/2000/svg", "")
    for reference in ("http:", "https:", "//", "@import", "<script", "<image", "<foreignObject"):
        assert reference not in inside


def test_every_place_has_its_name_in_it() -> None:
    found = texts(picture_svg(SHOP))
    providers = [provider.name for provider in SHOP.providers.values()]
    segments = [segment.name for segment in SHOP.segments.values()]
    for name in ["the internet", *SHOP.sites, *SHOP.routers, *providers, *segments, "web-n", "db-s", "watch-n"]:
        assert name in found


def test_each_flow_between_two_groups_is_one_curve() -> None:
    drawn = [path for path in elements(picture_svg(SHOP), "path") if "marker-end" in path.attrib]
    published = {(entry.provider, entry.host.rstrip("-12")) for entry in SHOP.published}
    inside = [arrow for arrow in arrows(SHOP, groups_by_segment(SHOP))[0] if arrow.source != INTERNET]
    assert len(drawn) == len(inside) + len(published)


def test_an_arrow_is_as_weak_as_its_weakest_flow() -> None:
    services = dict(SHOP.services)
    services["orders"] = replace(services["orders"], tls=Tls.NONE)
    changed = replace(SHOP, services=services)
    found = {(arrow.source, arrow.target): arrow.tls for arrow in arrows(changed, groups_by_segment(changed))[0]}
    assert found["app-n-1", "orders-n-1"] is Tls.NONE
    assert found["orders-n-1", "db-n-1"] is Tls.MUTUAL


@pytest.mark.parametrize("mark", BADGES)
def test_a_mark_is_told_in_words_where_it_stands(mark: str) -> None:
    picture = picture_svg(SHOP, {"router:north-r1": mark, "host:db-n-2": mark, "segment:south/data": mark})
    assert texts(picture).count(BADGES[mark]) == 3


def test_marks_on_what_is_not_there_are_passed_over() -> None:
    assert picture_svg(SHOP, {"host:nobody": "reached", "router:north-r1": "unheard-of"}) == picture_svg(SHOP)


def test_names_never_become_markup() -> None:
    hostile = '"><script>alert(1)</script>&'
    host = replace(SHOP.hosts["stock-n"], name=hostile)
    hosts = {hostile if name == "stock-n" else name: host if name == "stock-n" else h for name, h in SHOP.hosts.items()}
    services = dict(SHOP.services)
    services["stock"] = replace(services["stock"], hosts=(hostile, "stock-s"))
    flows = {
        name: replace(flow, callers=tuple(hostile if caller == "stock-n" else caller for caller in flow.callers))
        for name, flow in SHOP.flows.items()
    }
    picture = picture_svg(replace(SHOP, hosts=hosts, services=services, flows=flows, name=hostile))
    assert "<script" not in picture
    assert hostile in texts(picture)


def test_cards_stand_inside_their_lanes_and_lanes_below_each_other() -> None:
    for site in plan(SHOP).sites:
        for upper, lower in zip(site.lanes, site.lanes[1:], strict=False):
            assert upper.box.bottom < lower.box.y
        for lane in site.lanes:
            for card in lane.cards:
                assert lane.box.x < card.box.x
                assert card.box.x + card.box.width <= lane.box.x + lane.box.width
                assert lane.box.y < card.box.y
                assert card.box.bottom < lane.box.bottom


def test_a_large_environment_stays_a_picture_and_says_what_is_left_out() -> None:
    large = samples.large(segments=40, hosts=200)
    layout = plan(large)
    assert len(layout.sites[0].lanes) == MOST_LANES
    assert all(len(lane.cards) <= MOST_CARDS for lane in layout.sites[0].lanes)
    picture = picture_svg(large)
    assert len(picture) < 1_000_000
    assert "and 26 segments more" in texts(picture)
    assert any("flows are not drawn" in text for text in texts(picture))


def test_an_environment_with_nothing_in_it_is_still_a_picture() -> None:
    assert "nothing" in texts(picture_svg(load_text(samples.EMPTY)))
