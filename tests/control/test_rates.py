"""A caller that was taken over can't fill the database."""

from __future__ import annotations

from ringfort.control.rates import BURST, EACH_SECOND, MOST_CALLERS, Rates


def allowed(rates: Rates, caller: str, now: float, asked: int) -> int:
    return sum(rates.allows(caller, now) for _ in range(asked))


def test_a_burst_and_then_so_many_a_second() -> None:
    rates = Rates()
    assert allowed(rates, "node-1", 0.0, 1000) == BURST
    assert allowed(rates, "node-1", 1.0, 1000) == EACH_SECOND
    assert allowed(rates, "node-1", 1000.0, 1000) == BURST


def test_one_caller_does_not_take_from_another() -> None:
    rates = Rates()
    allowed(rates, "node-1", 0.0, 1000)
    assert rates.allows("node-2", 0.0)


def test_callers_that_are_remembered_are_bounded() -> None:
    rates = Rates()
    for number in range(MOST_CALLERS + 10):
        rates.allows(str(number), 0.0)
    assert len(rates._buckets) == MOST_CALLERS
