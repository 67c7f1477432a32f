"""Lookups in sets and verdict maps, expanded or opaque."""

from __future__ import annotations

from oxidd.bdd import BDDFunction

from ringfort.proof.changes import Changes
from ringfort.proof.evaluate import Evaluator, Truth
from ringfort.proof.opaque import OpaqueTable, group_by_behaviour
from ringfort.proof.ruleset import Doubt, Element, Expression, Lookup, Match, Read, Table, Verdict, VerdictMap
from ringfort.proof.variables import Space


class Lookups:
    """Lookups in the named sets of one table and in anonymous ones.

    Args:
        table: whose sets.
        evaluator: for these sets.
        opaque: the opaque variables, or None to expand every lookup.
    """

    def __init__(self, table: Table, evaluator: Evaluator, opaque: OpaqueTable | None) -> None:
        self.table = table
        self.evaluator = evaluator
        self.opaque = opaque
        self.space = evaluator.space

    def match(self, statement: Match, changes: Changes) -> tuple[Truth, Truth]:
        """Where the statement's key can be read, and where the match then holds."""
        if isinstance(statement.elements, str) and self._can_be_opaque(statement.elements, statement.key, changes):
            named = self.evaluator.sets[statement.elements]
            values = [self.evaluator.value(part, changes) for part in statement.key]
            readable = self.evaluator.both(value.readable for value in values)
            function = self._opaque(statement.elements, statement.key, None, named.elements, None)
            truth = Truth(function, function)
            return readable, truth.negated() if statement.negated else truth
        return self.evaluator.match(statement, changes)

    def _can_be_opaque(self, name: str, key: tuple[Expression, ...], changes: Changes) -> bool:
        named = self.evaluator.sets.get(name)
        if self.opaque is None or named is None or named.unread:
            return False
        if named.dynamic or any(e.transient or len(e.key) != len(key) for e in named.elements):
            return False
        return named.catch_all is None and not any(_changed(part, changes, self.space) for part in key)

    def _opaque(
        self,
        name: str,
        key: tuple[Expression, ...],
        what: tuple[object, ...] | None,
        elements: tuple[Element, ...],
        verdict: Verdict | None,
    ) -> BDDFunction:
        assert self.opaque is not None
        lookup = (self.table.family, self.table.name, name, key)
        return self.space.opaque(self.opaque.number(lookup, what, elements, verdict))

    def catch_all(self, statement: VerdictMap) -> Verdict | None:
        """The verdict for keys that no element holds."""
        rest = statement.catch_all
        if isinstance(statement.elements, str):
            named = self.evaluator.sets.get(statement.elements)
            rest = named.catch_all if named else None
        return rest.data if rest is not None and isinstance(rest.data, Verdict) else None

    def choices(self, statement: VerdictMap, changes: Changes) -> list[tuple[Verdict | None, Truth]]:
        """Each verdict of the map with the packets it is for; None for a verdict that is not known."""
        elements = statement.elements
        if isinstance(elements, str):
            named = self.evaluator.sets.get(elements)
            wrong = named is not None and any(len(e.key) != len(statement.key) for e in named.elements[:1])
            if named is None or named.unread or wrong or (named.dynamic and not self.evaluator.quiet):
                doubt = Doubt.STATE if named is not None and named.dynamic else Doubt.UNKNOWN
                return [(None, Truth(self.space.true, self.space.false, ((doubt, f"map {elements} is not known"),)))]
            if self._can_be_opaque(elements, statement.key, changes):
                return self._opaque_choices(elements, statement.key)
            elements = named.elements
        values = [self.evaluator.value(part, changes) for part in statement.key]
        return [
            (verdict, self._lasting(self.evaluator.among(group, values), group))
            for verdict, group in self.evaluator.by_verdict(elements)
        ]

    def _lasting(self, truth: Truth, group: tuple[Element, ...]) -> Truth:
        if self.evaluator.quiet or not any(element.transient for element in group):
            return truth
        return Truth(truth.may, self.space.false, (*truth.doubts, (Doubt.STATE, "elements of the map expire")))

    def _opaque_choices(self, name: str, key: tuple[Expression, ...]) -> list[tuple[Verdict | None, Truth]]:
        choices: list[tuple[Verdict | None, Truth]] = []
        before = self.space.false
        for what, elements in group_by_behaviour(self.table, name).items():
            verdict = elements[0].data
            assert isinstance(verdict, Verdict)
            function = self._opaque(name, key, what, tuple(elements), verdict)
            here = before.imp_strict(function)
            before = before | function
            choices.append((verdict, Truth(here, here)))
        return choices


def _changed(expression: Expression, changes: Changes, space: Space) -> bool:
    if isinstance(expression, Read):
        return any(changes.touches(space, f) for f in (expression.field, *(c.field for c in expression.conditions)))
    if isinstance(expression, Lookup):
        return True
    operand = getattr(expression, "operand", None)
    return operand is not None and _changed(operand, changes, space)
