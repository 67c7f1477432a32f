"""Files that enforcement points read and that a node replaces: certificates, authorities, revocation lists.

Whoever replaces one says so, or it would look as if somebody had changed it by hand.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Material:
    """Held by whoever looks at such files or replaces them. From any thread."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._told: list[Callable[[], None]] = []
        self.number = 0
        """Grows with each replacement; look at it while it is `held`."""

    def on_change(self, told: Callable[[], None]) -> None:
        """Call ``told`` after each replacement, too."""
        self._told.append(told)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nobody replaces anything inside."""
        with self._lock:
            yield

    @contextmanager
    def replaced(self) -> Iterator[None]:
        """Replace files inside."""
        with self._lock:
            yield
            self.number += 1
        for told in self._told:
            told()
