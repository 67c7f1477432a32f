"""The nodes of a YAML file: text with its place, before anything is known of its meaning.

YAML guesses a type for text without quotes, and its versions disagree (``no``, ``1e3``, ``0o17``, ``12:30``). So
nothing is guessed here: a plain decimal number is a number, text that any YAML reader could take for something other
than text is `Ambiguous`, and the form it is read into refuses it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from ringfort.environment import limits
from ringfort.errors import Origin

EXCERPT_LIMIT = 120
"""Characters of a source line that a problem shows."""


@dataclass(eq=False, slots=True)
class SourceFile:
    """One file of the declaration: the name it is shown by, its text, and its rank among the files read."""

    name: str
    text: str
    rank: int
    _lines: list[str] = field(default_factory=list)

    def line(self, line: int) -> str:
        """The whole text of a line (from 1); empty past the end."""
        if not self._lines:
            self._lines = re.split(r"\r\n|[\n\r\x85\u2028\u2029]", self.text)  # YAML 1.1, 4.2
        return self._lines[line - 1] if line <= len(self._lines) else ""

    def excerpt(self, line: int, column: int) -> str:
        """The text of a line (from 1) around a column (from 1), at most `EXCERPT_LIMIT` characters."""
        text = self.line(line).rstrip()
        if len(text) > EXCERPT_LIMIT:
            start = max(0, column - 1 - EXCERPT_LIMIT // 3)
            text = text[start : start + EXCERPT_LIMIT]
        # it goes to a terminal, which must not obey it
        return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text.strip())


@dataclass(frozen=True, slots=True)
class Place:
    """A point in a file. Lines and columns start at 1."""

    source: SourceFile
    line: int
    column: int

    @property
    def origin(self) -> Origin:
        """The place without the text around it."""
        return Origin(self.source.name, self.line, self.column)


class Node:
    """A place and, in the subclasses, what stands there. The mark packs line and column, to keep 10^6 nodes slim."""

    __slots__ = ("mark", "source")

    def __init__(self, source: SourceFile, mark: int) -> None:
        self.source = source
        self.mark = mark

    @property
    def place(self) -> Place:
        """Where the node begins."""
        return Place(self.source, (self.mark >> 32) + 1, (self.mark & 0xFFFFFFFF) + 1)


class Scalar(Node):
    """One piece of text; ``plain`` when it stands without quotes."""

    __slots__ = ("plain", "text")

    def __init__(self, source: SourceFile, mark: int, text: str, plain: bool) -> None:
        super().__init__(source, mark)
        self.text = text
        self.plain = plain


class Sequence(Node):
    """A list."""

    __slots__ = ("items",)

    def __init__(self, source: SourceFile, mark: int, items: list[Node]) -> None:
        super().__init__(source, mark)
        self.items = items


class Mapping(Node):
    """Keys with their values, in file order, no key twice."""

    __slots__ = ("entries",)

    def __init__(self, source: SourceFile, mark: int, entries: dict[str, tuple[Scalar, Node]]) -> None:
        super().__init__(source, mark)
        self.entries = entries


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """Text without quotes that a YAML reader may take for ``kind`` instead of text."""

    text: str
    kind: str


_KINDS = (
    ("nothing", r"~|null|Null|NULL|"),
    ("a truth value", r"(?:y|yes|n|no|true|false|on|off)"),
    ("a number in octal or with a leading zero", r"[-+]?0[oO]?[0-9_]+"),
    ("a hexadecimal number", r"[-+]?0[xX][0-9a-fA-F_]+"),
    ("a binary number", r"[-+]?0[bB][01_]+"),
    ("a number in base 60", r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?"),
    ("a number", r"[-+]?[0-9][0-9_]*"),
    ("a number with a fraction", r"[-+]?(?:[0-9][0-9_]*)?\.[0-9_]+|[-+]?[0-9][0-9_]*\."),
    ("a number with an exponent", r"[-+]?(?:[0-9][0-9_]*)?\.?[0-9_]*[eE][-+]?[0-9]+"),
    ("infinity or no number", r"[-+]?\.(?:inf|Inf|INF|nan|NaN|NAN)"),
    ("a date", r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt \t].*)?"),
    ("a special key", r"<<|="),
)
"""What text without quotes may be taken for: the implicit types of YAML 1.1 (yaml.org/type) and of YAML 1.2, 10.3."""

_PATTERNS = tuple((kind, re.compile(pattern, re.IGNORECASE | re.DOTALL)) for kind, pattern in _KINDS)
_SUSPECT = re.compile(r"(?:[-+.0-9~=<yntof]|null)", re.IGNORECASE)
_DECIMAL = re.compile(r"0|-?[1-9][0-9]{0,17}")


def ambiguity(text: str) -> str:
    """What a YAML reader may take the plain ``text`` for; empty when it can only be text."""
    if text and not _SUSPECT.match(text):
        return ""
    return next((kind for kind, pattern in _PATTERNS if pattern.fullmatch(text)), "")


def scalar_value(node: Scalar) -> object:
    """What a scalar stands for: ``str``, ``int``, None (nothing was written) or `Ambiguous`."""
    if not node.plain:
        return node.text
    if not node.text:
        return None
    kind = ambiguity(node.text)
    if not kind:
        return node.text
    if _DECIMAL.fullmatch(node.text):
        return int(node.text)
    return None if kind == "nothing" else Ambiguous(node.text, kind)


class TooManyItemsError(Exception):
    """A list or mapping is too long to be looked at."""

    def __init__(self, node: Node) -> None:
        super().__init__("too many items")
        self.node = node


def value(node: Node) -> object:
    """The node as plain lists, dictionaries and scalar values. Recursion is bounded by the reader's depth limit.

    Raises:
        TooManyItemsError: when a list or mapping has more than `limits.ITEMS`.
    """
    if isinstance(node, Scalar):
        return scalar_value(node)
    if isinstance(node, Sequence):
        if len(node.items) > limits.ITEMS:
            raise TooManyItemsError(node)
        return [value(item) for item in node.items]
    assert isinstance(node, Mapping)
    if len(node.entries) > limits.ITEMS:
        raise TooManyItemsError(node)
    return {key: value(item) for key, (_, item) in node.entries.items()}


def place_at(node: Node, path: Iterable[str | int], key: bool = False) -> Place | None:
    """The place at the end of a path of keys and indices; steps that lead nowhere are skipped.

    Args:
        node: where the path begins.
        path: keys and indices.
        key: the place of the last key instead of its value; a mapping always shows its key, which names it.

    Returns:
        None when no step leads anywhere.
    """
    here: Place | None = None
    for step in path:
        if isinstance(node, Mapping) and isinstance(step, str) and step in node.entries:
            name, node = node.entries[step]
            here = name.place if key or isinstance(node, Mapping) else node.place
        elif isinstance(node, Sequence) and isinstance(step, int) and step < len(node.items):
            node = node.items[step]
            here = node.place
    return here
