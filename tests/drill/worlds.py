"""The example, and a small environment that holds: what the tests of the drill attack."""

from __future__ import annotations

from functools import cache

from ringfort.environment.load import load
from ringfort.environment.model import Environment
from tests.lab.worlds import EXAMPLE, SMALL

HOLDS = SMALL.replace("  - {from: app, to: names}\n", "")
"""The lab tests' small environment without its one flow between hosts that no identity guards."""

EXPOSED = SMALL
"""With that flow: who borrows the caller's address behind failed port security is served."""


@cache
def shop() -> Environment:
    return load(EXAMPLE)
