"""A bundle: an application's software as one tar archive that can be written in one way only, known by its SHA-256.

Whoever reads a bundle finds the same in it, because it is refused unless every byte is the one that `write` would have
written: there is nothing left for two programs to understand differently.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from ringfort.compute import tar
from ringfort.compute.application import FILE_NAME, LARGEST, Application, Runtime, load
from ringfort.compute.entries import (
    LIMITS,
    BundleRefusedError,
    Entry,
    Kind,
    Limits,
    refuse_links,
    refuse_path,
    refuse_target,
)
from ringfort.environment.problems import shown


class Writer(Protocol):
    """Where a bundle goes."""

    def write(self, data: bytes, /) -> object:
        """Take some bytes."""
        ...


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that was verified.

    Attributes:
        digest: SHA-256, hex.
        size: bytes.
        entries: by path, in order.
    """

    digest: str
    size: int
    entries: Mapping[str, Entry]
    application: Application


def write(entries: Iterable[tuple[Entry, Iterator[bytes]]], out: Writer) -> None:
    """Write entries, which come in the order of their paths' bytes, each with its content.

    Raises:
        BundleRefusedError: file-changed, a content has not the size that was announced.
    """
    for entry, content in entries:
        out.write(tar.header_of(entry))
        size = 0
        for piece in content:
            size += len(piece)
            if size > entry.size:
                break
            out.write(piece)
        if size != entry.size:
            raise BundleRefusedError("file-changed", f"{shown(entry.path)} changed while it was read", "try again")
        out.write(b"\0" * (-entry.size % tar.BLOCK))
    out.write(tar.END)


class _Measured:
    """A stream whose bytes are counted, limited and hashed."""

    def __init__(self, stream: tar.Reader, most: int) -> None:
        self._stream, self._most = stream, most
        self.size = 0
        self.hash = hashlib.sha256()

    def read(self, size: int) -> bytes:
        piece = self._stream.read(size)
        self.size += len(piece)
        if self.size > self._most:
            raise BundleRefusedError("bundle-too-large", f"a bundle has at most {self._most:,} bytes")
        self.hash.update(piece)
        return piece


def verify(stream: tar.Reader, limits: Limits = LIMITS, digest: str = "") -> Bundle:
    """Read a bundle to its end and find nothing wrong with it. Takes memory for its paths, never for its content.

    Args:
        digest: what its SHA-256 has to be; any by default.

    Raises:
        BundleRefusedError: with the reason as its code.
        DeclarationError: its ``app.yaml`` is not sound.
    """
    measured = _Measured(stream, limits.bytes)
    entries: dict[str, Entry] = {}
    description = None
    for member in tar.members(measured):
        entry = _entry(member, limits)
        _refuse_place(entry, entries, limits)
        if tar.header_of(entry) != member.header:
            raise _not_canonical(f"{shown(entry.path)} is announced in another way than packing does")
        entries[entry.path] = entry
        if entry.path == FILE_NAME:
            description = b"".join(member.pieces()) if 0 < entry.size <= LARGEST else None
    if measured.read(1):
        raise _not_canonical("something follows its end")
    found = measured.hash.hexdigest()
    if digest and found != digest:
        raise BundleRefusedError("digest-differs", f"the bundle's SHA-256 is {found}, not {digest}", "send it again")
    refuse_links(entries)
    if description is None:
        hint = f"put a file {FILE_NAME} into the application's folder"
        raise BundleRefusedError("description-missing", f"there is no {FILE_NAME} of at most {LARGEST:,} bytes", hint)
    application = load(description)
    _refuse_missing(application, entries)
    return Bundle(found, measured.size, entries, application)


def _entry(member: tar.Member, limits: Limits) -> Entry:
    """A member as an entry.

    Raises:
        BundleRefusedError: it is of a kind, or has a mode or a path, that isn't allowed.
    """
    refuse_kind(member)
    path = member.path
    kind = Kind.FILE if member.type in tar.FILES else Kind.LINK if member.type == tar.SYMBOLIC_LINK else Kind.FOLDER
    if kind is Kind.FOLDER:
        path = path.removesuffix("/")
    refuse_path(path, limits)
    if kind is Kind.LINK:
        refuse_target(path, member.target, limits)
    if member.mode & 0o7000:
        raise BundleRefusedError("setuid", f"{shown(path)} would run as somebody else (mode {member.mode:o})")
    if member.size > limits.bytes:
        raise BundleRefusedError("bundle-too-large", f"{shown(path)} alone has {member.size:,} bytes")
    executable = kind is Kind.FILE and bool(member.mode & 0o100)
    return Entry(path, kind, member.size, executable, member.target if kind is Kind.LINK else "")


def refuse_kind(member: tar.Member) -> None:
    """Refuse what is neither a file, a folder nor a symbolic link.

    Raises:
        BundleRefusedError: hard-link, device-file, fifo, kind-unknown.
    """
    if member.type in (*tar.FILES, tar.FOLDER, tar.SYMBOLIC_LINK):
        return
    code, what = {
        tar.HARD_LINK: ("hard-link", "a hard link"),
        b"3": ("device-file", "a device file"),
        b"4": ("device-file", "a device file"),
        b"6": ("fifo", "a named pipe"),
    }.get(member.type, ("kind-unknown", "neither a file, a folder nor a link"))
    raise BundleRefusedError(code, f"{shown(member.path)} is {what}")


def _refuse_place(entry: Entry, entries: dict[str, Entry], limits: Limits) -> None:
    if len(entries) >= limits.entries:
        raise BundleRefusedError("too-many-files", f"there are more than {limits.entries:,} files and folders")
    if entry.path in entries:
        raise BundleRefusedError("duplicate-path", f"{shown(entry.path)} is there twice")
    parent = entry.path.rpartition("/")[0]
    if parent and (parent not in entries or entries[parent].kind is not Kind.FOLDER):
        raise BundleRefusedError("parent-missing", f"{shown(entry.path)} lies in no folder that comes before it")
    if entries and entry.path.encode() < next(reversed(entries)).encode():
        raise _not_canonical(f"{shown(entry.path)} is out of order")


def _not_canonical(why: str) -> BundleRefusedError:
    return BundleRefusedError("bundle-not-canonical", f"this is no bundle: {why}", "`ringfort deploy` packs a folder")


def _refuse_missing(application: Application, entries: Mapping[str, Entry]) -> None:
    """Refuse software that lacks what its description speaks of."""
    trust = application.sandbox.partial_trust
    granted = [] if trust is None else [directory.path for directory in trust.directories if directory.path]
    wanted = [(path, Kind.FOLDER) for path in granted]
    if application.runtime is Runtime.WASM:
        wanted.append((application.module, Kind.FILE))
    if application.runtime is Runtime.STATIC:
        wanted.append((application.directory or "public", Kind.FOLDER))
    for path, kind in wanted:
        if path not in entries or entries[path].kind is not kind:
            raise BundleRefusedError(
                "file-missing", f"{FILE_NAME} speaks of the {kind} {shown(path)}, and it is missing"
            )
