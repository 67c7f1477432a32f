"""The repository as its own tests see it."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "src" / "ringfort"


@cache
def files() -> tuple[Path, ...]:
    """Every file that is, or would be, under version control."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        found = [ROOT / name for name in listed.stdout.split("\0") if name]
    else:  # an unpacked archive
        found = [path for path in ROOT.rglob("*") if not any(part.startswith(".") for part in path.parts)]
    return tuple(sorted(path for path in found if path.is_file()))


def modules(*packages: str) -> Iterator[tuple[Path, ast.Module]]:
    """The parsed modules of the named packages of ``ringfort``, or of all of them."""
    for path in files():
        if path.suffix != ".py" or not path.is_relative_to(SOURCES):
            continue
        if packages and path.relative_to(SOURCES).parts[0] not in packages:
            continue
        yield path, ast.parse(path.read_text(), filename=str(path))


def pages() -> Iterator[tuple[Path, str]]:
    """Every Markdown page, with its text."""
    for path in files():
        if path.suffix == ".md":
            yield path, path.read_text()


def name_of(path: Path) -> str:
    """A path as a reader of a failure wants it."""
    return str(path.relative_to(ROOT))


def table_rows(text: str) -> Iterator[list[str]]:
    """The cells of each row of each table of a page, without headings."""
    for heading, *rows in _tables(text):
        assert heading
        yield from rows


def _tables(text: str) -> Iterator[list[list[str]]]:
    table: list[list[str]] = []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
            if not all(re.fullmatch(r":?-+:?", cell) for cell in cells):
                table.append(cells)
        elif table:
            yield table
            table = []
