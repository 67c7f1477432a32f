"""What all tests share: tests with real packets need root."""

from __future__ import annotations

import os
import shutil

import pytest
from hypothesis import settings

# A change is judged by the same examples each time it runs; only people's own runs look for new ones.
settings.register_profile("ci", derandomize=True, print_blob=True)
if os.environ.get("CI"):
    settings.load_profile("ci")

LAB_TOOLS = ("ip", "nft")


def _why_no_lab() -> str:
    """Why tests with real packets can't run here; empty when they can."""
    if os.geteuid() != 0:
        return "needs root for network namespaces"
    missing = [tool for tool in LAB_TOOLS if shutil.which(tool) is None]
    return f"needs {' and '.join(missing)}" if missing else ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests with real packets where they can't run."""
    reason = _why_no_lab()
    for item in items:
        if reason and item.get_closest_marker("lab") is not None:
            item.add_marker(pytest.mark.skip(reason=reason))
