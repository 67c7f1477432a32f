"""What became of a list: which items were changed, removed, inserted or moved."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["changed", "removed", "inserted", "reordered"]


@dataclass(frozen=True, slots=True)
class Step:
    """One difference: of the record with this index, or at this position where it has none."""

    kind: Kind
    index: int
    position: int


def align(expected: Sequence[tuple[int, Hashable]], served: Sequence[tuple[int, Hashable | None]]) -> list[Step]:
    """The fewest differences that lead from what was expected to what is served.

    Args:
        expected: index and key of every record, in order; keys are distinct.
        served: position and key of every record found, in order; no key for one that is none.
    """
    index_of = {key: index for index, key in expected}
    seen: set[int] = set()
    found: list[tuple[int, int | None]] = []
    for position, key in served:
        index = None if key is None else index_of.get(key)
        if index in seen:
            index = None
        elif index is not None:
            seen.add(index)
        found.append((position, index))
    missing = [index for index, _ in expected if index not in seen]
    steady = set(_longest_rising([index for _, index in found if index is not None]))
    steps = [Step("reordered", index, at) for at, index in found if index is not None and index not in steady]
    steps += _gaps(found, missing, steady)
    return sorted(steps, key=lambda step: (step.index, step.position))


def _gaps(found: Sequence[tuple[int, int | None]], missing: Sequence[int], steady: set[int]) -> Iterator[Step]:
    """Between two records that stand as they should: strangers in the place of what is missing are changed records."""
    at = 0
    strangers: list[int] = []
    end = (found[-1][0] + 1 if found else 0, None)
    for position, index in [*found, end]:
        closing = (position, index) == end
        if index is None and not closing:
            strangers.append(position)
        elif closing or index in steady:
            stop = len(missing) if closing else bisect_left(missing, index or 0)
            lost = missing[at:stop]
            at = stop
            yield from _gap(lost, strangers)
            strangers = []


def _gap(lost: Sequence[int], strangers: Sequence[int]) -> Iterator[Step]:
    for index, position in zip(lost, strangers, strict=False):
        yield Step("changed", index, position)
    for index in lost[len(strangers) :]:
        yield Step("removed", index, index)
    for position in strangers[len(lost) :]:
        yield Step("inserted", position, position)


def _longest_rising(numbers: Sequence[int]) -> list[int]:
    """A longest rising subsequence of distinct numbers."""
    tails: list[int] = []
    places: list[int] = []
    before: list[int] = [-1] * len(numbers)
    for place, number in enumerate(numbers):
        length = bisect_left(tails, number)
        if length == len(tails):
            tails.append(number)
            places.append(place)
        else:
            tails[length], places[length] = number, place
        before[place] = places[length - 1] if length else -1
    result, place = [], places[-1] if places else -1
    while place >= 0:
        result.append(numbers[place])
        place = before[place]
    return result[::-1]
