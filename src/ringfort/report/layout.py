"""Where everything of a picture stands, in SVG's user units: pure geometry, no markup."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from ringfort.environment.model import Environment, Provider, Router, Segment, Site, Tier
from ringfort.report.summary import HostGroup, groups_by_segment

T = TypeVar("T")

MOST_SITES = 4
MOST_LANES = 14
MOST_CARDS = 12

MARGIN = 28
SITE_WIDTH = 620
SITE_GAP = 64
LANE_LABEL = 132
CARDS_A_ROW = 3
CARD_WIDTH = 150
CARD_GAP = 12
INTERNET_Y = 64
PROVIDER_Y = 158
ROUTER_Y = 262
LANES_Y = 352
LANE_GAP = 26


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle; ``x`` and ``y`` are its upper left corner."""

    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        """The horizontal middle."""
        return self.x + self.width / 2

    @property
    def bottom(self) -> float:
        """The lower edge."""
        return self.y + self.height


@dataclass(frozen=True, slots=True)
class Card:
    """A group of hosts in its lane."""

    group: HostGroup
    box: Box


@dataclass(frozen=True, slots=True)
class Lane:
    """A segment; ``hidden`` hosts did not fit."""

    segment: Segment
    box: Box
    cards: tuple[Card, ...]
    hidden: int


@dataclass(frozen=True, slots=True)
class SitePlan:
    """A site; ``hidden`` segments did not fit."""

    site: Site
    box: Box
    providers: tuple[tuple[Provider, Box], ...]
    routers: tuple[tuple[Router, Box], ...]
    lanes: tuple[Lane, ...]
    hidden: int


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole picture; ``hidden`` sites did not fit."""

    width: float
    height: float
    internet: Box
    sites: tuple[SitePlan, ...]
    hidden: int


def plan(environment: Environment) -> Plan:
    """Place the internet, providers, routers, segments and groups of hosts."""
    groups = groups_by_segment(environment)
    shown = list(environment.sites.values())[:MOST_SITES]
    sites = tuple(
        _site(environment, groups, site, MARGIN + index * (SITE_WIDTH + SITE_GAP)) for index, site in enumerate(shown)
    )
    count = max(1, len(sites))
    width = 2 * MARGIN + count * SITE_WIDTH + (count - 1) * SITE_GAP
    height = max((site.box.bottom for site in sites), default=INTERNET_Y + 80) + 58
    internet = Box(width / 2 - 150, INTERNET_Y, 300, 44)
    return Plan(width, height, internet, sites, len(environment.sites) - len(shown))


def _site(environment: Environment, groups: Mapping[str, tuple[HostGroup, ...]], site: Site, left: float) -> SitePlan:
    order = list(Tier)
    keys = sorted(site.segments, key=lambda key: order.index(environment.segments[key].tier))
    lanes: list[Lane] = []
    top: float = LANES_Y
    for key in keys[:MOST_LANES]:
        lane = _lane(environment.segments[key], groups[key], left, top)
        lanes.append(lane)
        top = lane.box.bottom + LANE_GAP
    providers = _row([environment.providers[key] for key in site.providers], left, PROVIDER_Y, 168, 50)
    routers = _row([environment.routers[name] for name in site.routers], left, ROUTER_Y, 150, 46)
    box = Box(left, ROUTER_Y - 18, SITE_WIDTH, max(top - LANE_GAP, LANES_Y - 20) + 16 - ROUTER_Y + 18)
    return SitePlan(site, box, providers, routers, tuple(lanes), max(0, len(keys) - MOST_LANES))


def _row(things: list[T], left: float, top: float, width: float, height: float) -> tuple[tuple[T, Box], ...]:
    """``things`` beside each other in the middle of a site."""
    gap = min(52.0, (SITE_WIDTH - 24 - width * len(things)) / max(1, len(things) - 1))
    if gap < 8:
        gap, width = 8.0, (SITE_WIDTH - 24 - 8.0 * (len(things) - 1)) / max(1, len(things))
    start = left + (SITE_WIDTH - width * len(things) - gap * (len(things) - 1)) / 2
    return tuple((thing, Box(start + index * (width + gap), top, width, height)) for index, thing in enumerate(things))


def _lane(segment: Segment, groups: tuple[HostGroup, ...], left: float, top: float) -> Lane:
    shown = groups[:MOST_CARDS]
    rows = [shown[first : first + CARDS_A_ROW] for first in range(0, len(shown), CARDS_A_ROW)]
    cards: list[Card] = []
    y = top + 12
    for row in rows:
        height = 30 + 15 * max(1, *(len(group.services[:4]) for group in row))
        used = len(row) * (CARD_WIDTH + CARD_GAP) - CARD_GAP
        x = left + LANE_LABEL + (SITE_WIDTH - LANE_LABEL - 12 - used) / 2
        for index, group in enumerate(row):
            cards.append(Card(group, Box(x + index * (CARD_WIDTH + CARD_GAP), y, CARD_WIDTH, height)))
        y += height + 12
    hidden = sum(len(group.hosts) for group in groups[MOST_CARDS:])
    bottom = max(y + (14 if hidden else 0), top + 58)
    return Lane(segment, Box(left + 12, top, SITE_WIDTH - 24, bottom - top), tuple(cards), hidden)
