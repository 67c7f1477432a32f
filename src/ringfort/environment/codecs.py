"""Codecs between the values of the model and plain JSON values, derived from the model's own annotations.

A field that is added to the model is written and read from then on, without a line here. Reading is strict: every value
has one spelling, and any other is refused.

Many things of one kind are read field by field rather than one by one, which costs a third; where anything in a field
is odd they are read one by one after all, so that the complaint names the place.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from itertools import chain, islice
from operator import attrgetter
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
    """How one type of value is written and read. ``all``: many at once; None when one is not as it should be."""

    write: Callable[[Any], Json]
    read: Callable[[Json, Memo], Any]
    all: Callable[[list[Json], Memo], list[Any] | None] | None = None

    def read_all(self, values: list[Json], memo: Memo) -> list[Any] | None:
        """Many values of this type; None when one of them is not as it should be."""
        if self.all is not None:
            return self.all(values, memo)
        read = self.read
        try:
            return [read(value, memo) for value in values]
        except WrongFormError:
            return None


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


def _read_all_texts(values: list[Json], memo: Memo) -> list[str] | None:
    return list(map(memo.setdefault, values, values)) if set(map(type, values)) <= {str} else None


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
        if type(value) is not str:
            raise WrongFormError(f"{_shown(value)} is no {what}")
        known = memo.get((what, value))  # type: ignore[call-overload]
        if known is not None:
            return known
        try:
            found = parse(value)
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


_ADDRESS_BY_TEXT = _spelt(_address, "address")


def _read_address(value: Json, memo: Memo) -> IPv4Address | IPv6Address:
    """An address. Its neighbours differ in the last number only, and are spelt alike up to there.

    Where a neighbour with a last number other than 0 was in its one spelling, so is this one: which zeros are left out
    follows from where the zeros are, and they are at the same places.
    """
    if type(value) is str:
        six = ":" in value
        head, _, last = value.rpartition(":" if six else ".")
        base = memo.get(("before", head))  # type: ignore[call-overload]
        if base is not None and last and last[0] != "0":
            if six and len(last) <= 4 and not last.strip("0123456789abcdef"):
                return IPv6Address(base + int(last, 16))
            if not six and len(last) <= 3 and not last.strip("0123456789") and int(last) <= 255:
                return IPv4Address(base + int(last))
        address: IPv4Address | IPv6Address = _ADDRESS_BY_TEXT.read(value, memo)
        number = int(address)
        rest = number & (0xFFFF if six else 0xFF)
        if rest and "." not in (last if six else ""):
            memo["before", head] = number - rest  # type: ignore[index]
        return address
    found: IPv4Address | IPv6Address = _ADDRESS_BY_TEXT.read(value, memo)
    return found


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


_ADDRESS, _NETWORK = Codec(str, _read_address), _spelt(_network, "network")
_TEXTS = Codec(dict, _read_texts)
_PLAIN: dict[Any, Codec] = {
    str: Codec(str, _read_text, _read_all_texts),
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

    def read_all(values: list[Json], memo: Memo) -> list[Any] | None:
        if not set(map(type, values)) <= {list}:
            return None
        items = codec.read_all(list(chain.from_iterable(values)), memo)
        if items is None:
            return None
        remaining = iter(items)
        return [tuple(islice(remaining, len(value))) for value in values]

    return Codec(write, read, read_all)


def _section(class_: type) -> Codec:
    """Things by their key, in order: a list, since each thing says its own name."""
    codec = codec_of(class_)
    key_of = attrgetter("key" if hasattr(class_, "key") else "name")

    def write(values: Mapping[str, Any]) -> list[Json]:
        return [codec.write(value) for value in values.values()]

    def read(value: Json, memo: Memo) -> dict[str, Any]:
        found: dict[str, Any] = {}
        things = codec.read_all(_list(value), memo)
        if things is not None:
            found = {memo.setdefault(key, key): thing for key, thing in zip(map(key_of, things), things, strict=True)}
            if len(found) == len(things):
                return found
            found = {}
        for number, item in enumerate(value):
            try:
                thing = codec.read(item, memo)
            except WrongFormError as error:
                error.path.append(str(number))
                raise
            key = key_of(thing)
            if key in found:
                raise WrongFormError(f"{_shown(key)} stands there twice")
            found[memo.setdefault(key, key)] = thing
        return found

    return Codec(write, read)


def _thing(class_: type) -> Codec:
    hints = get_type_hints(class_)
    names = [field.name for field in fields(class_) if field.init]
    codecs = [(name, codec_of(hints[name])) for name in names]
    writers = [(name, codec.write) for name, codec in codecs]
    readers = [(name, codec.read) for name, codec in codecs]
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

    def read_all(values: list[Json], memo: Memo) -> list[Any] | None:
        if not set(map(type, values)) <= {dict} or any(value.keys() != known for value in values):
            return None
        columns = []
        for name, codec in codecs:
            column = codec.read_all([value[name] for value in values], memo)
            if column is None:
                return None
            columns.append(column)
        return list(map(class_, *columns))

    return Codec(write, read, read_all)


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
