"""Simpler functions that agree where it matters (O. Coudert, J. C. Madre: restrict, 1990)."""

from __future__ import annotations

from oxidd.bdd import BDDFunction


def simplify(function: BDDFunction, care: BDDFunction) -> BDDFunction:
    """A function that agrees with ``function`` wherever ``care`` holds, and is simpler or the same."""
    return _Simplifier(function).restrict(function, care)


class _Simplifier:
    def __init__(self, function: BDDFunction) -> None:
        self.manager = function.manager
        self.true = self.manager.true()
        self.false = self.manager.false()
        self._known: dict[tuple[BDDFunction, BDDFunction], BDDFunction] = {}

    def restrict(self, function: BDDFunction, care: BDDFunction) -> BDDFunction:
        if not (function & care).satisfiable():
            return self.false
        if not function.imp_strict(care).satisfiable():
            return self.true
        key = (function, care)
        if key not in self._known:
            self._known[key] = self._step(function, care)
        return self._known[key]

    def _step(self, function: BDDFunction, care: BDDFunction) -> BDDFunction:
        variable, other = function.node_var(), care.node_var()
        if variable is None or other is None:
            return function if variable is None else self._both(function, variable, care, care)
        if other < variable:
            high, low = halves(care)
            return self.restrict(function, high | low)
        if variable < other:
            return self._both(function, variable, care, care)
        high, low = halves(care)
        if not high.satisfiable():
            return self.restrict(halves(function)[1], low)
        if not low.satisfiable():
            return self.restrict(halves(function)[0], high)
        return self._both(function, variable, high, low)

    def _both(self, function: BDDFunction, variable: int, high: BDDFunction, low: BDDFunction) -> BDDFunction:
        upper, lower = halves(function)
        return self.manager.var(variable).ite(self.restrict(upper, high), self.restrict(lower, low))


def halves(function: BDDFunction) -> tuple[BDDFunction, BDDFunction]:
    """What remains where the top variable is true, and where it is false."""
    cofactors = function.cofactors()
    assert cofactors is not None
    return cofactors
