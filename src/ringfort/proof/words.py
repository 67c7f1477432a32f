"""Values of fields in the words people use: addresses, prefixes, ports, names, states."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, summarize_address_range

from ringfort.proof.fields import NAME_BITS, Field
from ringfort.proof.nftables.symbols import FLAGS, SYMBOLS

Interval = tuple[int, int]

MOST_EXCEPTIONS = 4
"""Values up to which a field is told by what it is not."""


def value_text(field: Field, value: int) -> str:
    """One value of a field."""
    kind = field.kind
    if kind == "ipv4_addr":
        return str(IPv4Address(value))
    if kind == "ipv6_addr":
        return str(IPv6Address(value))
    if kind in ("ifname", "iface_index"):
        return _name(value)
    if kind == "ether_addr":
        return ":".join(f"{byte:02x}" for byte in value.to_bytes(6, "big"))
    if kind == "mark":
        return f"{value:#x}"
    if kind == "boolean":
        return "yes" if value else "no"
    return _symbol(kind, value)


def _name(value: int) -> str:
    raw = value.to_bytes(NAME_BITS // 8, "big").rstrip(b"\0")
    return f'"{raw.decode("utf-8", "backslashreplace")}"' if raw else "none"


def _symbol(kind: str, value: int) -> str:
    symbols = SYMBOLS.get(kind)
    if symbols is None:
        return str(value)
    for name, number in symbols.items():
        if number == value and not (kind == "inet_proto" and value == 0):
            return name
    if kind in FLAGS and value:
        names = [name for name, bit in symbols.items() if value & bit]
        rest = value & ~sum(symbols[name] for name in names)
        return "|".join([*names, *([f"{rest:#x}"] if rest else [])])
    return str(value)


def intervals_text(field: Field, intervals: Sequence[Interval], limit: int = 6) -> str:
    """A list of intervals; the complement where that is shorter."""
    top = (1 << field.width) - 1
    inside = _merged(intervals)
    if not inside:
        return "nothing"
    if inside == [(0, top)]:
        return "any"
    outside = complement(inside, top)
    if field.kind in ("ipv4_addr", "ipv6_addr"):
        ours, others = _networks(field, inside), _networks(field, outside)
    else:
        ours, others = _plain(field, inside), _plain(field, outside)
    if len(others) < min(len(ours), MOST_EXCEPTIONS + 1) or (
        len(others) == len(ours) and inside[0][0] == 0 and inside[-1][1] == top
    ):
        return "not " + _join(others, limit)
    return _join(ours, limit)


def _merged(intervals: Sequence[Interval]) -> list[Interval]:
    merged: list[Interval] = []
    for low, high in sorted(intervals):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return merged


def complement(intervals: Sequence[Interval], top: int) -> list[Interval]:
    """What lies between ordered, separate ``intervals`` from 0 to ``top``."""
    gaps: list[Interval] = []
    start = 0
    for low, high in intervals:
        if low > start:
            gaps.append((start, low - 1))
        start = high + 1
    if start <= top:
        gaps.append((start, top))
    return gaps


def _networks(field: Field, intervals: Sequence[Interval]) -> list[str]:
    words: list[str] = []
    for low, high in intervals[:200]:
        if low == high:
            words.append(value_text(field, low))
            continue
        networks = _summary(field, low, high)
        words += networks if len(networks) <= 2 else [f"{value_text(field, low)}-{value_text(field, high)}"]
    return words + ["..."] * (len(intervals) > 200)


def _summary(field: Field, low: int, high: int) -> list[str]:
    if field.kind == "ipv4_addr":
        parts = [str(n) for n in summarize_address_range(IPv4Address(low), IPv4Address(high))]
    else:
        parts = [str(n) for n in summarize_address_range(IPv6Address(low), IPv6Address(high))]
    return [part.removesuffix("/32") if field.width == 32 else part.removesuffix("/128") for part in parts]


def _plain(field: Field, intervals: Sequence[Interval]) -> list[str]:
    words: list[str] = []
    for low, high in intervals:
        if low == high:
            words.append(value_text(field, low))
        elif field.kind in ("ifname", "iface_index"):
            words.append(_names(low, high))
        elif high - low == 1:
            words += [value_text(field, low), value_text(field, high)]
        else:
            words.append(f"{value_text(field, low)}-{value_text(field, high)}")
    return words


def _names(low: int, high: int) -> str:
    for length in range(NAME_BITS // 8):
        room = NAME_BITS - 8 * length
        if low & ((1 << room) - 1) == 0 and high == low + (1 << room) - 1:
            if length and (low >> room) & 0xFF == 0:  # the name has ended before: no longer name begins like it
                return _name(low)
            return _name(low).removesuffix('"') + '*"'
    return f"names from {_name(low)} to {_name(high)}"


def _join(words: Sequence[str], limit: int) -> str:
    shown = list(words[:limit])
    more = len(words) - len(shown)
    if len(words) == 1:
        return words[0]
    return "{ " + ", ".join(shown) + (f", {more} more" if more else "") + " }"
