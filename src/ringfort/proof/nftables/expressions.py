"""The left-hand sides of nft's JSON: what a rule reads of a packet."""

from __future__ import annotations

from dataclasses import dataclass

from ringfort.proof.fields import IIFTYPE, Field, Universe
from ringfort.proof.nftables.headers import header_field, raw_field
from ringfort.proof.nftables.metadata import HAS_INPUT, Reading, ct, fib, meta
from ringfort.proof.nftables.values import NotUnderstoodError, constant
from ringfort.proof.ruleset import Bitwise, Condition, Constant, Doubt, Expression, Read, Shift

_ETHERNET = (HAS_INPUT, Condition(IIFTYPE, ((1, 1),)))
"""Outside the bridge family nft asks for an Ethernet input interface before it reads a link-layer field."""

_ANY_LINK = ("ip", "ip6", "inet", "netdev")
_NEXT_HEADERS = {"hbh": "hop-by-hop", "rt": "routing", "frag": "fragment", "dst": "destination", "mh": "mobility"}
_BASES = {"ll": "ll", "nh": "nh", "th": "th"}


class StateDependentError(NotUnderstoodError):
    """An expression whose value depends on what happened before, not on the packet."""


@dataclass(frozen=True, slots=True)
class Typed:
    """An expression and how its constants are written."""

    expression: Expression
    kind: str
    width: int


def doubt_of(error: NotUnderstoodError) -> Doubt:
    """Which kind of doubt an error stands for."""
    return Doubt.STATE if isinstance(error, StateDependentError) else Doubt.UNKNOWN


def parts_of(left: object, family: str) -> tuple[Typed, ...]:
    """The parts of a concatenation, or the one part of a plain expression.

    Raises:
        NotUnderstoodError: the expression cannot be modelled.
    """
    if isinstance(left, dict) and len(left) == 1 and "concat" in left:
        content = left["concat"]
        if isinstance(content, list) and content:
            return tuple(read_expression(part, family) for part in content)
        raise NotUnderstoodError("an empty concatenation")
    return (read_expression(left, family),)


def read_expression(value: object, family: str) -> Typed:
    """What an expression reads.

    Raises:
        NotUnderstoodError: the expression cannot be modelled.
    """
    if not isinstance(value, dict) or len(value) != 1:
        raise NotUnderstoodError(f"expression {value!r}")
    ((name, content),) = value.items()
    if name in ("&", "|", "^", "<<", ">>"):
        return _operation(name, content, family)
    reader = _READERS.get(name)
    if reader is None:
        if name in ("numgen", "socket"):
            raise StateDependentError("chance decides" if name == "numgen" else "a local socket decides")
        raise NotUnderstoodError(f"expression {name}")
    if not isinstance(content, dict):
        raise NotUnderstoodError(f"expression {name} {content!r}")
    return _typed(reader(content, family))


def _typed(reading: Reading) -> Typed:
    if isinstance(reading, Read):
        return Typed(reading, reading.field.kind, reading.field.width)
    doubt, reason = reading
    raise StateDependentError(reason) if doubt is Doubt.STATE else NotUnderstoodError(reason)


def _payload(content: dict[str, object], family: str) -> Reading:
    if "protocol" in content:
        protocol, name = str(content["protocol"]), str(content.get("field"))
        found = header_field(protocol, name)
        if found is None:
            return Doubt.UNKNOWN, f"{protocol} {name} is not known here"
    else:
        offset, width = content.get("offset"), content.get("len")
        if not isinstance(offset, int) or not isinstance(width, int) or not 0 < width <= 128 or not 0 <= offset < 4096:
            return Doubt.UNKNOWN, "a raw payload expression without place"
        found = raw_field(_BASES.get(str(content.get("base")), ""), offset, width)
        if found is None:
            return Doubt.UNKNOWN, f"raw payload from {content.get('base')}"
    if found.field.region == "ll" and family in _ANY_LINK:
        return Read(found.field, _ETHERNET, found.universes)
    return found


def _meta(content: dict[str, object], family: str) -> Reading:
    return meta(str(content.get("key")), family)


def _ct(content: dict[str, object], family: str) -> Reading:
    del family
    return ct(str(content.get("key")), str(content.get("dir", "")))


def _fib(content: dict[str, object], family: str) -> Reading:
    del family
    flags = content.get("flags", [])
    words = flags if isinstance(flags, list) else [flags]
    return fib(str(content.get("result")), tuple(str(word) for word in words))


def _exthdr(content: dict[str, object], family: str) -> Reading:
    del family
    name = str(content.get("name"))
    if "field" in content or name not in _NEXT_HEADERS:
        return Doubt.UNKNOWN, f"extension header {name} {content.get('field', '')}".rstrip()
    label = f"exthdr {name}"
    return Read(Field(label, 0, 1, label, "boolean"), (), frozenset({Universe.IP6}))


def _tcp_option(content: dict[str, object], family: str) -> Reading:
    del family
    name = str(content.get("name"))
    if "field" in content:
        return Doubt.UNKNOWN, f"tcp option {name} {content['field']}"
    ports = header_field("tcp", "sport")
    assert ports is not None
    label = f"tcp option {name}"
    return Read(Field(label, 0, 1, label, "boolean"), ports.conditions, ports.universes)


_READERS = {
    "payload": _payload,
    "meta": _meta,
    "ct": _ct,
    "fib": _fib,
    "exthdr": _exthdr,
    "tcp option": _tcp_option,
}


def _operation(name: str, content: object, family: str) -> Typed:
    if not isinstance(content, list) or len(content) != 2:
        raise NotUnderstoodError(f"operation {name}")
    operand = read_expression(content[0], family)
    full = (1 << operand.width) - 1
    if name in ("<<", ">>"):
        bits = constant(content[1], "integer", 8)
        return Typed(Shift(operand.expression, bits if name == "<<" else -bits), "integer", operand.width)
    value = constant(content[1], operand.kind, operand.width)
    if name == "&":
        expression: Expression = Bitwise(operand.expression, value, 0)
    elif name == "|":
        expression = Bitwise(operand.expression, full & ~value, value)
    else:
        expression = Bitwise(operand.expression, full, value)
    return Typed(expression, operand.kind, operand.width)


def constant_or_expression(value: object, kind: str, width: int, family: str) -> Expression:
    """What a statement assigns: a constant of the target's type, or something read.

    Raises:
        NotUnderstoodError: neither can be modelled.
    """
    if isinstance(value, dict) and next(iter(value), "") not in ("|", "prefix", "range", "set"):
        typed = read_expression(value, family)
        if typed.width != width:
            raise NotUnderstoodError("a value of another width")
        return typed.expression
    if isinstance(value, dict) and "|" in value:
        try:
            return Constant(constant(value, kind, width), width)
        except NotUnderstoodError:
            return read_expression(value, family).expression
    return Constant(constant(value, kind, width), width)
