"""Opaque lookups: "the key is in this named set" as one variable instead of all its elements.

A ruleset of 100,000 elements then executes as fast as one of ten, and 100,000 hosts whose rulesets differ in the
elements alone share one execution. What a caller gets back is a set over the packet's fields *and* these variables,
and for each variable the elements it stands for.

A verdict map has one variable for each different *behaviour* its verdicts lead to (``goto`` to two chains that both
count and accept is the same behaviour). The keys of a map's elements are disjoint, so of one lookup's variables at most
one is true.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ringfort.proof.fields import Field
from ringfort.proof.ruleset import (
    AnyBit,
    Assign,
    Doubtful,
    Element,
    Expression,
    Match,
    Note,
    Outcome,
    Read,
    Ruleset,
    Statement,
    Table,
    Translate,
    Untrack,
    Verdict,
    VerdictMap,
)

Behaviour = tuple[object, ...]
"""What a verdict does, without the names of chains, counters and comments."""

LookupKey = tuple[str, str, str, tuple[Expression, ...]]
"""Family, table, set, and what is looked up in it."""


@dataclass(frozen=True, slots=True)
class Opaque:
    """One opaque variable.

    Attributes:
        number: its number, as in the terms of a result.
        lookup: which lookup it belongs to; at most one variable of a lookup is true for a packet.
        set_name: the named set or map.
        fields: what is looked up, in order; None for a part that is computed and not a plain field.
        elements: for which keys it is true, each with one interval for each field.
        verdict: for a verdict map, a verdict of this behaviour.
    """

    number: int
    lookup: LookupKey
    set_name: str
    fields: tuple[Field | None, ...]
    elements: tuple[Element, ...]
    verdict: Verdict | None


class OpaqueTable:
    """The opaque variables of one execution, numbered as lookups are met."""

    def __init__(self, limit: int) -> None:
        self.entries: list[Opaque] = []
        self._numbers: dict[tuple[LookupKey, Behaviour | None], int] = {}
        self._limit = limit

    def number(
        self,
        lookup: LookupKey,
        behaviour: Behaviour | None,
        elements: tuple[Element, ...],
        verdict: Verdict | None,
    ) -> int:
        """The variable for one behaviour of one lookup."""
        known = self._numbers.get((lookup, behaviour))
        if known is not None:
            return known
        number = len(self.entries)
        if number >= self._limit:
            raise IndexError(f"more than {self._limit} opaque variables")
        fields = tuple(part.field if isinstance(part, Read) else None for part in lookup[3])
        self.entries.append(Opaque(number, lookup, lookup[2], fields, elements, verdict))
        self._numbers[lookup, behaviour] = number
        return number


def behaviour(verdict: Verdict, table: Table) -> Behaviour:
    """What a verdict does in ``table``; equal for verdicts that no packet can tell apart."""
    if verdict.outcome in (Outcome.JUMP, Outcome.GOTO):
        inside = chain_behaviour(verdict.target, table, 0)
        if len(inside) == 1 and inside[0] in ((Outcome.ACCEPT,), (Outcome.DROP,)):
            only = inside[0]
            assert isinstance(only, tuple)
            return only
        return (verdict.outcome, inside)
    return (verdict.outcome,)


def chain_behaviour(name: str, table: Table, depth: int, path: frozenset[str] = frozenset()) -> Behaviour:
    """What a chain does."""
    chain = table.chains.get(name)
    if chain is None or name in path or depth > 16:  # NFT_JUMP_STACK_SIZE; execution reports it
        return (name,)
    rules: list[object] = []
    for rule in chain.rules:
        effects = tuple(_effect(s, table, depth, path | {name}) for s in rule.statements if not isinstance(s, Note))
        if not effects:
            continue
        rules.append(effects[0] if len(effects) == 1 else effects)
        if effects in (((Outcome.ACCEPT,),), ((Outcome.DROP,),)):
            break
    return tuple(rules)


def _effect(statement: Statement, table: Table, depth: int, path: frozenset[str]) -> object:
    if isinstance(statement, Verdict):
        if statement.target:
            return (statement.outcome, chain_behaviour(statement.target, table, depth + 1, path))
        plain = not statement.conditions and len(statement.universes) == 4
        return (statement.outcome,) if plain else (statement.outcome, statement.universes, statement.conditions)
    if isinstance(statement, VerdictMap):
        # Verdicts of a nested map are compared by name: rare, and a difference too many does no harm.
        return statement
    assert isinstance(statement, Match | AnyBit | Assign | Translate | Untrack | Doubtful | Note)
    return statement


def opaque_bound(ruleset: Ruleset) -> int:
    """How many opaque variables an execution of ``ruleset`` can need at most."""
    return sum(_bounds(ruleset))


def _bounds(ruleset: Ruleset) -> Iterator[int]:
    for table in ruleset.tables:
        behaviours: dict[str, int] = {}
        for chain in table.chains.values():
            for rule in chain.rules:
                for statement in rule.statements:
                    if isinstance(statement, Match) and isinstance(statement.elements, str):
                        yield 1
                    if isinstance(statement, VerdictMap) and isinstance(statement.elements, str):
                        name = statement.elements
                        if name not in behaviours:
                            behaviours[name] = len(group_by_behaviour(table, name))
                        yield behaviours[name]


def group_by_behaviour(table: Table, name: str) -> dict[Behaviour, list[Element]]:
    """The elements of a verdict map by what their verdicts do."""
    named = table.sets.get(name)
    groups: dict[Behaviour, list[Element]] = {}
    known: dict[Verdict, Behaviour] = {}
    for element in named.elements if named else ():
        if isinstance(element.data, Verdict):
            if element.data not in known:
                known[element.data] = behaviour(element.data, table)
            groups.setdefault(known[element.data], []).append(element)
    return groups
