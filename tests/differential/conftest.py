"""The option of the long comparison."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """``pytest tests/differential -m differential --pairs 100000``."""
    parser.addoption("--pairs", type=int, default=100_000, help="pairs of ruleset and packet for the long comparison")
