"""One form for rulesets that mean the same, so that what is loaded can be compared with what is wanted."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Address

from ringfort.network.nft import Json

_ORDER = ("table", "counter", "set", "map", "chain", "rule")
_UNORDERED = frozenset({"set", "flags"})
_STATE = frozenset({"handle", "packets", "bytes", "index"})
"""What the kernel or the traffic decides."""


def canonical(document: Json, *, comments: bool = True) -> Json:
    """``document`` (from `Ruleset.document` or from ``nft --json list ruleset``) in the one form for its meaning.

    Dropped: the metainfo, handles, the values of counters, the elements that rules themselves add to dynamic sets, the
    flag ``dynamic`` (nft 1.0.6 does not list it) and, on request, comments. Elements of sets are sorted; objects are
    sorted by kind and name, rules stay in the order of their chain. Two rulesets with equal canonical forms judge
    every packet alike.
    """
    objects = document["nftables"]
    dynamic = set(written_sets(objects))
    simple = []
    for entry in objects:
        ((kind, body),) = entry.items()
        if kind != "metainfo":
            simple.append({kind: _body(kind, body, dynamic, comments)})
    simple.sort(key=_object_order)
    return {"nftables": simple}


def same(one: Json, other: Json) -> bool:
    """Whether two documents mean the same, comments included."""
    return bool(canonical(one) == canonical(other))


def written_sets(objects: list[Json]) -> Iterator[tuple[str, str, str]]:
    """Family, table and name of the sets that rules add elements to; their elements are state, not rules."""
    for entry in objects:
        rule = entry.get("rule")
        for statement in rule["expr"] if rule else ():
            if isinstance(statement, dict) and "set" in statement:
                yield rule["family"], rule["table"], statement["set"]["set"].removeprefix("@")


def _body(kind: str, body: Json, dynamic: set[tuple[str, str, str]], comments: bool) -> Json:
    dropped = _STATE if comments and kind not in ("table", "chain") else _STATE | {"comment"}
    simple = {key: value for key, value in body.items() if key not in dropped}
    if kind in ("set", "map"):
        flags = simple.pop("flags", [])
        flags = sorted({flags} if isinstance(flags, str) else set(flags) - {"dynamic"})
        if flags:
            simple["flags"] = flags
        elements = simple.pop("elem", [])
        if elements and (body["family"], body["table"], body["name"]) not in dynamic:
            simple["elem"] = sorted((_element(element, comments) for element in elements), key=_key)
    elif kind == "rule":
        simple["expr"] = [_unordered(statement) for statement in simple["expr"]]
    return simple


def _element(element: Json, comments: bool) -> Json:
    if isinstance(element, list):
        return [_element(element[0], comments), element[1]]
    if isinstance(element, dict) and "elem" in element:
        inner = {key: value for key, value in element["elem"].items() if comments or key != "comment"}
        return _element(inner["val"], comments) if len(inner) == 1 else {"elem": inner}
    if isinstance(element, dict) and "prefix" in element:
        address, length = element["prefix"]["addr"], element["prefix"]["len"]
        return {"prefix": {"addr": _address(address), "len": length}}
    return _address(element)


def _address(value: Json) -> Json:
    """IPv6 in one spelling: inet_ntop(3), which nft uses, ends addresses such as ``::ffff:0:0`` in dotted IPv4."""
    if isinstance(value, str) and "." in value and ":" in value:
        try:
            return str(IPv6Address(value))
        except ValueError:
            return value
    return value


def _unordered(value: Json) -> Json:
    """``value`` with its anonymous sets sorted; ct states and statuses given as a list are sets too."""
    if isinstance(value, list):
        return [_unordered(item) for item in value]
    if not isinstance(value, dict):
        return value
    simple = {key: _unordered(item) for key, item in value.items()}
    for key in _UNORDERED & simple.keys():
        if isinstance(simple[key], list):
            simple[key] = sorted(simple[key], key=_key)
    return simple


def _key(element: Json) -> str:
    # repr is much quicker than JSON, and a concatenation, which is nearly every element, has one spelling only.
    return repr(_spelt(element))


def _spelt(value: Json) -> Json:
    if isinstance(value, dict):
        return sorted((key, _spelt(item)) for key, item in value.items())
    return [_spelt(item) for item in value] if isinstance(value, list) else value


def _object_order(entry: Json) -> tuple[int, str, str, str]:
    ((kind, body),) = entry.items()
    # Rules of one chain compare equal and keep their order, since sorting is stable.
    name = body["chain"] if kind == "rule" else body["name"]
    rank = _ORDER.index(kind) if kind in _ORDER else len(_ORDER)
    return rank, body["family"], body.get("table", ""), name
