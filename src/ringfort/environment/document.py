"""The bytes of one YAML file as the mapping it has to be; what every kind of declaration is read with."""

from __future__ import annotations

import codecs

from ringfort.environment.nodes import Mapping, Place, Scalar, SourceFile, scalar_value
from ringfort.environment.problems import Problems
from ringfort.environment.reading import Budget, read


def parse(
    source: SourceFile, content: bytes, budget: Budget, problems: Problems, *, empty_hint: str, first_line: str
) -> Mapping | None:
    """The root of a file; ``source`` takes its text from ``content``.

    Args:
        empty_hint: what to do about a file with nothing in it.
        first_line: what such a file begins with, for the hint about one that is no mapping.

    Returns:
        None when it can't be read; the reasons are added to ``problems``.
    """
    try:
        source.text = _decoded(content)
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line = before.count(b"\n") + 1
        column = len(before[before.rfind(b"\n") + 1 :].decode(errors="replace")) + 1
        problems.add(
            "not-utf-8",
            Place(source, line, column),
            f"the byte 0x{content[error.start]:02x} is not UTF-8",
            "save the file as UTF-8",
        )
        return None
    known = len(problems)
    root = read(source, budget, problems)
    if isinstance(root, Mapping):
        return root
    empty = root is None or (isinstance(root, Scalar) and scalar_value(root) is None)
    if empty and len(problems) == known:
        problems.add("empty-file", Place(source, 1, 1), "the file is empty", empty_hint)
    elif root is not None:
        problems.add("not-a-mapping", root, "the file is not a mapping", f"write '{first_line}' first")
    return None


def _decoded(content: bytes) -> str:
    """The text of a file; a UTF-8 byte order mark is dropped (YAML 1.2, 5.2)."""
    return content.removeprefix(codecs.BOM_UTF8).decode("utf-8")
