"""The statements of a rule: JSON in, IR out. What is not understood becomes an either-way statement."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ringfort.proof.fields import L4PROTO, NAME_BITS, Universe
from ringfort.proof.nftables.elements import CATCH_ALL, Part, read_elements, verdict
from ringfort.proof.nftables.expressions import (
    Typed,
    constant_or_expression,
    doubt_of,
    parts_of,
    read_expression,
)
from ringfort.proof.nftables.symbols import FLAGS
from ringfort.proof.nftables.text import statement_text
from ringfort.proof.nftables.values import NotUnderstoodError, constant, intervals
from ringfort.proof.ruleset import (
    AnyBit,
    Assign,
    Condition,
    Doubt,
    Doubtful,
    Element,
    Expression,
    Interval,
    Lookup,
    Match,
    Note,
    Outcome,
    Read,
    Statement,
    Translate,
    Untrack,
    Verdict,
    VerdictMap,
)

_IP = frozenset({Universe.IP})
_IP6 = frozenset({Universe.IP6})
_BOTH = _IP | _IP6

NOTES = frozenset(
    (
        "counter",
        "log",
        "ct helper",
        "ct timeout",
        "ct expectation",
        "secmark",
        "dup",
        "flow",
        "last",
        "reset",
        "comment",
    )
)
"""Statements that decide nothing about the packet that meets them."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a statement needs to know of its table.

    ``maps``: declared data types of the table's maps. ``inverted``: whether a named limit or quota says ``over``.
    """

    family: str
    maps: Mapping[str, tuple[Part, ...]] = field(default_factory=dict)
    inverted: Mapping[tuple[str, str], bool] = field(default_factory=dict)


def read_statement(statement: object, context: Context) -> Statement:
    """One statement; never raises for content, only an either-way statement tells what is not understood."""
    text = statement_text(statement)
    if not isinstance(statement, dict) or len(statement) != 1:
        return Doubtful(Doubt.UNKNOWN, "a statement of an unknown shape", text, terminal=True)
    ((name, content),) = statement.items()
    if name in NOTES:
        return Note(text)
    reader = _READERS.get(name)
    if reader is None:
        return Doubtful(Doubt.UNKNOWN, f"statement {name} is not known here", text, terminal=True)
    try:
        return reader(content, text, context)
    except NotUnderstoodError as error:
        terminal = name not in ("match", "mangle")
        return Doubtful(doubt_of(error), str(error), text, terminal=terminal)
    except (KeyError, TypeError, AttributeError, ValueError, IndexError):
        return Doubtful(Doubt.UNKNOWN, f"statement {name} has an unknown shape", text, terminal=True)


_OPERATORS = ("==", "!=", "in", "!", "<", ">", "<=", ">=")

# -- matches -------------------------------------------------------------------------------------------------------


def _match(content: dict[str, object], text: str, context: Context) -> Statement:
    operator, right = content.get("op", "=="), content.get("right")
    parts = parts_of(content.get("left"), context.family)
    key = tuple(part.expression for part in parts)
    negated = operator in ("!=", "!")
    if operator not in _OPERATORS:
        raise NotUnderstoodError(f"operator {operator!r}")
    if isinstance(right, str) and right.startswith("@"):
        return Match(key, right[1:], negated, text)
    if len(parts) == 1:
        if isinstance(right, bool):
            return _existence(parts[0], right, negated, text)
        if _asks_for_flags(parts[0], operator, right):
            mask = constant(right, parts[0].kind, parts[0].width)
            return AnyBit(parts[0].expression, mask, operator == "!", text)
        if operator in ("<", ">", "<=", ">="):
            return Match(key, _comparison(str(operator), right, parts[0]), False, text)
    elements = read_elements(_members(right, parts), _kinds(parts), None)
    if any(element.key == CATCH_ALL for element in elements):
        raise NotUnderstoodError("a catch-all in an anonymous set")
    return Match(key, elements, negated, text)


def _kinds(parts: tuple[Typed, ...]) -> tuple[Part, ...]:
    return tuple((part.kind, part.width) for part in parts)


def _members(right: object, parts: tuple[Typed, ...]) -> object:
    if isinstance(right, dict) and "set" in right:
        return right["set"]
    if isinstance(right, list) and parts[0].kind not in FLAGS:
        return right
    return [right]


def _asks_for_flags(part: Typed, operator: object, right: object) -> bool:
    if isinstance(right, dict) and ("set" in right or "range" in right):
        return False
    return operator == "!" or (operator == "in" and part.kind in FLAGS)


def _existence(part: Typed, right: bool, negated: bool, text: str) -> Statement:
    if part.kind == "ifname":  # fib ... oif: a route exists where there is an interface
        some = (Element(((1, (1 << NAME_BITS) - 1),)),)
        return Match((part.expression,), some, negated == right, text)
    value = int(right)
    return Match((part.expression,), (Element(((value, value),)),), negated, text)


def _comparison(operator: str, right: object, part: Typed) -> tuple[Element, ...]:
    number = constant(right, part.kind, part.width)
    top = (1 << part.width) - 1
    bounds: dict[str, Interval] = {
        "<": (0, number - 1),
        "<=": (0, number),
        ">": (number + 1, top),
        ">=": (number, top),
    }
    low, high = bounds[operator]
    return (Element(((low, high),)),) if low <= high else ()


def _vmap(content: dict[str, object], text: str, context: Context) -> Statement:
    parts = parts_of(content.get("key"), context.family)
    key = tuple(part.expression for part in parts)
    data = content.get("data")
    if isinstance(data, str) and data.startswith("@"):
        return VerdictMap(key, data[1:], None, text)
    if not isinstance(data, dict) or "set" not in data:
        raise NotUnderstoodError("a verdict map without elements")
    elements = read_elements(data["set"], _kinds(parts), ())
    rest = [element for element in elements if element.key == CATCH_ALL]
    plain = tuple(element for element in elements if element.key != CATCH_ALL)
    return VerdictMap(key, plain, rest[0] if rest else None, text)


# -- verdicts ------------------------------------------------------------------------------------------------------


def _verdict(name: str) -> Callable[[object, str, Context], Statement]:
    def read(content: object, text: str, context: Context) -> Statement:
        del text, context
        return verdict({name: content})

    return read


def _reject(content: object, text: str, context: Context) -> Statement:
    del context
    kind = content.get("type") if isinstance(content, dict) else None
    universes = frozenset(Universe)
    conditions: tuple[Condition, ...] = ()
    if kind == "tcp reset":
        universes, conditions = _BOTH, (Condition(L4PROTO, ((6, 6),)),)
    elif kind in ("icmp", "icmpv6"):
        universes = _IP if kind == "icmp" else _IP6
    return Verdict(Outcome.DROP, text=text, universes=universes, conditions=conditions)


def _forwarded(content: object, text: str, context: Context) -> Statement:
    del content, context
    return Verdict(Outcome.DROP, text=f"{text}: leaves by another interface")


# -- changes -------------------------------------------------------------------------------------------------------


def _mangle(content: dict[str, object], text: str, context: Context) -> Statement:
    try:
        target = read_expression(content.get("key"), context.family)
    except NotUnderstoodError as error:
        if isinstance(content.get("key"), dict) and "payload" in content["key"]:  # type: ignore[operator]
            return Doubtful(Doubt.UNKNOWN, f"a change of the packet: {error}", text, terminal=True)
        return Note(text)  # what cannot be read by any rule decides nothing
    if not isinstance(target.expression, Read):
        raise NotUnderstoodError("an assignment to a computed value")
    read = target.expression
    try:
        value = _assigned(content.get("value"), target, context)
    except NotUnderstoodError:
        value = None
    return Assign(read.field, value, text, read.universes, read.conditions)


def _assigned(value: object, target: Typed, context: Context) -> Expression:
    if isinstance(value, dict) and "map" in value:
        return _lookup(value["map"], ((target.kind, target.width),), context)
    return constant_or_expression(value, target.kind, target.width, context.family)


def _lookup(content: object, data: tuple[Part, ...], context: Context) -> Lookup:
    if not isinstance(content, dict):
        raise NotUnderstoodError(f"map {content!r}")
    parts = parts_of(content.get("key"), context.family)
    key = tuple(part.expression for part in parts)
    width = sum(w for _, w in data)
    target = content.get("data")
    if isinstance(target, str) and target.startswith("@"):
        return Lookup(key, target[1:], width)
    if not isinstance(target, dict) or "set" not in target:
        raise NotUnderstoodError("a map without elements")
    return Lookup(key, read_elements(target["set"], _kinds(parts), data), width)


def _translate(kind: str) -> Callable[[object, str, Context], Statement]:
    def read(content: object, text: str, context: Context) -> Statement:
        found: dict[str, object] = content if isinstance(content, dict) else {}
        universes = _BOTH
        family = found.get("family", context.family)
        if family in ("ip", "ip6"):
            universes = _IP if family == "ip" else _IP6
        address = ("ipv4_addr", 32) if family == "ip" else ("ipv6_addr", 128)
        target = found.get("addr")
        if found.get("flags") == "netmap" or "netmap" in str(found.get("flags", "")):
            return Translate(kind, (0, (1 << address[1]) - 1), None, None, universes, text)
        if isinstance(target, dict) and "map" in target:
            return _translate_by_map(kind, target["map"], found, universes, text, context)
        return Translate(
            kind,
            _new_value(target, address, context),
            _new_value(found.get("port"), ("inet_service", 16), context),
            None,
            universes,
            text,
        )

    return read


def _translate_by_map(
    kind: str, content: object, found: dict[str, object], universes: frozenset[Universe], text: str, context: Context
) -> Translate:
    address = ("ipv4_addr", 32) if universes == _IP else ("ipv6_addr", 128)
    port = _new_value(found.get("port"), ("inet_service", 16), context)
    if _map_holds_ports(content, context):
        return Translate(kind, None, port, _lookup(content, (address, ("inet_service", 16)), context), universes, text)
    return Translate(kind, _lookup(content, (address,), context), port, None, universes, text)


def _map_holds_ports(content: object, context: Context) -> bool:
    data = content.get("data") if isinstance(content, dict) else None
    if isinstance(data, str) and data.startswith("@"):
        return len(context.maps.get(data[1:], ())) == 2
    if isinstance(data, dict) and isinstance(data.get("set"), list) and data["set"]:
        first = data["set"][0]
        return isinstance(first, list) and len(first) == 2 and isinstance(first[1], dict) and "concat" in first[1]
    return False


def _new_value(value: object, part: Part, context: Context) -> Expression | Interval | None:
    if value is None:
        return None
    if isinstance(value, dict) and ("range" in value or "prefix" in value):
        (interval,) = intervals(value, *part)
        return interval
    if isinstance(value, dict) and "map" in value:
        return _lookup(value["map"], (part,), context)
    return constant_or_expression(value, part[0], part[1], context.family)


# -- state ---------------------------------------------------------------------------------------------------------


def _limited(name: str) -> Callable[[object, str, Context], Statement]:
    def read(content: object, text: str, context: Context) -> Statement:
        if isinstance(content, str):
            over = context.inverted.get((name, content), False)
        else:
            over = isinstance(content, dict) and bool(content.get("inv"))
        return Doubtful(Doubt.STATE, _LIMITS[name], text, quiet=not over)

    return read


_LIMITS = {
    "limit": "a rate limit decides",
    "quota": "a quota decides",
    "ct count": "the number of connections decides",
}


def _set(content: dict[str, object], text: str, context: Context) -> Statement:
    stateful = content.get("stmt", [])
    inner = [read_statement(s, context) for s in stateful] if isinstance(stateful, list) else []
    quiet: bool | None = all(not isinstance(s, Doubtful) or s.quiet is True for s in inner)
    return Doubtful(Doubt.STATE, f"the fill of set {content.get('set')} decides", text, quiet=quiet)


def _meter(content: object, text: str, context: Context) -> Statement:
    del content, context
    return Doubtful(Doubt.STATE, "a meter decides", text)


def _queue(content: object, text: str, context: Context) -> Statement:
    del content, context
    return Doubtful(Doubt.STATE, "a program in user space decides", text, terminal=True)


def _synproxy(content: object, text: str, context: Context) -> Statement:
    del content, context
    return Doubtful(Doubt.STATE, "the TCP handshake decides", text, terminal=True)


def _tproxy(content: object, text: str, context: Context) -> Statement:
    del content, context
    return Doubtful(Doubt.STATE, "a local socket decides", text)


def _notrack(content: object, text: str, context: Context) -> Statement:
    del content, context
    return Untrack(text)


def _xt(content: object, text: str, context: Context) -> Statement:
    del context
    matches = isinstance(content, dict) and content.get("type") == "match"
    return Doubtful(Doubt.UNKNOWN, "an iptables extension", text, terminal=not matches)


_READERS: dict[str, Callable[..., Statement]] = {
    "match": _match,
    "vmap": _vmap,
    "reject": _reject,
    "fwd": _forwarded,
    "mangle": _mangle,
    "limit": _limited("limit"),
    "quota": _limited("quota"),
    "ct count": _limited("ct count"),
    "set": _set,
    "map": _set,
    "meter": _meter,
    "queue": _queue,
    "synproxy": _synproxy,
    "tproxy": _tproxy,
    "notrack": _notrack,
    "xt": _xt,
    **{outcome.value: _verdict(outcome.value) for outcome in Outcome},
    **{kind: _translate(kind) for kind in ("dnat", "snat", "masquerade", "redirect")},
}
