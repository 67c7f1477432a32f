"""Named sets and maps: their elements, and whether packets change them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ringfort.proof.nftables.elements import CATCH_ALL, Part, parts_of_type, read_elements
from ringfort.proof.nftables.expressions import parts_of
from ringfort.proof.nftables.values import NotUnderstoodError
from ringfort.proof.ruleset import Element, NamedSet

_STATEMENTS = ("set", "map", "meter")


@dataclass(frozen=True, slots=True)
class Uses:
    """How the rules of a table use its sets: which ones packets update, and what is looked up in each."""

    updated: set[str] = field(default_factory=set)
    keys: dict[str, tuple[Part, ...]] = field(default_factory=dict)


def uses_of_sets(chains: Iterable[list[dict[str, Any]]], family: str) -> Uses:
    """Go through all rules of a table."""
    uses = Uses()
    for rules in chains:
        for rule in rules:
            for statement in rule.get("expr", []) if isinstance(rule.get("expr"), list) else []:
                uses.updated.update(_updated(statement))
                for name, key in _lookups(statement):
                    if name not in uses.keys:
                        _note_key(uses, name, key, family)
    return uses


def _note_key(uses: Uses, name: str, key: object, family: str) -> None:
    try:
        uses.keys[name] = tuple((part.kind, part.width) for part in parts_of(key, family))
    except NotUnderstoodError:
        return


def _updated(statement: object) -> Iterator[str]:
    # nft 1.0.6 does not print a set's flag "dynamic": whether packets fill it shows in the rules alone.
    if isinstance(statement, dict):
        for kind in _STATEMENTS:
            content = statement.get(kind)
            if isinstance(content, dict):
                target = content.get(kind, content.get("set", content.get("map", content.get("name", ""))))
                if isinstance(target, str):
                    yield target.removeprefix("@")


def _lookups(value: object) -> Iterator[tuple[str, object]]:
    """Every ``@NAME`` in a statement, with the expression that is looked up in it."""
    stack = [value]
    while stack:
        one = stack.pop()
        if isinstance(one, list):
            stack += one
        elif isinstance(one, dict):
            for content in one.values():
                if isinstance(content, dict):
                    for left, right in (("left", "right"), ("key", "data")):
                        target = content.get(right)
                        if isinstance(target, str) and target.startswith("@"):
                            yield target[1:], content.get(left)
                stack.append(content)


FLAGS = ("constant", "interval", "timeout", "dynamic")
"""What `nft` prints of a set's flags."""


def named_set(name: str, content: dict[str, Any], uses: Uses) -> NamedSet:
    """A named set or map. What cannot be read is told in ``unread``; every lookup is then either way."""
    flags = content.get("flags", [])
    flags = flags if isinstance(flags, list) else [flags]
    declared = parts_of_type(content.get("type"))
    data: tuple[Part, ...] | None = None
    if "map" in content:
        data = () if content["map"] == "verdict" else parts_of_type(content["map"])
    unread = ""
    elements: tuple[Element, ...] = ()
    parts = declared
    for parts in _candidates(declared, uses.keys.get(name)):
        try:
            elements = read_elements(content.get("elem", []), parts, data)
        except NotUnderstoodError as error:
            unread = unread or str(error)
        else:
            unread = ""
            break
    rest = next((element for element in elements if element.key == CATCH_ALL), None)
    plain = tuple(element for element in elements if element.key != CATCH_ALL) if rest else elements
    if strange := [flag for flag in flags if flag not in FLAGS]:
        unread = unread or f"flag {strange[0]!r} is not known here"
    dynamic = name in uses.updated or "dynamic" in flags
    return NamedSet(name, tuple(kind for kind, _ in parts), plain, dynamic, rest, unread)


def _candidates(declared: tuple[Part, ...], used: tuple[Part, ...] | None) -> list[tuple[Part, ...]]:
    """The types to try. nft 1.0.6 lists the type of a ``typeof`` set wrongly; what is looked up tells it better."""
    if used is None:
        return [declared]
    trusted = len(declared) == len(used) and all(kind != "integer" for kind, _ in declared)
    return [declared, used] if trusted else [used]
