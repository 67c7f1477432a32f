"""Rules that decide nothing: no packet reaches them, none can match, or earlier rules take all they would match."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from ringfort.proof.changes import Changes, State
from ringfort.proof.evaluate import Evaluator
from ringfort.proof.execute import Result
from ringfort.proof.packets import PacketSet
from ringfort.proof.ruleset import AnyBit, Assign, Match, Place, Rule, Ruleset, Table, Untrack, VerdictMap
from ringfort.proof.variables import Space


class Why(StrEnum):
    """Why a rule decides nothing."""

    UNUSED = "unused"
    """No base chain leads to its chain."""

    CONTRADICTION = "contradiction"
    """No packet matches it, wherever it stood."""

    SHADOWED = "shadowed"
    """Earlier rules take every packet it would match."""

    UNREACHED = "unreached"
    """Packets come to its chain, but none that it would match."""


@dataclass(frozen=True, slots=True)
class DeadRule:
    """A rule that decides nothing. ``by``: the earlier rules of its chain that take its packets, if they do."""

    rule: Rule
    why: Why
    by: tuple[Rule, ...] = ()


_MOST_SHADOWS = 3
"""Rules named as taking a dead rule's packets."""


def dead_rules(ruleset: Ruleset, results: Iterable[Result]) -> tuple[DeadRule, ...]:
    """The rules that matched no packet in any of ``results``, which together must cover every hook and universe."""
    reached: dict[Place, list[Result]] = {}
    matched: set[Place] = set()
    for result in results:
        for use in result.uses:
            reached.setdefault(use.place, []).append(result)
            if use.matched:
                matched.add(use.place)
    wants = _Wants()
    chains = {(place.family, place.table, place.chain) for place in reached}
    found: list[DeadRule] = []
    for table in ruleset.tables:
        for chain in table.chains.values():
            if (chain.family, chain.table, chain.name) not in chains:
                found += [DeadRule(rule, Why.UNUSED) for rule in chain.rules]
                continue
            spaces = {id(r.space): r.space for place, rs in reached.items() for r in rs if place.chain == chain.name}
            for i, rule in enumerate(chain.rules):
                if rule.place not in matched:
                    found.append(_explained(wants, table, rule, chain.rules[:i], list(spaces.values())))
    return tuple(found)


class _Wants:
    """What rules match by themselves, each asked once."""

    def __init__(self) -> None:
        self._evaluators: dict[tuple[str, str, int], Evaluator] = {}
        self._known: dict[tuple[Place, int], PacketSet] = {}

    def __call__(self, table: Table, rule: Rule, space: Space) -> PacketSet:
        key = (rule.place, id(space))
        if key not in self._known:
            owner = (table.family, table.name, id(space))
            if owner not in self._evaluators:
                self._evaluators[owner] = Evaluator(space, dict(table.sets), quiet=False)
            self._known[key] = _wanted(table, rule, self._evaluators[owner])
        return self._known[key]


def _explained(wants: _Wants, table: Table, rule: Rule, earlier: tuple[Rule, ...], spaces: list[Space]) -> DeadRule:
    if not rule.statements:
        return DeadRule(rule, Why.UNREACHED)
    asked = [wants(table, rule, space) for space in spaces]
    if not any(asked):
        return DeadRule(rule, Why.CONTRADICTION)
    taken_by = [(other, [wants(table, other, space) for space in spaces]) for other in earlier]
    for other, taken in taken_by:
        if all(a <= t for a, t in zip(asked, taken, strict=True)):
            return DeadRule(rule, Why.SHADOWED, (other,))
    takers: list[Rule] = []
    for other, taken in taken_by:
        if any(a.overlaps(t) for a, t in zip(asked, taken, strict=True)):
            takers.append(other)
            asked = [a - t for a, t in zip(asked, taken, strict=True)]
            if not any(asked):
                return DeadRule(rule, Why.SHADOWED, tuple(takers[:_MOST_SHADOWS]))
    return DeadRule(rule, Why.UNREACHED)


def _wanted(table: Table, rule: Rule, evaluator: Evaluator) -> PacketSet:
    """The packets a rule matches by itself, were it the first to see them; where that is open, those it may match."""
    space = evaluator.space
    state = State(space.true, Changes())
    live = space.true
    for statement in rule.statements:
        if isinstance(statement, Match | AnyBit):
            judge = evaluator.match if isinstance(statement, Match) else evaluator.any_bit
            readable, truth = judge(statement, state.changes)  # type: ignore[arg-type]  # paired with its judge above
            live = live & readable.may & truth.may
        elif isinstance(statement, VerdictMap):
            values = [evaluator.value(part, state.changes) for part in statement.key]
            readable = evaluator.both(value.readable for value in values)
            rest = statement.catch_all or _catch_all(table, statement)
            inside = space.true if rest else evaluator.member(statement.elements, values).may
            live = live & readable.may & inside
        elif isinstance(statement, Assign | Untrack):
            break  # what follows reads what was changed
    return PacketSet(space, live)


def _catch_all(table: Table, statement: VerdictMap) -> bool:
    named = table.sets.get(statement.elements) if isinstance(statement.elements, str) else None
    return named is not None and named.catch_all is not None
