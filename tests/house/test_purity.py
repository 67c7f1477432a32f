"""The core takes values and returns values; effects live at the edge."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.house.tree import SOURCES, modules, name_of

CORE = ("environment", "network", "proof")
READS_DECLARATIONS = "environment/files.py"
"""The one module of the core that touches the disk, to read a declaration's own files."""

EDGES = {
    "audit": frozenset(
        {
            "committing.py", "erasing.py", "fetching.py", "journal.py", "keeping.py", "keys.py", "log.py",
            "publisher.py", "reading.py", "scanning.py", "tiling.py", "witness.py",
        }
    ),
    "identity": frozenset({"store.py", "tls.py"}),
}  # fmt: skip
"""Of packages that compute, too, the modules that touch disks, networks, threads and processes. Even there the time is
an argument."""

MEASURES = {"audit": "committing.py"}
"""The one module that may ask how long something took."""

MAY_RUN_COMMANDS = ("lab", "drill", "cli", "gateway", "compute")

EFFECTS = frozenset(
    {
        "asyncio", "concurrent", "ctypes", "fcntl", "http", "logging", "multiprocessing", "os", "platform", "pyroute2",
        "random", "secrets", "select", "selectors", "shutil", "signal", "socket", "sqlite3", "ssl", "subprocess",
        "sys", "tempfile", "threading", "time", "urllib", "uuid",
    }
)  # fmt: skip
CLOCKS = frozenset({"now", "utcnow", "today"})
WRITES = frozenset({"write_text", "write_bytes", "mkdir", "unlink", "touch", "rename", "rmdir", "symlink_to", "chmod"})


def imported(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Each import of a module, wherever it stands: line and dotted name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def effects(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """What a module does beyond computing: line and what it is."""
    for line, name in imported(tree):
        if name.split(".")[0] in EFFECTS:
            yield line, f"imports {name}"
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr=attribute)) if attribute in CLOCKS:
                yield node.lineno, f"reads a clock with {attribute}()"
            case ast.Call(func=ast.Attribute(attr=attribute)) if attribute in WRITES:
                yield node.lineno, f"changes the disk with {attribute}()"
            case ast.Call(func=ast.Name(id="open" | "print" | "input" as function)):
                yield node.lineno, f"calls {function}()"
            case _:
                pass


def test_the_core_has_no_effects() -> None:
    found = [
        f"{name_of(path)}:{line} {effect}"
        for path, tree in modules(*CORE)
        for line, effect in sorted(effects(tree))
        if not (path == SOURCES / READS_DECLARATIONS and effect in {"imports os", "imports stat", "calls open()"})
    ]
    assert found == []


@pytest.mark.parametrize("package", sorted(EDGES))
def test_only_the_edge_of_a_package_has_effects(package: str) -> None:
    found = [
        f"{name_of(path)}:{line} {effect}"
        for path, tree in modules(package)
        for line, effect in effects(tree)
        if path.name not in EDGES[package]
    ]
    assert found == []
    assert {path.name for path, _ in modules(package)} > EDGES[package], "an edge that there is no more"


@pytest.mark.parametrize("package", sorted(EDGES))
def test_not_even_the_edge_of_a_package_reads_a_clock(package: str) -> None:
    found = [
        f"{name_of(path)}:{line} {effect}"
        for path, tree in modules(package)
        for line, effect in effects(tree)
        if "clock" in effect or (effect == "imports time" and path.name != MEASURES.get(package))
    ]
    assert found == []


def test_only_the_edge_runs_commands() -> None:
    found = [
        f"{name_of(path)}:{line}"
        for path, tree in modules()
        for line, name in imported(tree)
        if name.split(".")[0] in {"subprocess", "pty"} and path.relative_to(SOURCES).parts[0] not in MAY_RUN_COMMANDS
    ]
    assert found == []


def private_imports(own_package: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Imports of underscored names or modules of another package of ours than ``own_package``."""
    for line, name in imported(tree):
        words = name.split(".")
        private = [number for number, word in enumerate(words) if word.startswith("_") and not word.startswith("__")]
        if words[0] == "ringfort" and private and ".".join(words[: private[0]][:2]) != own_package:
            yield line, name


def test_nobody_imports_a_neighbours_underscored_name() -> None:
    found = [
        f"{name_of(path)}:{line} {name}"
        for path, tree in modules()
        for line, name in private_imports(".".join(("ringfort", *path.relative_to(SOURCES).parts[:-1][:1])), tree)
    ]
    assert found == []


def test_a_private_import_is_noticed_only_across_packages() -> None:
    tree = ast.parse("from ringfort.network.tables import _table\nfrom ringfort.network import _sets")
    assert list(private_imports("ringfort.network", tree)) == []
    assert [name for _, name in private_imports("ringfort.proof", tree)] == [
        "ringfort.network.tables._table",
        "ringfort.network._sets",
    ]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import socket", "imports socket"),
        ("def f():\n    from subprocess import run", "imports subprocess.run"),
        ("import datetime\ndatetime.datetime.now()", "reads a clock with now()"),
        ("from pathlib import Path\nPath('x').write_text('y')", "changes the disk with write_text()"),
        ("open('x', 'w')", "calls open()"),
    ],
)
def test_each_kind_of_effect_is_noticed(source: str, expected: str) -> None:
    assert [effect for _, effect in effects(ast.parse(source))] == [expected]
