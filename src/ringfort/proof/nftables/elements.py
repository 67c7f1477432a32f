"""Sets and maps of nft's JSON, named and anonymous: elements as boxes of intervals."""

from __future__ import annotations

from collections.abc import Sequence

from ringfort.proof.nftables.symbols import WIDTHS
from ringfort.proof.nftables.values import NotUnderstoodError, intervals
from ringfort.proof.ruleset import Element, Interval, Key, Outcome, Verdict

Part = tuple[str, int]
"""Datatype and width of one part of a key."""

_VERDICTS = {outcome.value: outcome for outcome in Outcome}


def parts_of_type(declared: object) -> tuple[Part, ...]:
    """The parts of a declared type: ``"ipv4_addr"``, a list, or ``"ipv4_addr . inet_service"``."""
    if isinstance(declared, str):
        words: Sequence[object] = declared.split(" . ")
    elif isinstance(declared, list):
        words = declared
    else:
        words = [declared]
    names = [str(word) if isinstance(word, str) else "integer" for word in words]
    return tuple((name, WIDTHS.get(name, 128)) for name in names)


def read_elements(content: object, parts: Sequence[Part], data: Sequence[Part] | None) -> tuple[Element, ...]:
    """The elements of a set (``data`` None), a map, or a verdict map (``data`` empty), the catch-all among them.

    Raises:
        NotUnderstoodError: an element cannot be read.
    """
    items = content if isinstance(content, list) else [content]
    return tuple(element for item in items for element in _element(item, parts, data))


CATCH_ALL: Key = ()
"""The key of the element ``*``, which holds for every key that no other element holds."""


def _element(item: object, parts: Sequence[Part], data: Sequence[Part] | None) -> list[Element]:
    if data is None:
        key, value = item, None
    else:
        if not isinstance(item, list) or len(item) != 2:
            raise NotUnderstoodError(f"map element {item!r}")
        key, value = item
    key, transient = _unwrap(key)
    read = None if data is None else _data(value, data)
    if key == "*":
        return [Element(CATCH_ALL, read, transient)]
    return [Element(k, read, transient) for k in _keys(key, parts)]


def _unwrap(key: object) -> tuple[object, bool]:
    if isinstance(key, dict) and isinstance(key.get("elem"), dict):
        inner = key["elem"]
        return inner.get("val"), "timeout" in inner or "expires" in inner
    return key, False


def _keys(key: object, parts: Sequence[Part]) -> list[Key]:
    if len(parts) == 1:
        kind, width = parts[0]
        return [(interval,) for interval in intervals(key, kind, width)]
    if not isinstance(key, dict) or not isinstance(key.get("concat"), list) or len(key["concat"]) != len(parts):
        raise NotUnderstoodError(f"element {key!r} of {len(parts)} parts")
    keys: list[Key] = [()]
    for value, (kind, width) in zip(key["concat"], parts, strict=True):
        choices = intervals(value, kind, width)
        keys = [(*start, choice) for start in keys for choice in choices]
    return keys


def _data(value: object, data: Sequence[Part]) -> Verdict | Key:
    if not data:
        return verdict(value)
    if len(data) == 1:
        return (_single(value, data[0]),)
    if not isinstance(value, dict) or not isinstance(value.get("concat"), list) or len(value["concat"]) != len(data):
        raise NotUnderstoodError(f"map data {value!r}")
    return tuple(_single(v, part) for v, part in zip(value["concat"], data, strict=True))


def _single(value: object, part: Part) -> Interval:
    found = intervals(value, *part)
    if len(found) != 1:
        raise NotUnderstoodError(f"map data {value!r}")
    return found[0]


def verdict(value: object) -> Verdict:
    """``{"accept": null}``, ``{"jump": {"target": NAME}}`` and their like.

    Raises:
        NotUnderstoodError: it is no verdict.
    """
    if isinstance(value, dict) and len(value) == 1:
        ((name, content),) = value.items()
        outcome = _VERDICTS.get(name)
        if outcome in (Outcome.JUMP, Outcome.GOTO):
            if isinstance(content, dict) and isinstance(content.get("target"), str):
                return Verdict(outcome, content["target"])
        elif outcome is not None:
            return Verdict(outcome)
    raise NotUnderstoodError(f"verdict {value!r}")
