"""Codecs between the values of the model and plain JSON values, derived from the model's own annotations.

A field that is added to the model is written and read from then on, without a line here. Reading is strict: every value
has one spelling, and any other is refused.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any, TypeAlias, Union, get_args, get_origin, get_type_hints

from ringfort.environment.model import PortRange
from ringfort.errors import Origin

Json: TypeAlias = Any
Memo: TypeAlias = dict[str, Any]
"""Texts and addresses that came before: a file's name or a segment's key is kept once, however often it is written."""

LARGEST_INTEGER = 2**53 - 1
"""The largest integer that every JSON reader keeps exactly (RFC 7493, section 2.2)."""


class WrongFormError(Exception):
    """A value that is not what stands there in this form. ``path`` grows on its way out, innermost first."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.path: list[str] = []

    def __str__(self) -> str:
        return f"{'.'.join(reversed(self.path)) or 'the document'}: {self.message}"


@dataclass(frozen=True, slots=True)
class Codec:
    """How one type of value is written and read."""

    write: Callable[[Any], Json]
    read: Callable[[Json, Memo], Any]


def codec_of(annotation: Any) -> Codec:  # noqa: ANN401  # an annotation has no type of its own
    """The codec of a type that occurs in the model."""
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return _union(arguments)
    if origin is tuple:
        return _several(codec_of(arguments[0]))
    if origin is Mapping:
        return _TEXTS if arguments[1] is str else _section(arguments[1])
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return _choice(annotation)
    if isinstance(annotation, type) and is_dataclass(annotation):
        return _thing(annotation)
    raise TypeError(f"no codec for {annotation}")


def _shown(value: Json) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _read_text(value: Json, memo: Memo) -> str:
    if type(value) is not str:
        raise WrongFormError(f"{_shown(value)} is no text")
    return memo.setdefault(value, value)  # type: ignore[no-any-return]


def _read_integer(value: Json, _memo: Memo) -> int:
    if type(value) is not int or abs(value) > LARGEST_INTEGER:
        raise WrongFormError(f"{_shown(value)} is no whole number")
    return value


def _read_boolean(value: Json, _memo: Memo) -> bool:
    if type(value) is not bool:
        raise WrongFormError(f"{_shown(value)} is neither true nor false")
    return value


def _spelt(parse: Callable[[str], Any], what: str) -> Codec:
    """A value that is written as text, in its one spelling."""

    def read(value: Json, memo: Memo) -> Any:  # noqa: ANN401
        known = memo.get((what, value)) if type(value) is str else None  # type: ignore[call-overload]
        if known is not None:
            return known
        try:
            found = parse(value) if type(value) is str else None
        except (ValueError, IndexError):
            found = None
        if found is None or str(found) != value:
            raise WrongFormError(f"{_shown(value)} is no {what}")
        memo[what, value] = found  # type: ignore[index]
        return found

    return Codec(str, read)


def _address(text: str) -> IPv4Address | IPv6Address:
    if "%" in text:  # an interface on some machine has no place in a declaration
        raise ValueError(text)
    return IPv6Address(text) if ":" in text else IPv4Address(text)


def _network(text: str) -> IPv4Network | IPv6Network:
    return IPv6Network(text) if ":" in text else IPv4Network(text)


def _origin(text: str) -> Origin:
    file, line, column = text.rsplit(":", 2)
    return Origin(file, int(line), int(column))


def _ports(text: str) -> PortRange:
    first, _, last = text.partition("-")
    return PortRange(int(first), int(last or first))


def _read_texts(value: Json, memo: Memo) -> dict[str, str]:
    if type(value) is not dict:
        raise WrongFormError(f"{_shown(value)} is no mapping")
    return {_read_text(name, memo): _read_text(text, memo) for name, text in value.items()}


_ADDRESS, _NETWORK = _spelt(_address, "address"), _spelt(_network, "network")
_TEXTS = Codec(dict, _read_texts)
_PLAIN: dict[Any, Codec] = {
    str: Codec(str, _read_text),
    int: Codec(int, _read_integer),
    bool: Codec(bool, _read_boolean),
    Origin: _spelt(_origin, "place in a file"),
    PortRange: _spelt(_ports, "range of ports"),
}


def _union(arguments: tuple[Any, ...]) -> Codec:
    if set(arguments) == {IPv4Address, IPv6Address}:
        return _ADDRESS
    if set(arguments) == {IPv4Network, IPv6Network}:
        return _NETWORK
    (some,) = (argument for argument in arguments if argument is not types.NoneType)
    codec = codec_of(some)
    return Codec(
        lambda value: None if value is None else codec.write(value),
        lambda value, memo: None if value is None else codec.read(value, memo),
    )


def _choice(enum: type[StrEnum]) -> Codec:
    members = {str(member): member for member in enum}

    def read(value: Json, _memo: Memo) -> StrEnum:
        if type(value) is not str or value not in members:
            raise WrongFormError(f"{_shown(value)} is none of {', '.join(members)}")
        return members[value]

    return Codec(str, read)


def _list(value: Json) -> list[Json]:
    if type(value) is not list:
        raise WrongFormError(f"{_shown(value)} is no list")
    return value


def _several(codec: Codec) -> Codec:
    def write(values: Iterable[Any]) -> list[Json]:
        return [codec.write(value) for value in values]

    def read(value: Json, memo: Memo) -> tuple[Any, ...]:
        return tuple([codec.read(item, memo) for item in _list(value)])

    return Codec(write, read)


def _section(class_: type) -> Codec:
    """Things by their key, in order: a list, since each thing says its own name."""
    codec = codec_of(class_)
    attribute = "key" if hasattr(class_, "key") else "name"

    def write(values: Mapping[str, Any]) -> list[Json]:
        return [codec.write(value) for value in values.values()]

    def read(value: Json, memo: Memo) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for number, item in enumerate(_list(value)):
            try:
                thing = codec.read(item, memo)
            except WrongFormError as error:
                error.path.append(str(number))
                raise
            key = getattr(thing, attribute)
            if key in found:
                raise WrongFormError(f"{_shown(key)} stands there twice")
            found[memo.setdefault(key, key)] = thing
        return found

    return Codec(write, read)


def _thing(class_: type) -> Codec:
    hints = get_type_hints(class_)
    names = [field.name for field in fields(class_) if field.init]
    writers = [(name, codec_of(hints[name]).write) for name in names]
    readers = [(name, codec_of(hints[name]).read) for name in names]
    known = frozenset(names)

    def write(value: Any) -> dict[str, Json]:  # noqa: ANN401
        return {name: writer(getattr(value, name)) for name, writer in writers}

    def read(value: Json, memo: Memo) -> Any:  # noqa: ANN401
        if type(value) is not dict:
            raise WrongFormError(f"{_shown(value)} is no mapping")
        if value.keys() != known:
            _complain(value.keys(), known)
        try:
            return class_(*[reader(value[name], memo) for name, reader in readers])
        except WrongFormError as error:
            error.path.append(_failed(value, readers, memo))
            raise

    return Codec(write, read)


def _failed(value: dict[str, Json], readers: list[tuple[str, Callable[[Json, Memo], Any]]], memo: Memo) -> str:
    """The field that was refused: told only when one is, so that reading need not keep book."""
    for name, reader in readers:
        try:
            reader(value[name], memo)
        except WrongFormError:
            return name
    return ""


def _complain(found: Iterable[str], known: frozenset[str]) -> None:
    missing, unknown = sorted(known - set(found)), sorted(set(found) - known)
    words = [f"{name!r} is missing" for name in missing] + [f"{_shown(name)} is unknown" for name in unknown]
    raise WrongFormError(", ".join(words[:8]))
