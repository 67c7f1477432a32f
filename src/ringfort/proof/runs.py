"""Rules and matches that can be taken together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ringfort.proof.fields import Universe
from ringfort.proof.ruleset import AnyBit, Match, Note, Outcome, Read, Rule, Statement, Verdict

Matches = tuple[Match | AnyBit, ...]
"""Matches that follow each other in a rule."""


def plain_outcome(rule: Rule) -> Outcome | None:
    """``accept`` or ``drop`` for a rule of plain matches (see `Evaluator.plainly`) and that verdict; None otherwise."""
    outcome: Outcome | None = None
    for statement in rule.statements:
        if isinstance(statement, Match) and outcome is None:
            if isinstance(statement.elements, str) or not all(isinstance(part, Read) for part in statement.key):
                return None
        elif isinstance(statement, Verdict) and outcome is None:
            if statement.conditions or statement.outcome not in (Outcome.ACCEPT, Outcome.DROP):
                return None
            outcome = statement.outcome if len(statement.universes) == len(Universe) else None
            if outcome is None:
                return None
        elif not isinstance(statement, Note):
            return None
    return outcome


def grouped(statements: Iterable[Statement]) -> Iterator[Matches | Statement]:
    """The statements without notes; matches that follow each other are taken together."""
    matches: list[Match | AnyBit] = []
    for statement in statements:
        if isinstance(statement, Match | AnyBit):
            matches.append(statement)
        elif not isinstance(statement, Note):
            if matches:
                yield tuple(matches)
                matches = []
            yield statement
    if matches:
        yield tuple(matches)
