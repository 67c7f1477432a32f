"""The tar format, as far as it is needed: reading pax (POSIX.1-2017) and GNU's with bounded memory, writing in one way.

Python's tarfile reads a header of any length into memory, and writes differently from version to version.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from ringfort.compute.entries import BundleRefusedError, Entry, Kind

BLOCK = 512
FIELD = 100
"""Bytes of a path or a target that stand in the header itself."""

PIECE = 64 * 1024
LONGEST_HEADER = 64 * 1024
"""Bytes of a pax header or a long name: far more than any path that is allowed."""

END = b"\0" * (2 * BLOCK)
MOST_HEADERS_IN_A_ROW = 8

FILES, HARD_LINK, SYMBOLIC_LINK, FOLDER = (b"0", b"\0"), b"1", b"2", b"5"
_PAX, _PAX_GLOBAL, _LONG_NAME, _LONG_TARGET = b"x", b"g", b"L", b"K"


class Reader(Protocol):
    """Where bytes come from."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; none at the end."""
        ...


def unreadable(why: str) -> BundleRefusedError:
    """The refusal of what is no tar archive."""
    return BundleRefusedError("tar-unreadable", f"this is no archive that can be read: {why}")


def exactly(stream: Reader, size: int) -> bytes:
    """That many bytes.

    Raises:
        BundleRefusedError: tar-truncated, there are fewer.
    """
    pieces, left = [], size
    while left:
        piece = stream.read(min(left, PIECE))
        if not piece:
            raise BundleRefusedError("tar-truncated", "the archive ends in the middle")
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


@dataclass(slots=True)
class Member:
    """One member as it is written. ``header``: all its header blocks. The content can be read once, in order."""

    header: bytes
    type: bytes
    path: str
    mode: int
    size: int
    target: str
    _stream: Reader = field(repr=False)
    _left: int = field(init=False)

    def __post_init__(self) -> None:
        self._left = self.size

    def pieces(self) -> Iterator[bytes]:
        """The content, in pieces of at most `PIECE` bytes."""
        while self._left:
            piece = self._stream.read(min(self._left, PIECE))
            if not piece:
                raise BundleRefusedError("tar-truncated", "the archive ends in the middle of a file")
            self._left -= len(piece)
            yield piece

    def finish(self) -> None:
        """Read what wasn't, and the padding, which has to be zeros."""
        for _ in self.pieces():
            pass
        if exactly(self._stream, -self.size % BLOCK).strip(b"\0"):
            raise unreadable("a file's padding is not empty")


def members(stream: Reader) -> Iterator[Member]:
    """Every member up to the end mark. What isn't read of one is skipped.

    Raises:
        BundleRefusedError: tar-unreadable, tar-truncated, sparse-file.
    """
    while True:
        block = exactly(stream, BLOCK)
        if not block.strip(b"\0"):
            if exactly(stream, BLOCK).strip(b"\0"):
                raise unreadable("its end mark is damaged")
            return
        member = _member(stream, block)
        yield member
        member.finish()


def _member(stream: Reader, block: bytes) -> Member:
    header = b""
    more: dict[str, str] = {}
    for _ in range(MOST_HEADERS_IN_A_ROW):
        header += block
        type_ = block[156:157]
        if type_ not in (_PAX, _PAX_GLOBAL, _LONG_NAME, _LONG_TARGET):
            return _described(stream, header, block, more)
        size = _number(block[124:136])
        if size > LONGEST_HEADER:
            raise unreadable("a header is too long")
        _refuse_checksum(block)
        content = exactly(stream, size + -size % BLOCK)
        header += content
        more |= _said(type_, content[:size])
        block = exactly(stream, BLOCK)
    raise unreadable("too many headers for one file")


def _said(type_: bytes, content: bytes) -> dict[str, str]:
    """What an additional header says about the member that follows."""
    if type_ in (_LONG_NAME, _LONG_TARGET):
        return {"path" if type_ == _LONG_NAME else "linkpath": _text(content.rstrip(b"\0"))}
    found = dict(_records(content))
    if any(key.startswith("GNU.sparse") for key in found):
        raise BundleRefusedError("sparse-file", "the archive holds a sparse file", "write it without holes")
    if type_ == _PAX_GLOBAL and found.keys() & {"path", "linkpath", "size"}:
        raise unreadable("a header gives all files one name")
    return {} if type_ == _PAX_GLOBAL else found


def _records(content: bytes) -> Iterator[tuple[str, str]]:
    """Records of a pax header: ``LENGTH KEY=VALUE`` and a line feed, the length counting itself."""
    while content:
        length, space, _ = content[:12].partition(b" ")
        if not space or not length.isdigit() or not len(length) + 1 < int(length) <= len(content):
            raise unreadable("a header has a record of no length")
        record, content = content[len(length) + 1 : int(length)], content[int(length) :]
        key, equals, value = record.partition(b"=")
        if not equals or not value.endswith(b"\n"):
            raise unreadable("a header has a record that is none")
        yield _text(key), value[:-1].decode("utf-8", "surrogateescape")


def _described(stream: Reader, header: bytes, block: bytes, more: dict[str, str]) -> Member:
    _refuse_checksum(block)
    type_ = block[156:157]
    if type_ == b"S":
        raise BundleRefusedError("sparse-file", "the archive holds a sparse file", "write it without holes")
    path = _text(block[:100].partition(b"\0")[0])
    prefix = _text(block[345:500].partition(b"\0")[0]) if block[257:263] == b"ustar\0" else ""
    if prefix:
        path = f"{prefix}/{path}"
    size = _number(block[124:136])
    if "size" in more:
        if not more["size"].isascii() or not more["size"].isdigit() or len(more["size"]) > 18:
            raise unreadable("a size is no number")
        size = int(more["size"])
    if type_ not in FILES:
        size = size if type_ == HARD_LINK else 0
    return Member(
        header,
        type_,
        more.get("path", path),
        _number(block[100:108]),
        size,
        more.get("linkpath", _text(block[157:257].partition(b"\0")[0])),
        stream,
    )


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _refuse_checksum(block: bytes) -> None:
    if _number(block[148:156]) != _checksum(block):
        raise unreadable("a header's checksum is wrong")


def _checksum(block: bytes) -> int:
    return sum(block[:148]) + sum(block[156:]) + 8 * ord(" ")


def _number(field_: bytes) -> int:
    """Octal digits; or, with the highest bit set, base 256 as GNU writes it."""
    if field_[0] & 0x80:
        number = int.from_bytes(bytes((field_[0] & 0x7F,)) + field_[1:], "big")
        if field_[0] & 0x40 or number >= 1 << 60:
            raise unreadable("a number is out of range")
        return number
    digits = field_.strip(b" \0")
    if digits.strip(b"01234567"):
        raise unreadable("a number is none")
    return int(digits or b"0", 8)


# -- writing ---------------------------------------------------------------------------------------------------------

_TYPES = {Kind.FILE: b"0", Kind.FOLDER: b"5", Kind.LINK: b"2"}


def header_of(entry: Entry) -> bytes:
    """The one way in which an entry is announced: no owner, no time, two modes.

    What is longer than its field comes in GNU's long headers: squashfs-tools 4.5 cuts ``../`` off a link's target in a
    pax record.
    """
    path = entry.path.encode() + (b"/" if entry.kind is Kind.FOLDER else b"")
    target = entry.target.encode()
    mode = 0o777 if entry.kind is Kind.LINK else 0o755 if entry.kind is Kind.FOLDER or entry.executable else 0o644
    return (
        _long(_LONG_TARGET, target)
        + _long(_LONG_NAME, path)
        + _block(path[:FIELD], mode, entry.size, _TYPES[entry.kind], target[:FIELD])
    )


def _long(type_: bytes, text: bytes) -> bytes:
    if len(text) <= FIELD:
        return b""
    content = text + b"\0"
    return _block(b"././@LongLink", 0o644, len(content), type_, b"") + content + b"\0" * (-len(content) % BLOCK)


def _block(path: bytes, mode: int, size: int, type_: bytes, target: bytes) -> bytes:
    fields = (
        path.ljust(FIELD, b"\0"),
        b"%07o\0" % mode,
        b"%07o\0" % 0,
        b"%07o\0" % 0,
        b"%011o\0" % size,
        b"%011o\0" % 0,
        b" " * 8,
        type_,
        target.ljust(FIELD, b"\0"),
        b"ustar  \0",
    )
    block = b"".join(fields).ljust(BLOCK, b"\0")
    return block[:148] + b"%06o\0 " % _checksum(block) + block[156:]
