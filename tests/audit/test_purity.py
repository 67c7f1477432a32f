"""Trees, notes, records, proofs and diagnoses are values in, values out; the time is an argument everywhere."""

from __future__ import annotations

from tests.house.test_purity import effects
from tests.house.tree import modules, name_of

EDGE = {
    "committing.py", "erasing.py", "fetching.py", "journal.py", "keeping.py", "keys.py", "log.py", "publisher.py",
    "reading.py", "scanning.py", "tiling.py", "witness.py",
}  # fmt: skip
"""Disks, networks, threads and processes."""


def test_only_the_edge_has_effects() -> None:
    found = [
        f"{name_of(path)}:{line} {effect}"
        for path, tree in modules("audit")
        for line, effect in effects(tree)
        if path.name not in EDGE
    ]
    assert found == []


def test_not_even_the_edge_reads_a_clock() -> None:
    found = [
        f"{name_of(path)}:{line} {effect}"
        for path, tree in modules("audit")
        for line, effect in effects(tree)
        if "clock" in effect or (effect == "imports time" and path.name != "committing.py")  # how long a group took
    ]
    assert found == []
    assert len(list(modules("audit"))) > len(EDGE)
