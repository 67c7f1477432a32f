"""docs/promises.md is a table of claims and the tests that keep them; a claim without a test is a wish."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache

import pytest

from tests.house.tree import ROOT, table_rows

PAGE = ROOT / "docs" / "promises.md"
DISABLING = frozenset({"skip", "skipif", "xfail"})


def promises() -> list[tuple[str, list[str]]]:
    """Each promise with the ids of its tests."""
    return [(row[0], re.findall(r"`([^`]+)`", row[1])) for row in table_rows(PAGE.read_text())]


@cache
def kept_in(file: str) -> dict[str, list[str]]:
    """The tests of a file, as ``name`` or ``Class::name``, each with the names of its marks."""
    path = ROOT / file
    return dict(_found(ast.parse(path.read_text()), "")) if path.is_file() else {}


def _found(node: ast.AST, prefix: str) -> Iterator[tuple[str, list[str]]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield from _found(child, f"{prefix}{child.name}::")
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            words = re.findall(r"\w+", " ".join(ast.unparse(mark) for mark in child.decorator_list))
            yield prefix + child.name, words


def faults(promise: str, test: str) -> list[str]:
    """Why ``test`` keeps nothing; empty when it does."""
    file, _, name = test.partition("::")
    marks = kept_in(file).get(name.partition("[")[0])
    if marks is None:
        return [f"{promise!r}: there is no test {test}"]
    return [f"{promise!r}: {test} is marked {mark}" for mark in DISABLING.intersection(marks)]


def test_every_promise_names_a_test_that_exists_and_runs() -> None:
    without = [f"{promise!r} names no test" for promise, tests in promises() if not tests]
    assert without + [fault for promise, tests in promises() for test in tests for fault in faults(promise, test)] == []


def test_no_promise_is_made_twice() -> None:
    texts = [promise for promise, _ in promises()]
    assert sorted({text for text in texts if texts.count(text) > 1}) == []


@pytest.mark.parametrize("test", ["tests/house/test_promises.py::test_missing", "tests/nowhere.py::test_x", "x"])
def test_a_test_that_does_not_exist_is_noticed(test: str) -> None:
    assert faults("a promise", test) == [f"'a promise': there is no test {test}"]
