"""From the bytes of one YAML file to its nodes, with every trap refused at its place.

The parser (libyaml) hands over events one by one, so that nesting, size and the expansion of aliases are bounded while
reading, no object but `nodes` is ever built, and nothing recurses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml

from ringfort.environment import limits
from ringfort.environment.nodes import Mapping, Node, Place, Scalar, Sequence, SourceFile, ambiguity
from ringfort.environment.problems import Problems, shown

_PARSER = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
_QUOTE = "put it in quotes if it is meant as text"


class _StoppedError(Exception):
    """The file cannot be read any further; the reason is among the problems."""


@dataclass(slots=True)
class Budget:
    """What all files of a declaration may still use."""

    bytes: int = limits.TOTAL_BYTES
    nodes: int = limits.TOTAL_NODES
    allowed: int = field(init=False)
    """Nodes there were at the start."""

    def __post_init__(self) -> None:
        self.allowed = self.nodes


@dataclass(slots=True)
class _Frame:
    """A list or mapping that is being read."""

    node: Sequence | Mapping
    anchor: str | None
    weight: int = 1  # nodes below, aliases expanded
    height: int = 1
    key: Scalar | None = None
    skipped_key: bool = False
    merges: list[Node] = field(default_factory=list)


def read(source: SourceFile, budget: Budget, problems: Problems) -> Node | None:
    """Read one file's only document.

    Returns:
        its root, or None when it is empty or cannot be read; the reasons are added to ``problems``.
    """
    reader = _Reader(source, budget, problems)
    try:
        return reader.document()
    except _StoppedError:
        return None
    except yaml.YAMLError as error:
        _add_syntax_problem(source, error, problems)
        return None


TOO_DEEP = f"lists and mappings are nested more than {limits.NESTING} deep"
TOO_DEEP_HINT = "an environment needs no more than 8 levels; look for a bracket that is not closed"


class _Reader:
    def __init__(self, source: SourceFile, budget: Budget, problems: Problems) -> None:
        self.source = source
        self.budget = budget
        self.problems = problems
        self.stack: list[_Frame] = []
        self.anchors: dict[str, tuple[Node, int, int] | None] = {}  # None while still open
        self.root: Node | None = None
        self.texts: dict[str, str] = {}
        self.plain_keys: dict[str, str] = {}

    def document(self) -> Node | None:
        documents = 0
        for event in self._events():
            if isinstance(event, yaml.ScalarEvent):
                self._scalar(event)
            elif isinstance(event, yaml.MappingStartEvent):
                self._open(event, Mapping(self.source, _mark(event), {}))
            elif isinstance(event, yaml.SequenceStartEvent):
                self._open(event, Sequence(self.source, _mark(event), []))
            elif isinstance(event, yaml.CollectionEndEvent):
                self._close()
            elif isinstance(event, yaml.AliasEvent):
                self._alias(event)
            elif isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self._stop(
                        "several-documents",
                        self._place(event),
                        "the file holds more than one YAML document",
                        "remove the line '---', or put the second document in a file of its own and include it",
                    )
        return self.root

    def _events(self) -> Iterator[yaml.Event]:
        return iter(yaml.parse(self.source.text, Loader=_PARSER))

    def _place(self, event: yaml.Event) -> Place:
        mark = _mark(event)
        return Place(self.source, (mark >> 32) + 1, (mark & 0xFFFFFFFF) + 1)

    def _stop(self, code: str, place: Place, message: str, hint: str) -> None:
        self.problems.add(code, place, message, hint)
        raise _StoppedError

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        self._refuse_tag(event)
        text = self.texts.setdefault(event.value, event.value)
        node = Scalar(self.source, _mark(event), text, not event.style)
        self._spend(1, event)
        if event.anchor is not None:
            self.anchors[event.anchor] = (node, 1, 0)
        self._place_node(node, 1, 0)

    def _open(self, event: yaml.MappingStartEvent | yaml.SequenceStartEvent, node: Sequence | Mapping) -> None:
        self._refuse_tag(event)
        self._spend(1, event)
        if len(self.stack) >= limits.NESTING:
            self._stop("nested-too-deep", self._place(event), TOO_DEEP, TOO_DEEP_HINT)
        if event.anchor is not None:
            self.anchors[event.anchor] = None
        self.stack.append(_Frame(node, event.anchor))

    def _close(self) -> None:
        frame = self.stack.pop()
        for merged in frame.merges:
            self._merge(frame, merged)
        if frame.anchor is not None:
            self.anchors[frame.anchor] = (frame.node, frame.weight, frame.height)
        self._place_node(frame.node, frame.weight, frame.height)

    def _alias(self, event: yaml.AliasEvent) -> None:
        name = event.anchor or ""
        if name not in self.anchors:
            self._stop(
                "unknown-alias", self._place(event), f"nothing is called '&{name}' above this line", "write '&' first"
            )
        target = self.anchors[name]
        if target is None:
            self._stop(
                "recursive-alias", self._place(event), f"'*{name}' stands inside of itself", "write the value out"
            )
            return
        node, weight, height = target
        if len(self.stack) + height > limits.NESTING:
            self._stop(
                "nested-too-deep",
                self._place(event),
                f"with '*{name}' written out, lists and mappings are nested more than {limits.NESTING} deep",
                "aliases of aliases are not needed in an environment",
            )
        self._spend(weight, event)
        self._place_node(node, weight, height)

    def _spend(self, nodes: int, event: yaml.Event) -> None:
        self.budget.nodes -= nodes
        if self.budget.nodes < 0:
            self._stop(
                "too-large",
                self._place(event),
                f"there are more than {self.budget.allowed:,} pieces of YAML, aliases written out",
                "use 'count' for hosts that are alike; look for aliases of aliases",
            )

    def _place_node(self, node: Node, weight: int, height: int) -> None:
        if not self.stack:
            self.root = node
            return
        frame = self.stack[-1]
        frame.weight += weight
        frame.height = max(frame.height, height + 1)
        if isinstance(frame.node, Sequence):
            frame.node.items.append(node)
        elif frame.key is None and not frame.skipped_key:
            self._key(frame, node)
        else:
            self._entry(frame, frame.node, node)

    def _key(self, frame: _Frame, node: Node) -> None:
        if not isinstance(node, Scalar):
            self.problems.add(
                "key-not-text",
                node,
                "a list or mapping stands where a name is wanted",
                "braces and brackets at the start of text need quotes",
            )
            frame.skipped_key = True
            return
        frame.key = node

    def _entry(self, frame: _Frame, mapping: Mapping, node: Node) -> None:
        key, frame.key = frame.key, None
        if frame.skipped_key or key is None:
            frame.skipped_key = False
            return
        if key.plain and key.text == "<<":
            frame.merges.append(node)
            return
        if key.plain and self._refuse_key(key):
            return
        first = mapping.entries.get(key.text)
        if first is not None:
            line = first[0].place.line
            self.problems.add(
                "duplicate-key",
                key,
                f"{shown(key.text)} is written twice; the first one is in line {line}",
                "remove one of them, or rename it",
            )
            return
        mapping.entries[key.text] = (key, node)

    def _refuse_key(self, key: Scalar) -> bool:
        kind = self.plain_keys.get(key.text)
        if kind is None:
            kind = self.plain_keys[key.text] = ambiguity(key.text)
        if kind:
            self.problems.add(
                "ambiguous-text", key, f"{shown(key.text)} as a name: YAML readers take it for {kind}", _QUOTE
            )
        return bool(kind)

    def _merge(self, frame: _Frame, merged: Node) -> None:
        sources = merged.items if isinstance(merged, Sequence) else [merged]
        assert isinstance(frame.node, Mapping)
        for item in sources:
            if not isinstance(item, Mapping):
                self.problems.add(
                    "merge-of-no-mapping", item, "'<<' takes a mapping or a list of mappings", "write '<<: *NAME'"
                )
                continue
            for name, entry in item.entries.items():
                frame.node.entries.setdefault(name, entry)

    def _refuse_tag(self, event: yaml.ScalarEvent | yaml.MappingStartEvent | yaml.SequenceStartEvent) -> None:
        if event.tag is not None:
            self.problems.add(
                "tag-not-allowed",
                self._place(event),
                f"the tag {shown(event.tag)} has no meaning here",
                "remove it; " + _QUOTE,
            )


def _mark(event: yaml.Event) -> int:
    mark = event.start_mark
    assert mark is not None  # the parser always gives one
    return int(mark.line << 32 | mark.column)


_WHERE = re.compile(r"[Ll]ine (\d+), column (\d+)")


def _add_syntax_problem(source: SourceFile, error: yaml.YAMLError, problems: Problems) -> None:
    """Tell a syntax error of the YAML parser in one line, with a hint for the usual causes."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        line, column = error.problem_mark.line + 1, error.problem_mark.column + 1
        context = f"{error.context}: " if error.context else ""
        message = f"{context}{error.problem}"
        if "maximum nesting depth" in message:  # libyaml's own limit, met while it looks ahead
            problems.add("nested-too-deep", Place(source, line, column), TOO_DEEP, TOO_DEEP_HINT)
            return
    elif isinstance(error, yaml.reader.ReaderError):
        position = error.position if isinstance(error.position, int) else 0
        before = source.text.encode()[:position].decode(errors="ignore")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        message = "a character that YAML does not allow (a control character)"
    else:
        line, column, message = 1, 1, str(error).splitlines()[0] if str(error) else "not YAML"
    hint = _syntax_hint(source.line(line), column, message)
    problems.add("not-yaml", Place(source, line, column), f"not YAML: {message}", hint)


def _syntax_hint(text: str, column: int, message: str) -> str:
    if "\t" in text[max(0, column - 2) : column]:
        return "indent with spaces; YAML does not allow tabs there"
    if "control character" in message:
        return "the file holds binary data, or was damaged; look at it with a hex viewer"
    if "mapping values are not allowed" in message:
        return "a colon followed by a space makes a mapping: put text with ': ' in quotes, and check the indentation"
    if ":" in text and ("expected ',' or" in message or "'[' or ','" in message or "unexpected ':'" in message):
        return "put IPv6 addresses and networks in quotes inside of brackets"
    if "expected ',' or" in message or "did not find expected" in message:
        return "check brackets, braces, commas and the indentation of this line and the one above"
    if "cannot start any token" in message:
        return "text that starts with one of @ ` % needs quotes"
    return ""
