"""Containment of access lists as SecGuru does it: policies as bit-vector formulas, one satisfiability query to Z3.

K. Jayaraman and others, "Automated analysis and debugging of network connectivity policies", Microsoft Research,
MSR-TR-2014-102: a first-match policy is the nested conditional of its rules, last rule innermost; one policy contains
another if the difference of the two formulas has no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import z3

WIDTHS = {"saddr": 32, "daddr": 32, "sport": 16, "dport": 16, "l4proto": 8}
"""The 5-tuple, in bits."""

VARIABLES = {name: z3.BitVec(name, width) for name, width in WIDTHS.items()}


@dataclass(frozen=True, slots=True)
class AccessRule:
    """One rule of an access list: a range for each field of the 5-tuple, and whether what matches is allowed."""

    ranges: tuple[tuple[str, int, int], ...]
    allow: bool


def formula(rules: Sequence[AccessRule]) -> z3.BoolRef:
    """The packets that a first-match list with default deny allows."""
    result: z3.BoolRef = z3.BoolVal(False)
    for rule in reversed(rules):
        match = z3.And([_between(name, low, high) for name, low, high in rule.ranges])
        result = z3.Or(match, result) if rule.allow else z3.And(z3.Not(match), result)
    return result


def _between(name: str, low: int, high: int) -> z3.BoolRef:
    variable, top = VARIABLES[name], (1 << WIDTHS[name]) - 1
    if low == high:
        return variable == low
    parts = []
    if low > 0:
        parts.append(z3.UGE(variable, low))
    if high < top:
        parts.append(z3.ULE(variable, high))
    return z3.And(parts)


def difference(first: Sequence[AccessRule], second: Sequence[AccessRule]) -> dict[str, int] | None:
    """A packet that ``first`` allows and ``second`` does not, or None."""
    solver = z3.SolverFor("QF_BV")
    solver.add(formula(first), z3.Not(formula(second)))
    if solver.check() == z3.unsat:
        return None
    model = solver.model()
    return {name: model.eval(variable, model_completion=True).as_long() for name, variable in VARIABLES.items()}
