"""The flows of a picture as curves between its cards: pure geometry, no markup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ringfort.report.layout import Box
from ringfort.report.summary import Arrow

TOP = "top"
BOTTOM = "bottom"


@dataclass(frozen=True, slots=True)
class Curve:
    """An arrow and its SVG path."""

    arrow: Arrow
    path: str


def bend(arrows: Sequence[Arrow], boxes: Mapping[str, Box]) -> tuple[Curve, ...]:
    """Draw each arrow from the side of its source that faces its target.

    The ends on one side of a card are spread over it in the order of where they lead, so that few of them cross.
    """
    sides = [_sides(boxes[arrow.source], boxes[arrow.target]) for arrow in arrows]
    ends: dict[tuple[str, str], list[tuple[float, int, bool]]] = {}
    for number, (arrow, (start, end)) in enumerate(zip(arrows, sides, strict=True)):
        ends.setdefault((arrow.source, start), []).append((boxes[arrow.target].middle, number, True))
        ends.setdefault((arrow.target, end), []).append((boxes[arrow.source].middle, number, False))
    places: dict[tuple[int, bool], float] = {}
    for (card, _), found in ends.items():
        box = boxes[card]
        for index, (_, number, is_start) in enumerate(sorted(found)):
            places[number, is_start] = box.x + box.width * (0.1 + 0.8 * (index + 1) / (len(found) + 1))
    return tuple(
        Curve(
            arrow,
            _path(boxes[arrow.source], boxes[arrow.target], sides[number], places[number, True], places[number, False]),
        )
        for number, arrow in enumerate(arrows)
    )


def _sides(source: Box, target: Box) -> tuple[str, str]:
    if abs(source.y - target.y) < source.height:
        return BOTTOM, BOTTOM
    return (BOTTOM, TOP) if target.y > source.y else (TOP, BOTTOM)


def _path(source: Box, target: Box, sides: tuple[str, str], x1: float, x2: float) -> str:
    y1 = source.bottom if sides[0] == BOTTOM else source.y
    y2 = target.bottom if sides[1] == BOTTOM else target.y
    if sides == (BOTTOM, BOTTOM):
        low = max(y1, y2) + 18 + min(10.0, abs(x2 - x1) / 40)
        return f"M{x1:.1f} {y1:.1f}C{x1:.1f} {low:.1f} {x2:.1f} {low:.1f} {x2:.1f} {y2:.1f}"
    pull = max(20.0, abs(y2 - y1) * 0.5) * (1 if sides[0] == BOTTOM else -1)
    return f"M{x1:.1f} {y1:.1f}C{x1:.1f} {y1 + pull:.1f} {x2:.1f} {y2 - pull:.1f} {x2:.1f} {y2:.1f}"
