"""The environment as a picture for the terminal: the internet on top, then each site's way in, segments and hosts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice, pairwise

from ringfort.environment.model import Environment, Flow, Network, Provider, Site
from ringfort.report.canvas import Canvas
from ringfort.report.summary import HostGroup, counts, groups_by_segment, service_in_short, source_in_short

MOST_SEGMENTS = 12
"""Segments of a site that are drawn; the rest is counted."""
MOST_GROUPS = 6
"""Groups of hosts of a segment that are drawn; the rest is counted."""
MOST_SOURCES = 24
"""Sources of flows that are listed; the rest is counted."""

ARROWS = {"mutual": "═▶", "server": "─▶", "none": "┄▶"}
"""How a flow is drawn, by the TLS of its service."""

Piece = tuple[str, str]
"""Some text and its style."""


def picture_text(environment: Environment, *, width: int = 100, colour: bool = False) -> str:
    """Draw the environment.

    Args:
        width: columns; 60 at least.
        colour: with the terminal's colours (control sequences) or plain.

    Returns:
        Lines of at most ``width`` characters, the last one ended too. Large environments are cut short: what is left
        out is counted.
    """
    canvas = Canvas(width)
    _head(canvas, environment, width)
    groups = groups_by_segment(environment)
    sites = list(environment.sites.values())
    for first in range(0, len(sites), 2):
        _row_of_sites(canvas, environment, groups, sites[first : first + 2], width)
    _flows(canvas, environment, width)
    return canvas.text(colour=colour)


def _head(canvas: Canvas, environment: Environment, width: int) -> None:
    end = canvas.put(0, 1, environment.name, "title")
    size = counts(environment)
    canvas.put(0, max(end + 2, width - 1 - len(size)), size, "dim")


def _row_of_sites(
    canvas: Canvas, environment: Environment, groups: Mapping[str, tuple[HostGroup, ...]], sites: list[Site], width: int
) -> None:
    """One or two sites side by side, under a drawing of the internet."""
    box = (width - 4) // 2 if len(environment.sites) > 1 else min(width - 2, 64)
    lefts = [1 + index * (box + 2) for index in range(len(sites))]
    if len(sites) == 1:
        lefts = [(width - box) // 2]
    row = canvas.height + 1
    row = _internet(canvas, environment, sites, lefts, box, row)
    _routers(canvas, environment, sites, lefts, box, row)
    heights = [
        _site(canvas, environment, groups, site, left, box, row + 3) for site, left in zip(sites, lefts, strict=True)
    ]
    canvas.put(max(heights), 0, "")


def _internet(canvas: Canvas, environment: Environment, sites: list[Site], lefts: list[int], box: int, row: int) -> int:
    """The internet, and the providers hanging from it; returns the row of the routers."""
    drops = [
        (provider, center)
        for site, left in zip(sites, lefts, strict=True)
        for provider, center in _provider_places(environment, site, left, box)
    ]
    middle = (lefts[0] + lefts[-1] + box) // 2
    label = "╴ the internet ╶"
    if not drops:
        canvas.put(row, middle - len(label) // 2, label, "internet")
        return row + 2
    centers = [center for _, center in drops]
    left, right = min(*centers, middle - 12), max(*centers, middle + 12)
    canvas.put(row, left, "╭" + "─" * (right - left - 1) + "╮", "internet")
    canvas.put(row, middle - len(label) // 2, label, "internet")
    for provider, center in drops:
        if center not in (left, right):
            canvas.put(row, center, "┬", "internet")
        room = box // min(3, len(environment.sites[provider.site].providers)) - 1
        for line, words in enumerate((provider.name, *map(str, provider.networks[:2]))):
            short = _fit(words, room)
            canvas.put(row + 1 + line, center - len(short) // 2, short, "provider" if line == 0 else "dim")
    return row + 2 + max(len(provider.networks[:2]) for provider, _ in drops)


def _provider_places(environment: Environment, site: Site, left: int, box: int) -> Iterator[tuple[Provider, int]]:
    shown = site.providers[:3]
    for index, key in enumerate(shown):
        yield environment.providers[key], left + (2 * index + 1) * box // (2 * len(shown))


def _routers(canvas: Canvas, environment: Environment, sites: list[Site], lefts: list[int], box: int, row: int) -> None:
    """The routers of each site in a heavy box, joined by the backbone."""
    edges: list[tuple[int, int]] = []
    for site, left in zip(sites, lefts, strict=True):
        room = (box - 12) // max(1, len(site.routers)) - 2
        label = f"  {'  ══  '.join(_fit(name, room) for name in site.routers) or 'no router'}  "
        start = left + (box - len(label)) // 2 - 1
        middle = left + box // 2 - start - 1
        top = "━" * len(label)
        canvas.put(row, start, f"┏{top}┓", "router")
        canvas.put(row + 1, start, f"┃{label}┃", "router")
        canvas.put(row + 2, start, f"┗{top[:middle]}┯{top[middle + 1 :]}┛", "router")
        edges.append((start, start + len(label) + 1))
    if environment.backbone is not None:
        for (_, right), (left, _) in pairwise(edges):
            canvas.put(row + 1, right + 1, "backbone".center(left - right - 1, "═"), "backbone")


def _site(
    canvas: Canvas,
    environment: Environment,
    groups: Mapping[str, tuple[HostGroup, ...]],
    site: Site,
    left: int,
    box: int,
    row: int,
) -> int:
    """A site's box with its segments; returns the row below it."""
    blocks = _networks(site.blocks, box // 2 - 6)
    canvas.put(row, left, "╭" + "─" * (box - 2) + "╮", "dim")
    canvas.put(row, left + box // 2, "┴", "dim")
    canvas.put(row, left + 2, f" {_fit(site.name, box // 2 - 8)} ", "site")
    canvas.put(row, left + box - 4 - len(blocks), f" {blocks} ", "dim")
    row += 1
    for line in _segments(environment, groups, site, box - 4):
        canvas.put(row, left, "│", "dim")
        column = left + 2
        for text, style in line:
            column = canvas.put(row, column, text, style)
        canvas.put(row, left + box - 1, "│", "dim")
        row += 1
    canvas.put(row, left, "╰" + "─" * (box - 2) + "╯", "dim")
    return row + 1


def _segments(
    environment: Environment, groups: Mapping[str, tuple[HostGroup, ...]], site: Site, room: int
) -> Iterator[list[Piece]]:
    for key in site.segments[:MOST_SEGMENTS]:
        segment = environment.segments[key]
        title = segment.name if segment.name.startswith(segment.tier) else f"{segment.name} ({segment.tier})"
        title = _fit(title, room - 1)
        networks = _networks(segment.networks, room - len(title) - 2)
        yield [("▌", segment.tier), (title, segment.tier), (networks.rjust(room - 1 - len(title)), "dim")]
        yield from _hosts(environment, groups[key], segment.tier, room)
    rest = site.segments[MOST_SEGMENTS:]
    if rest:
        hosts = sum(len(group.hosts) for key in rest for group in groups[key])
        yield [(f"… and {len(rest):,} segments more with {hosts:,} hosts", "dim")]


def _networks(networks: tuple[Network, ...], room: int) -> str:
    both = "  ".join(map(str, networks))
    return both if len(both) <= room else _fit(str(networks[0]) if networks else "", room)


def _hosts(environment: Environment, groups: tuple[HostGroup, ...], tier: str, room: int) -> Iterator[list[Piece]]:
    column = max((len(group.title) for group in groups[:MOST_GROUPS]), default=0)
    for group in groups[:MOST_GROUPS]:
        title = _fit(group.title, room - 2)
        line = [("▌ ", tier), (title, "")]
        space = room - column - 5
        if space > 3:
            line += [(" " * (column - len(title) + 3), ""), (_serves(environment, group, space), "server")]
        yield line
    if len(groups) > MOST_GROUPS:
        rest = sum(len(group.hosts) for group in groups[MOST_GROUPS:])
        yield [("▌ ", tier), (f"… and {rest:,} hosts more", "dim")]
    if not groups:
        yield [("▌ ", tier), ("no hosts", "dim")]


def _serves(environment: Environment, group: HostGroup, room: int) -> str:
    """What a group serves, with ports if there is room."""
    long = " · ".join(service_in_short(environment.services[name]) for name in group.services)
    short = " · ".join(group.services)
    return long if len(long) <= room else _fit(short, room)


def _flows(canvas: Canvas, environment: Environment, width: int) -> None:
    row = canvas.height
    column = canvas.put(row, 1, "flows", "title") + 3
    for tls, words in (("mutual", "both sides prove who they are"), ("server", "TLS"), ("none", "plain")):
        column = canvas.put(row, column, ARROWS[tls], tls)
        column = canvas.put(row, column + 1, words, "dim") + 3
    by_source: dict[str, list[Flow]] = {}
    for flow in environment.flows.values():
        by_source.setdefault(source_in_short(flow), []).append(flow)
    left = min(30, max(map(len, by_source), default=0))
    for source, flows in islice(by_source.items(), MOST_SOURCES):
        row = _flows_of(canvas, environment, source, flows, row + 1, left, width)
    if len(by_source) > MOST_SOURCES:
        canvas.put(row + 1, 2, f"… and flows from {len(by_source) - MOST_SOURCES:,} sources more", "dim")


def _flows_of(
    canvas: Canvas, environment: Environment, source: str, flows: list[Flow], row: int, left: int, width: int
) -> int:
    """One source's flows in as many lines as they need; returns the last row."""
    canvas.put(row, 2, _fit(source, left), "internet" if flows[0].internet else "")
    column = start = left + 4
    for flow in flows:
        tls = environment.services[flow.service].tls
        name = _fit(flow.service, width - start - 5)
        if column + len(name) + 3 > width and column > start:
            row, column = row + 1, start
        column = canvas.put(row, column, ARROWS[tls], tls)
        column = canvas.put(row, column + 1, name) + 3
    return row


def _fit(text: str, room: int) -> str:
    return text if len(text) <= room else text[: max(0, room - 1)] + "…"
