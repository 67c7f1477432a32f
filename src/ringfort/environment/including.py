"""Reading the main file and everything it includes into one mapping."""

from __future__ import annotations

from dataclasses import dataclass, field

from ringfort.environment import limits
from ringfort.environment.document import parse
from ringfort.environment.files import Files, RefusedFileError, relative_name
from ringfort.environment.nodes import Mapping, Node, Scalar, Sequence, SourceFile, scalar_value
from ringfort.environment.problems import Problems, refusal, shown
from ringfort.environment.reading import Budget

_MERGED_LISTS = frozenset({"flows", "published"})
_MERGED_BELOW_SITE = frozenset({"segments", "providers"})


@dataclass(slots=True)
class _Reading:
    files: Files
    problems: Problems
    budget: Budget = field(default_factory=Budget)
    seen: dict[str, str] = field(default_factory=dict)  # file -> the file that includes it
    chain: list[str] = field(default_factory=list)
    broken: bool = False


def read_all(files: Files, main: str, problems: Problems) -> tuple[Mapping, bool]:
    """Read ``main`` and its includes, merged: mappings by key, lists one after the other, the including file first.

    Returns:
        the merged root mapping, and whether every file could be read. The reasons are added to ``problems``.

    Raises:
        DeclarationError: when the main file cannot be read at all.
    """
    reading = _Reading(files, problems)
    try:
        content = files.read(main, reading.budget.bytes)
    except RefusedFileError as refused:
        raise _main_refused(files.shown(main), refused) from refused
    root = _read_file(reading, main, content)
    return root, not reading.broken


def _main_refused(file: str, refused: RefusedFileError) -> Exception:
    return refusal(refused.code, file, refused.message, refused.hint)


def _read_file(reading: _Reading, name: str, content: bytes) -> Mapping:
    """One file with what it includes; an empty mapping when it cannot be read."""
    shown_name = reading.files.shown(name)
    rank = len(reading.seen)
    reading.seen.setdefault(name, "")
    reading.budget.bytes -= len(content)
    source = SourceFile(shown_name, "", rank)
    root = _parse(reading, source, content)
    if root is None:
        return Mapping(source, 0, {})
    included = root.entries.pop("include", None)
    if included is not None:
        reading.chain.append(name)
        for item in _include_items(reading, included[1]):
            _merge_root(root, _include(reading, name, item), reading.problems)
        reading.chain.pop()
    return root


def _parse(reading: _Reading, source: SourceFile, content: bytes) -> Mapping | None:
    root = parse(
        source,
        content,
        reading.budget,
        reading.problems,
        empty_hint="'ringfort init' writes one to start from",
        first_line="environment: NAME",
    )
    reading.broken = reading.broken or root is None
    return root


def _include_items(reading: _Reading, node: Node) -> list[Scalar]:
    items = node.items if isinstance(node, Sequence) else [node]
    names = []
    for item in items:
        if isinstance(item, Scalar) and isinstance(scalar_value(item), str) and item.text.strip():
            names.append(item)
        else:
            reading.broken = True
            reading.problems.add(
                "not-a-file-name", item, "'include' is a list of file names", "write: include: [services.yaml]"
            )
    return names


def _include(reading: _Reading, including: str, item: Scalar) -> Mapping:
    try:
        name = relative_name(including, item.text)
        _refuse_endless(reading, name)
        content = reading.files.read(name, max(0, reading.budget.bytes))
    except RefusedFileError as refused:
        reading.broken = True
        reading.problems.add(refused.code, item, f"cannot include {shown(item.text)}: {refused.message}", refused.hint)
        return Mapping(item.source, item.mark, {})
    reading.seen[name] = including
    return _read_file(reading, name, content)


def _refuse_endless(reading: _Reading, name: str) -> None:
    """Refuse one file more where it would repeat or never end."""
    if len(reading.chain) > limits.INCLUDE_DEPTH:
        raise RefusedFileError(
            "include-too-deep",
            f"files include each other more than {limits.INCLUDE_DEPTH} deep",
            "include it in a file further up",
        )
    if len(reading.seen) >= limits.INCLUDED_FILES:
        raise RefusedFileError(
            "too-many-files", f"more than {limits.INCLUDED_FILES} files", "put some of them together"
        )
    if name in reading.chain:
        cycle = " -> ".join([*reading.chain[reading.chain.index(name) :], name])
        raise RefusedFileError(
            "include-cycle", f"the files include each other: {cycle}", "remove one of these includes"
        )
    if name in reading.seen:
        raise RefusedFileError(
            "included-twice", f"'{reading.seen[name]}' includes it already", "include each file in one place"
        )


def _merge_root(root: Mapping, more: Mapping, problems: Problems) -> None:
    for key, (key_node, node) in more.entries.items():
        if key not in root.entries:
            root.entries[key] = (key_node, node)
            continue
        _, present = root.entries[key]
        if isinstance(present, Mapping) and isinstance(node, Mapping):
            root.entries[key] = (root.entries[key][0], _merged(present, node, key, problems))
        elif key in _MERGED_LISTS and isinstance(present, Sequence) and isinstance(node, Sequence):
            joined = Sequence(present.source, present.mark, [*present.items, *node.items])
            root.entries[key] = (root.entries[key][0], joined)
        elif isinstance(present, Scalar) and present.plain and not present.text:
            root.entries[key] = (key_node, node)
        elif not (isinstance(node, Scalar) and node.plain and not node.text):
            _add_repeated(root, key, key_node, problems)


def _merged(first: Mapping, second: Mapping, section: str, problems: Problems) -> Mapping:
    """Two mappings as one. A site may be spread over files; anything else with the same name is a repetition."""
    result = Mapping(first.source, first.mark, dict(first.entries))
    for key, (key_node, node) in second.entries.items():
        if key not in result.entries:
            result.entries[key] = (key_node, node)
            continue
        present_key, present = result.entries[key]
        inner = {"sites": "site", "site": "part"}.get(section, "")
        joins = inner and (section != "site" or key in _MERGED_BELOW_SITE)
        if joins and isinstance(present, Mapping) and isinstance(node, Mapping):
            result.entries[key] = (present_key, _merged(present, node, inner, problems))
        else:
            _add_repeated(result, key, key_node, problems)
    return result


def _add_repeated(mapping: Mapping, key: str, key_node: Scalar, problems: Problems) -> None:
    problems.add(
        "duplicate-key",
        key_node,
        f"{shown(key)} is written twice; the first one is at {mapping.entries[key][0].place.origin}",
        "remove one of them, or rename it",
    )
