"""Collecting every fault of a declaration, so that all of them are told at once and in the order of the files."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from ringfort.environment.nodes import Node, Place
from ringfort.errors import DeclarationError, Origin, Problem

PROBLEM_LIMIT = 1000
"""Problems told at once; more than that come from one cause, and would only cost memory."""

COMPARISON_LIMIT = 200_000
"""Known names that unknown ones are compared with, in all: a few seconds. After that, hints name no neighbours."""

VALUE_LIMIT = 60
"""Characters of a wrong value that a message repeats."""


class Problems:
    """The faults found so far."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, int, int, str, str], Problem] = {}
        self._comparisons = COMPARISON_LIMIT

    def __bool__(self) -> bool:
        return bool(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def add(self, code: str, where: Node | Place, message: str, hint: str = "") -> None:
        """Note one fault; a repetition at the same place is dropped.

        Raises:
            DeclarationError: when there are more than `PROBLEM_LIMIT`, so that no file costs more time than that.
        """
        place = where.place if isinstance(where, Node) else where
        source = place.source
        key = (source.rank, place.line, place.column, code, message)
        if key not in self._found:
            if len(self._found) >= PROBLEM_LIMIT:
                raise self.error(overflowed=True)
            excerpt = source.excerpt(place.line, place.column)
            self._found[key] = Problem(code, place.origin, message, excerpt, hint)

    def nearest(self, name: str, known: Iterable[str], otherwise: str = "") -> str:
        """A hint with the known name nearest to ``name``, or ``otherwise``."""
        if self._comparisons <= 0:
            return otherwise
        candidates = sorted(set(known))
        self._comparisons -= len(candidates)
        near = difflib.get_close_matches(name[:200], candidates, n=1, cutoff=0.6)
        return f"did you mean '{near[0]}'?" if near else otherwise

    def error(self, overflowed: bool = False) -> DeclarationError:
        """The refusal that tells all of them, by file, line and column."""
        problems = [self._found[key] for key in sorted(self._found)]
        if overflowed:
            last = problems[-1].origin
            message = f"there are more than {PROBLEM_LIMIT} problems; the rest is not shown"
            hint = "put right the ones above first"
            problems.append(Problem("too-many-problems", last, message, "", hint))
        return DeclarationError(tuple(problems))

    def raise_if_any(self) -> None:
        """Raise the refusal unless there is nothing to refuse.

        Raises:
            DeclarationError: with all problems noted.
        """
        if self._found:
            raise self.error()


def refusal(code: str, file: str, message: str, hint: str = "") -> DeclarationError:
    """A refusal of a whole file, with no place in it to point at."""
    return DeclarationError((Problem(code, Origin(file, 1, 1), message, "", hint),))


def shown(value: object) -> str:
    """A value as a message repeats it: in quotes, cut to `VALUE_LIMIT`, control characters escaped."""
    text = str(value)
    cut = text if len(text) <= VALUE_LIMIT else f"{text[:VALUE_LIMIT]}..."
    return f"'{''.join(c if c.isprintable() else c.encode('unicode_escape').decode() for c in cut)}'"


def listed(names: Iterable[str], most: int = 5) -> str:
    """Names for people: the first few and how many more."""
    every = list(names)
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more
