"""How audit records are shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from ringfort.audit.history import Entry, Version
    from ringfort.audit.records import State


def as_json(entry: Entry) -> dict[str, Any]:
    """A record, for scripts; concealed values as the log has them."""
    record = entry.record
    return {
        "index": entry.index,
        "when": record.when.isoformat(),
        "who": plain(record.who),
        "authenticated": record.authenticated,
        "action": str(record.action),
        "on": record.on,
        "before": _state(record.before),
        "after": _state(record.after),
        "why": plain(record.why),
        "origin": plain(record.origin),
        "request": record.request,
    }


def plain(value: Any) -> Any:  # noqa: ANN401  # any value of a record
    """A value with concealed ones as the log has them."""
    from ringfort.audit.personal import Hidden

    match value:
        case Hidden(personal=personal, commitment=commitment):
            return {"personal" if personal else "secret": commitment}
        case Mapping():
            return {name: plain(item) for name, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
    return value


def _state(state: State | None) -> Any:  # noqa: ANN401  # JSON
    if state is None:
        return None
    return {"digest": state.digest, **({"value": plain(state.value)} if state.value is not None else {})}


def print_line(console: Console, entry: Entry) -> None:
    """A record in a line."""
    record = entry.record
    who = short(str(record.who))
    line = f"{entry.index:>7}  {record.when:%Y-%m-%d %H:%M:%S}  {who}  {record.action}  {record.on}  {record.why}"
    console.print(escape(printable(line)).rstrip())


def print_entry(console: Console, entry: Entry) -> None:
    """A record whole."""
    from ringfort.audit.history import difference

    record = entry.record
    rows = {
        "record": str(entry.index),
        "when": f"{record.when.isoformat()}",
        "who": f"{record.who}, {record.authenticated}",
        "from": str(record.origin),
        "action": str(record.action),
        "on": record.on,
        "why": str(record.why),
        "request": record.request,
        "before": record.before.digest if record.before else "nothing",
        "after": record.after.digest if record.after else "nothing",
    }
    for name, value in rows.items():
        if value:
            console.print(f"[dim]{name:>8}[/dim]  {escape(printable(value))}")
    for line in difference(record.before, record.after):
        _print_difference(console, line)


def print_version(console: Console, version: Version) -> None:
    """A version of an object: author, time, reason, difference."""
    record = version.entry.record
    if version.gap:
        console.print("[red]gap[/red]  the object was changed without a record before this one")
    head = f"{record.when:%Y-%m-%d %H:%M:%S}  {short(str(record.who))}  {record.action}  {record.why}"
    console.print(f"[bold]{version.entry.index}[/bold]  {escape(printable(head))}".rstrip())
    for line in version.difference:
        _print_difference(console, line)


def _print_difference(console: Console, line: str) -> None:
    colour = {"+": "green", "-": "red"}.get(line[:1], "yellow")
    console.print(f"    [{colour}]{escape(printable(line))}[/{colour}]")


def short(who: str) -> str:
    """An identity without its trust domain."""
    scheme, _, rest = who.partition("://")
    return rest.partition("/")[2] if scheme == "spiffe" else who


def printable(text: str) -> str:
    """A record's text comes from callers: nothing in it may steer a terminal."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
