"""nft's JSON back into the words of an nft file, for people. Nothing is decided here."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

_LIMIT = 160
"""Characters of one printed expression; longer ones are cut."""

_QUOTED_KEYS = ("iifname", "oifname", "iif", "oif", "ibrname", "obrname")


def statement_text(statement: object) -> str:
    """One statement."""
    if not isinstance(statement, dict) or len(statement) != 1:
        return _cut(json.dumps(statement))
    ((name, content),) = statement.items()
    if name == "match" and isinstance(content, dict):
        operator = content.get("op")
        middle = " " if operator in ("==", "in") else f" {operator} "
        return f"{expression_text(content.get('left'))}{middle}{_right(content)}"
    if name == "vmap" and isinstance(content, dict):
        return f"{expression_text(content.get('key'))} vmap {expression_text(content.get('data'))}"
    if name == "mangle" and isinstance(content, dict):
        return f"{expression_text(content.get('key'))} set {expression_text(content.get('value'))}"
    if name in ("dnat", "snat", "redirect", "masquerade"):
        return _translation(name, content)
    return _simple(name, content)


def _simple(name: str, content: object) -> str:
    if content is None:
        return name
    if name in ("jump", "goto") and isinstance(content, dict):
        return f"{name} {content.get('target')}"
    if name == "counter":
        return f"counter name {content}" if isinstance(content, str) else "counter"
    if name == "log" and isinstance(content, dict):
        return " ".join(["log", *(f"{key} {_quote(value)}" for key, value in content.items())])
    if name == "limit" and isinstance(content, dict):
        over = "over " if content.get("inv") else ""
        return f"limit rate {over}{content.get('rate')}/{content.get('per')}"
    if name == "ct count" and isinstance(content, dict):
        return f"ct count {'over ' if content.get('inv') else ''}{content.get('val')}"
    if name == "set" and isinstance(content, dict):
        extra = "".join(f" {statement_text(s)}" for s in content.get("stmt", []) if isinstance(s, dict))
        return f"{content.get('op')} {content.get('set')} {{ {expression_text(content.get('elem'))}{extra} }}"
    if name == "reject" and isinstance(content, dict):
        kind = " ".join(str(content[key]) for key in ("type", "expr") if key in content)
        return f"reject with {kind}" if kind else "reject"
    if isinstance(content, str | int):
        return f"{name} {content}"
    return _cut(f"{name} {json.dumps(content)}")


def _translation(name: str, content: object) -> str:
    if not isinstance(content, dict):
        return name
    address = expression_text(content["addr"]) if "addr" in content else ""
    port = f":{expression_text(content['port'])}" if "port" in content else ""
    family = f" {content['family']}" if "family" in content else ""
    return f"{name}{family} to {address}{port}" if address or port else name


def _right(content: dict[str, object]) -> str:
    right = content.get("right")
    if isinstance(right, bool):
        return "exists" if right else "missing"
    if isinstance(right, list):
        return ",".join(expression_text(part) for part in right)
    left = content.get("left")
    key = left["meta"].get("key") if isinstance(left, dict) and isinstance(left.get("meta"), dict) else ""
    if isinstance(right, str) and key in _QUOTED_KEYS and not right.startswith("@"):
        return f'"{right}"'
    return expression_text(right)


def expression_text(value: object) -> str:
    """An expression or a constant."""
    if not isinstance(value, dict):
        return ",".join(expression_text(v) for v in value) if isinstance(value, list) else _plain(value)
    if len(value) != 1:
        return _cut(json.dumps(value))
    ((name, content),) = value.items()
    writer = _WRITERS.get(name)
    if writer is not None:
        try:
            return writer(content)
        except (KeyError, TypeError, AttributeError, ValueError, IndexError):
            return _cut(json.dumps(value))
    if isinstance(content, list) and len(content) == 2 and name in ("&", "|", "^", "<<", ">>"):
        return f"{expression_text(content[0])} {name} {_group(content[1])}"
    return statement_text(value)


def _group(value: object) -> str:
    return "(" + "|".join(str(v) for v in value) + ")" if isinstance(value, list) else expression_text(value)


def _plain(value: object) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _payload(content: dict[str, object]) -> str:
    if "protocol" in content:
        return f"{content['protocol']} {content['field']}"
    return f"@{content['base']},{content['offset']},{content['len']}"


def _meta(content: dict[str, object]) -> str:
    key = str(content["key"])
    return key if key in (*_QUOTED_KEYS, "iiftype", "oiftype", "iifgroup", "oifgroup") else f"meta {key}"


def _fib(content: dict[str, object]) -> str:
    flags = content.get("flags", [])
    words = flags if isinstance(flags, list) else [flags]
    return f"fib {' . '.join(str(word) for word in words)} {content['result']}"


def _set(content: object) -> str:
    items = content if isinstance(content, list) else [content]
    return _cut("{ " + ", ".join(_item(item) for item in items[:20]) + (", ..." if len(items) > 20 else "") + " }")


def _item(item: object) -> str:
    if isinstance(item, list) and len(item) == 2:
        return f"{expression_text(item[0])} : {expression_text(item[1])}"
    return expression_text(item)


def _quote(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else expression_text(value)


def _cut(text: str) -> str:
    return text if len(text) <= _LIMIT else text[: _LIMIT - 3] + "..."


_WRITERS: dict[str, Callable[[Any], str]] = {
    "payload": _payload,
    "meta": _meta,
    "ct": lambda c: f"ct {c['dir']} {c['key']}" if "dir" in c else f"ct {c['key']}",
    "fib": _fib,
    "concat": lambda c: " . ".join(expression_text(part) for part in c),
    "prefix": lambda c: f"{c['addr']}/{c['len']}",
    "range": lambda c: f"{expression_text(c[0])}-{expression_text(c[1])}",
    "set": _set,
    "elem": lambda c: expression_text(c["val"]),
    "map": lambda c: f"{expression_text(c['key'])} map {expression_text(c['data'])}",
    "exthdr": lambda c: f"exthdr {c['name']} {c.get('field', '')}".rstrip(),
    "tcp option": lambda c: f"tcp option {c['name']} {c.get('field', '')}".rstrip(),
    "numgen": lambda c: f"numgen {c['mode']} mod {c['mod']}",
    "jhash": lambda c: f"jhash {expression_text(c['expr'])} mod {c['mod']}",
    "symhash": lambda c: f"symhash mod {c['mod']}",
    "socket": lambda c: f"socket {c['key']}",
    "osf": lambda c: f"osf {c['key']}",
    "rt": lambda c: f"rt {c['key']}",
}
