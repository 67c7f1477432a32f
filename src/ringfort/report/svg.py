"""The environment as an SVG picture: the internet on top, then each site's way in, its segments as lanes, its flows.

The picture is one element without any outside resource, follows the reader's light or dark scheme and prints in
light. Pointing at a group of hosts leaves only its own flows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.resources import files
from itertools import count

from markupsafe import Markup

from ringfort.environment.model import Environment, Protocol, Provider, PublishedService, Router, Tier
from ringfort.report.curves import Curve, bend
from ringfort.report.layout import LANES_Y, Box, Card, Lane, Plan, SitePlan, plan
from ringfort.report.markup import element
from ringfort.report.summary import INTERNET, Arrow, arrows, counts, group_key, groups_by_segment, service_in_short

MOST_ARROWS = 300
"""Curves that are drawn; what is left out is counted below the picture."""

BADGES: Mapping[str, str] = {
    "lost": "off",
    "taken": "taken over",
    "attacker": "attacker",
    "reached": "reached",
    "held": "held",
}
"""What a mark says. ``lost``: a mechanism is gone; ``taken``: the attacker owns it; ``attacker``: where the attack
comes from; ``reached``: what it got to; ``held``: what refused it."""


LEGEND = (
    ("mutual", "both sides prove who they are", False),
    ("server", "TLS, the server proves itself", False),
    ("none", "without TLS", False),
    ("public", "published to the internet", True),
    ("", "a flow, in the colour of where it starts", True),
    ("none", "a flow without TLS", True),
)
"""Style, words, and whether it is a line or a dot."""


def picture_svg(environment: Environment, marks: Mapping[str, str] | None = None) -> str:
    """Draw the environment.

    Args:
        marks: thing -> key of `BADGES`; a thing is ``internet``, ``router:NAME``, ``segment:SITE/NAME`` or
            ``host:NAME`` (the mark stands on its group). Things that are not drawn are passed over.

    Returns:
        An ``<svg>`` element, fit for a file of its own and for a page.
    """
    layout = plan(environment)
    return str(_picture(environment, layout, marks or {}))


def _picture(environment: Environment, layout: Plan, marks: Mapping[str, str]) -> Markup:
    boxes = {group_key(card.group): card.box for site in layout.sites for lane in site.lanes for card in lane.cards}
    drawn, left_out = _drawable(environment, boxes)
    numbers = {key: f"g{number}" for key, number in zip(boxes, count())}
    curves = [_curve(environment, curve, numbers) for curve in bend(drawn, boxes)]
    height = layout.height + _legend_places(layout.width)[1] - 18
    published = list(_published(environment, layout, boxes, numbers))
    children = [
        element("title", f"Environment {environment.name}: {counts(environment)}"),
        element("style", Markup(_style() + _focus(numbers))),  # noqa: S704 - our own file and numbers
        _arrow_heads(),
        element("rect", class_="paper", width=layout.width, height=height, rx=14),
        *_heading(environment, layout),
        *(_site_frame(site) for site in layout.sites),
        *_topology(layout),
        *(_lane(lane, marks) for site in layout.sites for lane in site.lanes),
        element("g", *published, *curves, class_="flows"),
        *(_lane_label(lane) for site in layout.sites for lane in site.lanes),
        _internet(layout.internet, marks),
        *(_provider(provider, box) for site in layout.sites for provider, box in site.providers),
        *(_router(router, box, marks) for site in layout.sites for router, box in site.routers),
        *(
            _card(environment, card, numbers[group_key(card.group)], marks)
            for site in layout.sites
            for lane in site.lanes
            for card in lane.cards
        ),
        *_legend(layout, left_out),
    ]
    return element(
        "svg",
        *children,
        xmlns="http://www.w3.org/2000/svg",
        class_="ringfort-picture",
        viewBox=f"0 0 {layout.width:g} {height:g}",
        width=layout.width,
        height=height,
        role="img",
    )


def _style() -> str:
    return files("ringfort.report").joinpath("templates", "picture.css").read_text(encoding="utf-8")


def _focus(numbers: Mapping[str, str]) -> str:
    """Rules that leave only the flows of the group that is pointed at."""
    return "".join(
        f".ringfort-picture:has(#{number}:hover) .flow:not(.{number}){{opacity:.05}}"
        f".ringfort-picture:has(#{number}:hover) .flow.{number}{{opacity:1;stroke-width:2.4}}"
        for number in numbers.values()
    )


def _drawable(environment: Environment, boxes: Mapping[str, Box]) -> tuple[list[Arrow], int]:
    """The flows between groups that are drawn, and how many are left out. Those of the internet are drawn apart."""
    possible, hidden = arrows(environment, groups_by_segment(environment), boxes)
    inside = [arrow for arrow in possible if arrow.source != INTERNET]
    return inside[:MOST_ARROWS], hidden + len(inside[MOST_ARROWS:])


def _arrow_heads() -> Markup:
    heads = [
        element(
            "marker",
            element("path", d="M0 0 8 4 0 8 2 4Z", class_=f"head tier-{tier}"),
            id=f"head-{tier}",
            viewBox="0 0 8 8",
            refX=7,
            refY=4,
            markerWidth=7,
            markerHeight=7,
            markerUnits="userSpaceOnUse",
            orient="auto",
        )
        for tier in (*Tier, "public")
    ]
    return element("defs", *heads)


def _heading(environment: Environment, layout: Plan) -> Iterator[Markup]:
    yield _text(28, 38, environment.name, "heading")
    yield _text(layout.width - 28, 37, counts(environment), "note end")


def _internet(box: Box, marks: Mapping[str, str]) -> Markup:
    parts = [
        element(
            "rect",
            x=box.x,
            y=box.y,
            width=box.width,
            height=box.height,
            rx=22,
            class_=_marked("internet", marks.get(INTERNET)),
        ),
        _text(box.middle, box.y + 28, "the internet", "internet-name middle"),
        *_badge(marks.get(INTERNET), box),
    ]
    return element("g", *parts)


def _site_frame(site: SitePlan) -> Markup:
    parts = [
        element("rect", x=site.box.x, y=site.box.y, width=site.box.width, height=site.box.height, rx=12, class_="site"),
        _text(site.box.x + 16, site.box.y + 26, _cut(site.site.name, 13), "site-name"),
        _text(
            site.box.x + site.box.width - 16, LANES_Y - 10, "  ".join(map(str, site.site.blocks[:2])), "note small end"
        ),
    ]
    if site.hidden:
        parts.append(_text(site.box.middle, site.box.bottom - 5, f"and {site.hidden:,} segments more", "note middle"))
    return element("g", *parts)


def _topology(layout: Plan) -> Iterator[Markup]:
    """The wires: internet to providers, providers to both routers, the spine to the segments, the backbone."""
    for site in layout.sites:
        for _, provider in site.providers:
            yield _wire(layout.internet.middle, layout.internet.bottom, provider.middle, provider.y, "wire outside")
            for _, router in site.routers:
                yield _wire(provider.middle, provider.bottom, router.middle, router.y, "wire")
        if site.lanes and site.routers:
            low = site.routers[0][1].bottom
            spine = site.box.x + 4
            last = site.lanes[-1].box
            path = (
                f"M{site.routers[0][1].middle:.1f} {low:.1f}V{low + 20:.1f}H{spine + 6:.1f}q-6 0 -6 6V{last.y + 22:.1f}"
            )
            yield element("path", d=path, class_="wire")
            for _, router in site.routers[1:]:
                yield element("path", d=f"M{router.middle:.1f} {low:.1f}V{low + 20:.1f}H{spine + 6:.1f}", class_="wire")
            for lane in site.lanes:
                yield element("path", d=f"M{spine:.1f} {lane.box.y + 22:.1f}H{lane.box.x:.1f}", class_="wire")
    yield from _backbone(layout)


def _backbone(layout: Plan) -> Iterator[Markup]:
    for left, right in zip(layout.sites, layout.sites[1:], strict=False):
        if left.routers and right.routers:
            start, end = left.routers[-1][1], right.routers[0][1]
            y = start.y + start.height / 2
            for offset in (-2.5, 2.5):
                yield element("path", d=f"M{start.x + start.width:.1f} {y + offset:.1f}H{end.x:.1f}", class_="backbone")
            yield _text((start.x + start.width + end.x) / 2, y - 9, "backbone", "note middle")


def _wire(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    half = (y1 + y2) / 2
    return element(
        "path", d=f"M{x1:.1f} {y1:.1f}C{x1:.1f} {half:.1f} {x2:.1f} {half:.1f} {x2:.1f} {y2:.1f}", class_=class_
    )


def _provider(provider: Provider, box: Box) -> Markup:
    networks = " ".join(map(str, provider.networks))
    parts = [
        element("title", f"{provider.key}: {networks}"),
        element("rect", x=box.x, y=box.y, width=box.width, height=box.height, rx=10, class_="provider"),
        _text(box.middle, box.y + 20, provider.name, "name middle"),
        _text(box.middle, box.y + 37, _cut(str(provider.networks[0]) if provider.networks else "", 26), "note middle"),
    ]
    return element("g", *parts)


def _router(router: Router, box: Box, marks: Mapping[str, str]) -> Markup:
    mark = marks.get(f"router:{router.name}")
    x, y = box.x + 18, box.y + 12
    parts = [
        element("title", f"router {router.name} on machine {router.machine}"),
        element("rect", x=box.x, y=box.y, width=box.width, height=box.height, rx=6, class_=_marked("router", mark)),
        element("path", d=f"M{x:.1f} {y:.1f}l9 -3 9 3v9q0 8 -9 13q-9 -5 -9 -13z", class_="shield"),
        element("path", d=f"M{x + 5:.1f} {y + 9:.1f}l3.5 4 6 -7", class_="tick"),
        _text(box.middle + 14, box.y + 28, _cut(router.name, 14), "name middle"),
        *_badge(mark, box),
    ]
    return element("g", *parts)


def _lane(lane: Lane, marks: Mapping[str, str]) -> Markup:
    tier, box = lane.segment.tier, lane.box
    mark = marks.get(f"segment:{lane.segment.key}")
    class_ = _marked(f"lane tier-{tier}", mark)
    return element(
        "g",
        element("rect", x=box.x, y=box.y, width=box.width, height=box.height, rx=8, class_=class_),
        element("rect", x=box.x, y=box.y + 8, width=4, height=box.height - 16, rx=2, class_=f"edge tier-{tier}"),
        *_badge(mark, box),
    )


def _lane_label(lane: Lane) -> Markup:
    """A segment's words; they stand on the flows, so that they stay readable."""
    segment, box = lane.segment, lane.box
    tier = "" if segment.name.startswith(segment.tier) else segment.tier
    notes = [text for text in (*map(str, segment.networks[:2]), tier) if text][: 3 if box.height > 76 else 2]
    parts = [
        _text(box.x + 16, box.y + 26, _cut(segment.name, 15), "name halo"),
        *(
            _text(box.x + 16, box.y + 42 + 13 * line, _cut(text, 20), "note small halo")
            for line, text in enumerate(notes)
        ),
    ]
    if lane.hidden:
        parts.append(_text(box.x + box.width - 16, box.bottom - 8, f"and {lane.hidden:,} hosts more", "note end"))
    if not lane.cards:
        parts.append(_text(box.middle + 50, box.y + 34, "no hosts", "note middle"))
    return element("g", *parts)


def _card(environment: Environment, card: Card, number: str, marks: Mapping[str, str]) -> Markup:
    group, box = card.group, card.box
    hosts = [environment.hosts[name] for name in group.hosts]
    mark = next((marks[f"host:{name}"] for name in group.hosts if f"host:{name}" in marks), None)
    listing = "\n".join(f"{host.name}  {'  '.join(map(str, host.addresses))}" for host in hosts[:20])
    parts = [
        element("title", listing),
        element("rect", x=box.x, y=box.y, width=box.width, height=box.height, rx=6, class_=_marked("card", mark)),
        _text(box.x + 10, box.y + 18, _cut(group.name, 15), "name"),
    ]
    if len(hosts) > 1:
        parts.append(_text(box.x + box.width - 10, box.y + 18, f"×{len(hosts):,}", "count end"))
    for line, name in enumerate(group.services[:4]):
        service = environment.services[name]
        y = box.y + 34 + 15 * line
        parts.append(element("circle", cx=box.x + 14, cy=y - 3.5, r=3.2, class_=f"dot {service.tls}"))
        parts.append(_text(box.x + 23, y, _cut(service_in_short(service), 20), "service"))
    if not group.services:
        parts.append(
            _text(box.x + 10, box.y + 34, f"of {group.customer}" if group.customer else "serves nothing", "note")
        )
    return element("g", *parts, *_badge(mark, box), id=number, class_="group")


def _marked(class_: str, mark: str | None) -> str:
    return f"{class_} mark-{mark}" if mark in BADGES else class_


def _badge(mark: str | None, box: Box) -> Iterator[Markup]:
    if mark is not None and mark in BADGES:
        width = 14 + 6.1 * len(BADGES[mark])
        x, y = box.x + box.width - width + 6, box.y - 9
        yield element("rect", x=x, y=y, width=width, height=18, rx=9, class_=f"badge badge-{mark}")
        yield _text(x + width / 2, y + 12.8, BADGES[mark], "badge-text middle")


def _curve(environment: Environment, curve: Curve, numbers: Mapping[str, str]) -> Markup:
    arrow = curve.arrow
    words = "\n".join(f"{environment.flows[name].source} to {environment.flows[name].service}" for name in arrow.flows)
    source = environment.hosts[arrow.source]
    tier = environment.segments[source.segment].tier
    far = " far" if source.site != environment.hosts[arrow.target].site else ""
    return element(
        "path",
        element("title", words),
        d=curve.path,
        class_=f"flow {arrow.tls} tier-{tier}{far} {numbers[arrow.source]} {numbers[arrow.target]}",
        marker_end=f"url(#head-{tier})",
    )


def _published(
    environment: Environment, layout: Plan, boxes: Mapping[str, Box], numbers: Mapping[str, str]
) -> Iterator[Markup]:
    """One curve for each provider and group that the internet reaches through it."""
    providers = {provider.key: box for site in layout.sites for provider, box in site.providers}
    group_of = {
        host: group_key(group)
        for found in groups_by_segment(environment).values()
        for group in found
        for host in group.hosts
    }
    pairs: dict[tuple[str, str], list[PublishedService]] = {}
    for published in environment.published:
        pairs.setdefault((published.provider, group_of[published.host]), []).append(published)
    for (provider, group), entries in pairs.items():
        if provider not in providers or group not in boxes:
            continue
        start, end = providers[provider], boxes[group]
        shift = (start.middle - end.middle) / 8
        x2 = end.middle + max(-end.width / 3, min(end.width / 3, shift))
        y1, y2 = start.bottom, end.y
        path = (
            f"M{start.middle:.1f} {y1:.1f}C{start.middle:.1f} {y1 + 90:.1f} {x2:.1f} {y2 - 110:.1f} {x2:.1f} {y2:.1f}"
        )
        title = "\n".join(f"{entry.address} {_port(entry)} is {entry.service} on {entry.host}" for entry in entries)
        yield element(
            "path",
            element("title", title),
            d=path,
            class_=f"flow public {numbers[group]}",
            marker_end="url(#head-public)",
        )


def _port(entry: PublishedService) -> str:
    return f"port {entry.port}" if entry.port else str(Protocol.ICMP)


def _legend_places(width: float) -> tuple[list[tuple[float, float]], float]:
    """Where each entry of the legend begins, in as many rows as it needs; and the height of these rows."""
    places = []
    x, y = 30.0, 0.0
    for _, words, is_line in LEGEND:
        room = (56 if is_line else 38) + 6.2 * len(words)
        if x + room > width - 10 and x > 30:
            x, y = 30.0, y + 18
        places.append((x, y))
        x += room
    return places, y + 18


def _legend(layout: Plan, left_out: int) -> Iterator[Markup]:
    places, _ = _legend_places(layout.width)
    top = layout.height - 24
    for (class_, words, is_line), (x, below) in zip(LEGEND, places, strict=True):
        y = top + below
        if is_line:
            yield element("path", d=f"M{x:.1f} {y - 4:.1f}h26", class_=f"flow {class_} still")
        else:
            yield element("circle", cx=x + 5, cy=y - 4, r=4.0, class_=f"dot {class_}")
        yield _text(x + (33 if is_line else 15), y, words, "note")
    notes = [f"{left_out:,} flows are not drawn"] if left_out else []
    notes += [f"{layout.hidden:,} sites are not drawn"] if layout.hidden else []
    if notes:
        yield _text(layout.width - 28, 54, ", ".join(notes), "note end")


def _text(x: float, y: float, text: str, class_: str) -> Markup:
    return element("text", text, x=float(x), y=float(y), class_=class_)


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else text[: room - 1] + "…"
