"""Whose code we rely on, why, and that it is exactly the code we looked at."""

from __future__ import annotations

import re
import tomllib

from tests.house.tree import ROOT, table_rows

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = (ROOT / "setup" / "requirements.lock").read_text()


def canonical(requirement: str) -> str:
    """The package a requirement names, as PEP 503 normalises it."""
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert name is not None
    return re.sub(r"[-_.]+", "-", name.group()).lower()


def dependencies(*extras: str) -> set[str]:
    """Packages that pyproject.toml asks for, with the given extras."""
    wanted = list(PROJECT["dependencies"])
    for extra in extras:
        wanted += PROJECT["optional-dependencies"][extra]
    return {canonical(requirement) for requirement in wanted}


def debian_packages() -> set[str]:
    files = ("apt-packages.txt", "apt-packages-test.txt")
    lines = [line for name in files for line in (ROOT / "setup" / name).read_text().splitlines()]
    return {line for line in lines if line and not line.startswith("#")}


def test_every_dependency_has_its_reason() -> None:
    rows = list(table_rows((ROOT / "docs" / "dependencies.md").read_text()))
    explained = {canonical(package) for package, reason in rows if reason}
    assert explained == dependencies(*PROJECT["optional-dependencies"]) | debian_packages()


def test_every_dependency_is_locked_with_hashes() -> None:
    entries = re.findall(r"^([a-z0-9-]+)==\S+.*\\\n((?:    --hash=sha256:[0-9a-f]{64}.*\n)+)", LOCK, re.MULTILINE)
    locked = {name for name, _ in entries}
    assert dependencies("test") - locked == set()
    assert len(entries) == len(re.findall(r"^[a-z]", LOCK, re.MULTILINE)), "an entry without a hash"


def test_the_lock_names_no_place_to_download_from() -> None:
    assert re.findall(r"(?:https?:|--index-url|--find-links)\S*", LOCK) == []
