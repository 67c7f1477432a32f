"""Read any nftables ruleset, as ``nft --json list ruleset`` gives it.

The reader decides nothing by guessing: a document that is not such a list is refused with a reason, and inside it what
cannot be modelled exactly becomes an either-way statement that carries its text and the reason.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ringfort.errors import RingfortError
from ringfort.proof.nftables.elements import parts_of_type
from ringfort.proof.nftables.named import named_set, uses_of_sets
from ringfort.proof.nftables.statements import Context, read_statement
from ringfort.proof.ruleset import (
    Base,
    Chain,
    Doubtful,
    Note,
    Outcome,
    Place,
    Rule,
    Ruleset,
    Statement,
    Table,
    Verdict,
    VerdictMap,
)

FAMILIES = ("ip", "ip6", "inet", "arp", "bridge", "netdev")

KINDS = frozenset(
    ("table", "chain", "rule", "set", "map", "meter", "counter", "limit", "quota", "secmark", "synproxy", "tunnel")
) | {"ct helper", "ct timeout", "ct expectation"}
"""Objects of a listed ruleset that belong to a table. What is none of them is refused, not left out."""

HOOKS = ("prerouting", "input", "forward", "output", "postrouting", "ingress", "egress")
CHAIN_TYPES = ("filter", "nat", "route")
TABLE_FLAGS = ("dormant", "owner", "persist")

HINT = "pass the output of: nft --json list ruleset"


class RulesetError(RingfortError):
    """A ruleset document is not what ``nft --json list ruleset`` prints."""

    def __init__(self, message: str, hint: str = HINT) -> None:
        super().__init__("ruleset-unreadable", message, hint)


def parse(text: str) -> object:
    """The JSON document in ``text``.

    Raises:
        RulesetError: it is no JSON; a plain nft file gets a hint how to convert it.
    """
    stripped = text.lstrip("\ufeff \t\r\n")
    if not stripped:
        raise RulesetError("the ruleset is empty")
    if not stripped.startswith(("{", "[")):
        raise RulesetError(
            f"this is not JSON, it starts with {stripped[:20]!r}",
            "a plain nft file must be loaded first: nft -f FILE (in a network namespace of its own: "
            "unshare -Urn), then nft --json list ruleset",
        )
    try:
        return json.loads(stripped)
    except json.JSONDecodeError as error:
        raise RulesetError(f"this is not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from error
    except (RecursionError, ValueError) as error:
        raise RulesetError("this JSON is nested too deeply or holds a number too large") from error


def read(document: object) -> Ruleset:
    """The ruleset in a parsed document.

    Raises:
        RulesetError: the document is no list of nftables objects, or contradicts itself.
    """
    objects = list(_objects(document))
    version = next((str(c.get("version", "")) for kind, c in objects if kind == "metainfo"), "")
    tables: dict[tuple[str, str], _TableDraft] = {}
    for kind, content in objects:
        if kind in ("metainfo", "flowtable"):
            continue
        if kind not in KINDS:
            raise RulesetError(f"an object of kind {kind!r} is not known here", "")
        key = (_text(content, "family", kind), _text(content, "name" if kind == "table" else "table", kind))
        if key[0] not in FAMILIES:
            raise RulesetError(f"{kind} of family {key[0]!r}: there is no such family")
        tables.setdefault(key, _TableDraft(*key)).add(kind, content)
    return Ruleset(tuple(draft.table() for draft in tables.values()), version)


def _objects(document: object) -> Iterator[tuple[str, dict[str, Any]]]:
    if not isinstance(document, dict) or not isinstance(document.get("nftables"), list):
        raise RulesetError('the document has no list "nftables"')
    for number, item in enumerate(document["nftables"]):
        if not isinstance(item, dict) or len(item) != 1:
            raise RulesetError(f"object {number} of the list is not one nftables object")
        ((kind, content),) = item.items()
        if kind in ("add", "insert", "create", "delete", "flush", "replace", "rename"):
            raise RulesetError(f"object {number} is the command {kind!r}, not a part of a listed ruleset")
        if not isinstance(content, dict):
            raise RulesetError(f"object {number} ({kind}) has no content")
        yield kind, content


def _text(content: Mapping[str, Any], key: str, kind: str) -> str:
    value = content.get(key)
    if not isinstance(value, str):
        raise RulesetError(f"a {kind} has no {key}")
    return value


def _number(content: Mapping[str, Any], key: str, kind: str) -> int:
    value = content.get(key, 0)
    if not isinstance(value, int) or isinstance(value, bool):
        raise RulesetError(f"{key} of a {kind} is {value!r}, not a number")
    return value


class _TableDraft:
    """A table while its objects are collected; rules are read last, when its sets and maps are known."""

    def __init__(self, family: str, name: str) -> None:
        self.family = family
        self.name = name
        self.dormant = False
        self.sets: dict[str, dict[str, Any]] = {}
        self.bases: dict[str, Base | None] = {}
        self.rules: dict[str, list[dict[str, Any]]] = {}
        self.inverted: dict[tuple[str, str], bool] = {}
        self.seen: set[tuple[str, str]] = set()

    def add(self, kind: str, content: dict[str, Any]) -> None:
        """Take one object of this table."""
        if kind == "table":
            flags = _list(content.get("flags", []))
            if unknown := [flag for flag in flags if flag not in TABLE_FLAGS]:
                raise RulesetError(f"flag {unknown[0]!r} of table {self.name!r} is not known here")
            self._once("table", self.name)
            self.dormant = "dormant" in flags
        elif kind in ("set", "map", "meter"):
            name = _text(content, "name", kind)
            self._once("set", name)
            self.sets[name] = content
        elif kind == "chain":
            name = _text(content, "name", kind)
            self._once("chain", name)
            self.bases[name] = _base(content)
            self.rules.setdefault(name, [])
        elif kind == "rule":
            self.rules.setdefault(_text(content, "chain", kind), []).append(content)
        elif kind in ("limit", "quota"):
            self.inverted[kind, _text(content, "name", kind)] = bool(content.get("inv"))

    def _once(self, kind: str, name: str) -> None:
        if (kind, name) in self.seen:
            raise RulesetError(f"{kind} {name!r} of {self.family} {self.name!r} is listed twice")
        self.seen.add((kind, name))

    def table(self) -> Table:
        """The finished table."""
        maps = {name: parts_of_type(c["map"]) for name, c in self.sets.items() if "map" in c}
        context = Context(self.family, maps, self.inverted)
        uses = uses_of_sets(self.rules.values(), self.family)
        sets = {name: named_set(name, content, uses) for name, content in self.sets.items()}
        chains = {name: self._chain(name, rules, context) for name, rules in self.rules.items()}
        table = Table(self.family, self.name, chains, sets, self.dormant)
        _refuse_broken_references(table)
        return table

    def _chain(self, name: str, rules: list[dict[str, Any]], context: Context) -> Chain:
        if name not in self.bases:
            raise RulesetError(f"a rule stands in chain {name!r} of table {self.name!r}, which is not listed")
        read_rules = tuple(self._rule(name, i + 1, rule, context) for i, rule in enumerate(rules))
        return Chain(self.family, self.name, name, self.bases[name], read_rules)

    def _rule(self, chain: str, number: int, content: dict[str, Any], context: Context) -> Rule:
        expressions = content.get("expr", [])
        if not isinstance(expressions, list):
            raise RulesetError(f"rule {number} of chain {chain!r} has no list of statements")
        statements = _settle([read_statement(statement, context) for statement in expressions])
        place = Place(self.family, self.name, chain, number, _number(content, "handle", "rule"))
        comment = content.get("comment", "")
        return Rule(place, statements, comment if isinstance(comment, str) else "", _words(statements))


def _words(statements: tuple[Statement, ...]) -> str:
    return " ".join(statement.text or str(statement) for statement in statements)


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _base(content: dict[str, Any]) -> Base | None:
    if "hook" not in content:
        return None
    policy = content.get("policy", "accept")
    if policy not in ("accept", "drop"):
        raise RulesetError(f"policy {policy!r} of a chain is neither accept nor drop")
    devices = content.get("dev", [])
    names = tuple(str(d) for d in (devices if isinstance(devices, list) else [devices]))
    hook, kind = _text(content, "hook", "chain"), str(content.get("type", "filter"))
    if hook not in HOOKS or kind not in CHAIN_TYPES:
        raise RulesetError(f"a chain of type {kind!r} at hook {hook!r} is not known here")
    return Base(kind, hook, _number(content, "prio", "chain"), Outcome(policy), names)


def _settle(statements: list[Statement]) -> tuple[Statement, ...]:
    """Doubt that nothing follows changes nothing: it becomes a note."""
    settled = list(statements)
    for i in range(len(settled) - 1, -1, -1):
        statement = settled[i]
        if isinstance(statement, Doubtful) and not statement.terminal:
            settled[i] = Note(statement.text)
        elif not isinstance(statement, Note):
            break
    return tuple(settled)


def _refuse_broken_references(table: Table) -> None:
    for chain in table.chains.values():
        for rule in chain.rules:
            for target in _targets(rule, table):
                if target not in table.chains:
                    raise RulesetError(f"{rule.place} leads to chain {target!r}, which is not listed")


def _targets(rule: Rule, table: Table) -> Iterator[str]:
    for statement in rule.statements:
        verdicts: list[object] = [statement]
        if isinstance(statement, VerdictMap):
            if isinstance(statement.elements, str):
                named = table.sets.get(statement.elements)
                elements = named.elements if named else ()
                rest = named.catch_all if named else None
            else:
                elements, rest = statement.elements, statement.catch_all
            verdicts = [element.data for element in (*elements, *((rest,) if rest else ()))]
        for verdict in verdicts:
            if isinstance(verdict, Verdict) and verdict.target:
                yield verdict.target
