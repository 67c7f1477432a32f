"""How many changes one caller may make: whoever was taken over shall not fill the database and the audit log."""

from __future__ import annotations

from collections import OrderedDict

BURST, EACH_SECOND = 300.0, 50.0
MOST_CALLERS = 10_000


class Rates:
    """A bucket for each caller: ``BURST`` changes at once, ``EACH_SECOND`` more every second."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allows(self, caller: str, now: float) -> bool:
        """Count one change, at ``now`` on a monotonic clock; whether it is one of those that are allowed."""
        left, last = self._buckets.pop(caller, (BURST, now))
        left = min(BURST, left + (now - last) * EACH_SECOND)
        self._buckets[caller] = (max(0.0, left - 1), now)
        if len(self._buckets) > MOST_CALLERS:
            self._buckets.popitem(last=False)
        return left >= 1
