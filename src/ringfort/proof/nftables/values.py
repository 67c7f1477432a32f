"""The right-hand sides of nft's JSON: constants, prefixes, ranges, flags, as intervals of numbers."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from ringfort.proof.fields import NAME_BITS, name_value
from ringfort.proof.nftables.symbols import SYMBOLS
from ringfort.proof.ruleset import Interval


class NotUnderstoodError(Exception):
    """A shape or value the reader has no meaning for; it becomes an either-way statement, never a guess."""


def intervals(value: object, kind: str, width: int) -> tuple[Interval, ...]:
    """The numbers ``value`` stands for, for a datatype ``kind`` of ``width`` bits.

    Raises:
        NotUnderstoodError: the shape is unknown or the value does not fit.
    """
    if isinstance(value, dict) and len(value) == 1:
        ((shape, content),) = value.items()
        if shape == "prefix":
            return (prefix(content, kind, width),)
        if shape == "range":
            return (_range(content, kind, width),)
        if shape == "set":
            return tuple(i for part in _list(content) for i in intervals(part, kind, width))
        if shape == "elem" and isinstance(content, dict):
            return intervals(content.get("val"), kind, width)
    if isinstance(value, str) and kind in ("ipv4_addr", "ipv6_addr") and "/" in value:
        address, _, length = value.partition("/")
        if length.isdigit():
            return (prefix({"addr": address, "len": int(length)}, kind, width),)
    if isinstance(value, str) and kind in ("ifname", "iface_index") and value.endswith("*"):
        return (_name_prefix(value[:-1]),)
    if value == "*":
        return ((0, (1 << width) - 1),)
    number = constant(value, kind, width)
    return ((number, number),)


def constant(value: object, kind: str, width: int) -> int:
    """The one number ``value`` stands for.

    Raises:
        NotUnderstoodError: the shape is unknown or the value does not fit.
    """
    number = _constant(value, kind)
    if not 0 <= number < 1 << width:
        raise NotUnderstoodError(f"{value!r} does not fit {width} bits")
    return number


def _constant(value: object, kind: str) -> int:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int):
        if kind in ("ifname", "iface_index"):
            raise NotUnderstoodError(f"interface {value} has no name here")
        return value
    if isinstance(value, list):
        return _flags(value, kind)
    if isinstance(value, dict) and len(value) == 1 and "|" in value:
        return _flags(_list(value["|"]), kind)
    if isinstance(value, str):
        return _symbol(value, kind)
    raise NotUnderstoodError(f"{value!r} is no value of {kind}")


def _flags(parts: Iterable[object], kind: str) -> int:
    number = 0
    for part in parts:
        number |= _constant(part, kind)
    return number


def _symbol(text: str, kind: str) -> int:
    try:
        if kind == "ipv4_addr":
            return _ipv4(text)
        if kind == "ipv6_addr":
            return int(IPv6Address(text))
    except AddressValueError as error:
        raise NotUnderstoodError(f"{text!r} is no {kind}") from error
    if kind in ("ifname", "iface_index"):
        return _name(text)
    if kind == "ether_addr":
        return _ether(text)
    known = SYMBOLS.get(kind, {}).get(text)
    if known is not None:
        return known
    try:
        return int(text, 0)
    except ValueError as error:
        raise NotUnderstoodError(f"{text!r} is no {kind}") from error


def _ipv4(text: str) -> int:
    parts = text.split(".")
    if len(parts) == 4 and all(len(part) < 4 and part.isascii() and part.isdigit() for part in parts):
        a, b, c, d = map(int, parts)
        if a < 256 and b < 256 and c < 256 and d < 256 and "." + text == "".join(f".{n}" for n in (a, b, c, d)):
            return a << 24 | b << 16 | c << 8 | d
    return int(IPv4Address(text))  # says what is wrong


def _name(text: str) -> int:
    if len(text.encode()) >= NAME_BITS // 8:
        raise NotUnderstoodError(f"{text!r} is longer than an interface name")
    # nft prints an asterisk that belongs to the name as \*.
    return name_value(text.replace("\\*", "*"))


def _name_prefix(start: str) -> Interval:
    if start.endswith("\\"):
        value = _name(f"{start}*")
        return (value, value)
    room = NAME_BITS - 8 * len(start.encode())
    if room <= 0:
        raise NotUnderstoodError(f"{start!r} is longer than an interface name")
    low = name_value(start)
    return (low, low + (1 << room) - 1)


def _ether(text: str) -> int:
    parts = text.split(":")
    try:
        if len(parts) == 6 and all(len(part) == 2 for part in parts):
            return int("".join(parts), 16)
    except ValueError:
        pass
    raise NotUnderstoodError(f"{text!r} is no Ethernet address")


def prefix(content: object, kind: str, width: int) -> Interval:
    """The interval of ``{"addr": ..., "len": ...}``."""
    if isinstance(content, dict):
        length = content.get("len")
        if isinstance(length, int) and 0 <= length <= width:
            rest = (1 << (width - length)) - 1
            low = constant(content.get("addr"), kind, width) & ~rest
            return (low, low | rest)
    raise NotUnderstoodError(f"{content!r} is no prefix")


def _range(content: object, kind: str, width: int) -> Interval:
    bounds = _list(content)
    if len(bounds) != 2:
        raise NotUnderstoodError(f"{content!r} is no range")
    low, high = (constant(bound, kind, width) for bound in bounds)
    if low > high:
        raise NotUnderstoodError(f"range {bounds[0]!r} to {bounds[1]!r} is empty")
    return (low, high)


def _list(content: object) -> list[object]:
    if not isinstance(content, list):
        raise NotUnderstoodError(f"{content!r} is no list")
    return content
