"""The text of a ruleset, as nft(8) reads it, from the JSON that `ringfort.network.table` builds.

It knows the forms that the compiler uses and no others; an unknown one is a fault of the compiler and raises
`ValueError`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ringfort.network.canonical import written_sets
from ringfort.network.nft import Json

_PRIORITIES = {
    ("inet", 0): "filter",
    ("inet", -100): "dstnat",
    ("inet", -150): "mangle",
    ("inet", -450): "-450",
    ("bridge", -200): "filter",
    ("bridge", -300): "dstnat",
}
"""nft's names for priorities (nft(8), "Chains")."""


def render(document: Json, title: str) -> str:
    """``document`` as text for ``nft -f``. Deleting and filling the table is one transaction of the kernel."""
    return "".join(f"{line}\n" for line in _lines(document["nftables"], title))


def _lines(objects: list[Json], title: str) -> Iterator[str]:
    table = next(entry["table"] for entry in objects if "table" in entry)
    name = f"{table['family']} {table['name']}"
    rules: dict[str, list[Json]] = {}
    for entry in objects:
        if "rule" in entry:
            rules.setdefault(entry["rule"]["chain"], []).append(entry["rule"])
    dynamic = {name for _, _, name in written_sets(objects)}
    yield f"# Ringfort: {title}"
    yield f"table {name}"
    yield f"delete table {name}"
    yield f"table {name} {{"
    for entry in objects:
        ((kind, body),) = entry.items()
        match kind:
            case "counter":
                yield from _counter(body)
            case "set" | "map":
                yield from _collection(kind, body, body["name"] in dynamic)
            case "chain":
                yield from _chain(body, rules.get(body["name"], []))
    yield "}"


def _counter(body: Json) -> Iterator[str]:
    # A line of its own for the closing brace: nft 1.0.6 refuses it after a statement on the same line.
    yield f"\tcounter {body['name']} {{"
    if "comment" in body:
        yield f"\t\tcomment {_quoted(body['comment'])}"
    yield "\t}"
    yield ""


def _collection(kind: str, body: Json, dynamic: bool) -> Iterator[str]:
    types = body["type"] if isinstance(body["type"], list) else [body["type"]]
    yield f"\t{kind} {body['name']} {{"
    yield f"\t\ttype {' . '.join(types)}" + (" : verdict" if kind == "map" else "")
    if "size" in body:
        yield f"\t\tsize {body['size']}"
    flags = [*body.get("flags", ()), *(["dynamic"] if dynamic else [])]
    if flags:
        yield f"\t\tflags {','.join(flags)}"
    if "timeout" in body:
        yield f"\t\ttimeout {body['timeout']}s"
    if "comment" in body:
        yield f"\t\tcomment {_quoted(body['comment'])}"
    if "elem" in body:
        yield "\t\telements = {"
        for element in body["elem"]:
            yield f"\t\t\t{_mapping(element, types) if kind == 'map' else _element(element, types)},"
        yield "\t\t}"
    yield "\t}"
    yield ""


def _chain(body: Json, rules: list[Json]) -> Iterator[str]:
    yield f"\tchain {body['name']} {{"
    if "hook" in body:
        priority = _PRIORITIES.get((body["family"], body["prio"]), str(body["prio"]))
        yield f"\t\ttype {body['type']} hook {body['hook']} priority {priority}; policy {body['policy']};"
    for rule in rules:
        yield f"\t\t{rule_text(rule)}"
    yield "\t}"
    yield ""


def rule_text(rule: Json) -> str:
    """One rule in nft's words, its comment included.

    Raises:
        ValueError: (or KeyError, TypeError) it has a form that the compiler never makes.
    """
    comment = f" comment {_quoted(rule['comment'])}" if "comment" in rule else ""
    return f"{' '.join(_statement(statement) for statement in rule['expr'])}{comment}"


def element_text(element: Json) -> str:
    """One element of a set or a map as people read it; its comment included, interfaces unquoted.

    Raises:
        ValueError: (or KeyError, TypeError) it has a form that the compiler never makes.
    """
    if isinstance(element, list):
        return f"{element_text(element[0])} : {_verdict(element[1])}"
    if isinstance(element, dict) and "elem" in element:
        return f"{element_text(element['elem']['val'])} comment {_quoted(element['elem']['comment'])}"
    parts = element["concat"] if isinstance(element, dict) and "concat" in element else [element]
    return " . ".join(map(_value, parts))


def _mapping(pair: Json, types: list[str]) -> str:
    key, verdict = pair
    return f"{_element(key, types)} : {_verdict(verdict)}"


def _element(element: Json, types: list[str]) -> str:
    if isinstance(element, dict) and "elem" in element:
        return f"{_element(element['elem']['val'], types)} comment {_quoted(element['elem']['comment'])}"
    parts = element["concat"] if isinstance(element, dict) and "concat" in element else [element]
    if len(parts) != len(types):
        raise ValueError(f"element {element} does not fit {types}")
    spelt = (_quoted(part) if kind == "ifname" else _value(part) for part, kind in zip(parts, types, strict=True))
    return " . ".join(spelt)


def _value(value: Json) -> str:
    match value:
        case str() | int():
            return str(value)
        case {"prefix": {"addr": address, "len": length}}:
            return f"{address}/{length}"
        case {"range": [first, last]}:
            return f"{first}-{last}"
    raise ValueError(f"no such value: {value}")


def _expression(expression: Json) -> str:
    match expression:
        case {"payload": {"protocol": protocol, "field": field}}:
            return f"{protocol} {field}"
        case {"meta": {"key": "iifname" | "oifname" as key}}:
            return str(key)
        case {"meta": {"key": key}}:
            return f"meta {key}"
        case {"ct": {"key": key}}:
            return f"ct {key}"
        case {"concat": parts}:
            return " . ".join(_expression(part) for part in parts)
    return _value(expression)


def _verdict(verdict: Json) -> str:
    match verdict:
        case {"accept": None}:
            return "accept"
        case {"drop": None}:
            return "drop"
        case {"goto": {"target": target}}:
            return f"goto {target}"
        case {"jump": {"target": target}}:
            return f"jump {target}"
    raise ValueError(f"no such verdict: {verdict}")


def _statement(statement: Json) -> str:
    ((kind, body),) = statement.items()
    return _STATEMENTS.get(kind, lambda _: _verdict(statement))(body)


def _match(body: Json) -> str:
    left, right = body["left"], body["right"]
    operator = "!= " if body["op"] == "!=" else ""
    if isinstance(right, dict) and "set" in right:
        value = f"{{ {', '.join(_right(left, item) for item in right['set'])} }}"
    else:
        value = _right(left, right)
    return f"{_expression(left)} {operator}{value}"


def _right(left: Json, value: Json) -> str:
    is_interface = left in ({"meta": {"key": "iifname"}}, {"meta": {"key": "oifname"}})
    return _quoted(value) if is_interface and not str(value).startswith("@") else _value(value)


def _vmap(body: Json) -> str:
    key, data = body["key"], body["data"]
    if isinstance(data, str):
        return f"{_expression(key)} vmap {data}"
    pairs = ", ".join(f"{_right(key, value)} : {_verdict(verdict)}" for value, verdict in data["set"])
    return f"{_expression(key)} vmap {{ {pairs} }}"


def _log(body: Json) -> str:
    return f"log prefix {_quoted(body['prefix'])} group {body['group']}"


def _remember(body: Json) -> str:
    limits = "".join(f" {_statement(limit)}" for limit in body.get("stmt", ()))
    return f"{body['op']} {body['set']} {{ {_expression(body['elem'])}{limits} }}"


def _limit(body: Json) -> str:
    return f"limit rate {'over ' if body['inv'] else ''}{body['rate']}/{body['per']} burst {body['burst']} packets"


def _connections(body: Json) -> str:
    return f"ct count {'over ' if body['inv'] else ''}{body['val']}"


def _assign(body: Json) -> str:
    return f"{_expression(body['key'])} set {_expression(body['value'])}"


def _dnat(body: Json) -> str:
    address = body["addr"]
    if "port" in body:
        address = f"[{address}]:{body['port']}" if body["family"] == "ip6" else f"{address}:{body['port']}"
    return f"dnat {body['family']} to {address}"


def _quoted(text: str) -> str:
    return f'"{text}"'


_STATEMENTS: dict[str, Callable[[Json], str]] = {
    "match": _match,
    "vmap": _vmap,
    "counter": lambda name: f"counter name {_quoted(name)}",
    "log": _log,
    "set": _remember,
    "limit": _limit,
    "ct count": _connections,
    "mangle": _assign,
    "dnat": _dnat,
}
