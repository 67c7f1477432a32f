"""What stands in a device's rules that was not compiled, and what is missing: changes made by hand, in words."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from dataclasses import dataclass

from ringfort.network.canonical import canonical
from ringfort.network.nft import Json
from ringfort.network.render import element_text, rule_text


@dataclass(frozen=True, slots=True)
class Difference:
    """One change.

    Attributes:
        sign: ``+`` for what is there and should not be, ``-`` for what should be there and is not.
        place: where, such as ``chain forward of table inet ringfort``.
        text: the rule, element or object, in nft's words where they are known and as JSON elsewhere.
    """

    sign: str
    place: str
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.sign} {self.text}"


def drift(wanted: Json, found: Json) -> tuple[Difference, ...]:
    """How ``found`` (``nft --json list ruleset``) differs from ``wanted`` (`Ruleset.document`); empty if it does not.

    What traffic changes by itself (counters, the elements of dynamic sets) is no difference. A table that is missing
    or foreign is one difference, however much is in it.
    """
    return tuple(_drift(_tables(canonical(wanted)), _tables(canonical(found))))


Tables = dict[tuple[str, str], dict[str, tuple[Json, list[Json]]]]
"""Family and name -> objects by ``kind name``: the object without its content, and its content in order."""


def _tables(document: Json) -> Tables:
    tables: Tables = {}
    for entry in document["nftables"]:
        ((kind, body),) = entry.items()
        if kind == "table":
            tables.setdefault((body["family"], body["name"]), {})
            continue
        objects = tables.setdefault((body["family"], body["table"]), {})
        if kind == "rule":
            objects.setdefault(f"chain {body['chain']}", ({}, []))[1].append(body)
            continue
        rest = {key: value for key, value in body.items() if key not in ("family", "table", "name", "elem")}
        known = objects.setdefault(f"{kind} {body['name']}", (rest, []))
        objects[f"{kind} {body['name']}"] = (rest, known[1] + list(body.get("elem", ())))
    return tables


def _drift(wanted: Tables, found: Tables) -> Iterator[Difference]:
    for family, name in sorted(wanted.keys() | found.keys()):
        table = f"table {family} {name}"
        if (family, name) not in found:
            yield Difference("-", "the ruleset", table)
        elif (family, name) not in wanted:
            yield Difference("+", "the ruleset", f"{table}, with {_size(found[family, name])}")
        else:
            yield from _in_table(table, wanted[family, name], found[family, name])


def _size(objects: dict[str, tuple[Json, list[Json]]]) -> str:
    chains = [content for name, (_, content) in objects.items() if name.startswith("chain ")]
    rules = sum(len(content) for content in chains)
    return f"{len(chains)} chain{'' if len(chains) == 1 else 's'} and {rules} rule{'' if rules == 1 else 's'}"


def _in_table(
    table: str, wanted: dict[str, tuple[Json, list[Json]]], found: dict[str, tuple[Json, list[Json]]]
) -> Iterator[Difference]:
    for name in sorted(wanted.keys() | found.keys()):
        place = f"{name} of {table}"
        here, there = wanted.get(name), found.get(name)
        if here == there:
            continue
        if here is None or there is None:
            yield Difference("-" if there is None else "+", table, name)
        elif here[0] != there[0]:
            yield Difference("-", place, _plain(here[0]))
            yield Difference("+", place, _plain(there[0]))
        yield from _contents(place, here[1] if here else [], there[1] if there else [])


def _contents(place: str, wanted: list[Json], found: list[Json]) -> Iterator[Difference]:
    one, other = [_text(item) for item in wanted], [_text(item) for item in found]
    if not place.startswith("chain "):  # elements of sets have no order
        yield from (Difference("-", place, text) for text in sorted(set(one) - set(other)))
        yield from (Difference("+", place, text) for text in sorted(set(other) - set(one)))
        return
    matcher = difflib.SequenceMatcher(a=one, b=other, autojunk=False)
    for kind, first, last, from_, to in matcher.get_opcodes():
        if kind != "equal":
            yield from (Difference("-", place, text) for text in one[first:last])
            yield from (Difference("+", place, text) for text in other[from_:to])


def _text(item: Json) -> str:
    is_rule = isinstance(item, dict) and "expr" in item
    try:
        return rule_text(item) if is_rule else element_text(item)
    except (AttributeError, KeyError, TypeError, ValueError):  # a form that the compiler never makes
        if not is_rule:
            return _plain(item)
        return _plain(item["expr"]) + (f" comment {item['comment']}" if "comment" in item else "")


def _plain(value: Json) -> str:
    return json.dumps(value, sort_keys=True)
