"""What a bundle may hold: folders, files and links that stay inside; and the refusals of everything else, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from ringfort.environment.problems import shown
from ringfort.errors import RingfortError

MIB = 1024 * 1024
MOST_LINKS_IN_A_ROW = 40
"""As Linux follows in one path (path_resolution(7))."""

MOST_STEPS = 2_000_000
"""Steps that following all links of a bundle may take together."""


class BundleRefusedError(RingfortError):
    """Software is refused. ``code`` says for what."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How large software may be.

    Attributes:
        bytes: of the whole bundle.
        entries: files, folders and links.
        path_bytes: of a path; each part has at most 255.
        depth: folders in each other.
        ratio: how many times its own size a compressed layer may expand to.
    """

    bytes: int = 256 * MIB
    entries: int = 20_000
    path_bytes: int = 1024
    depth: int = 64
    ratio: int = 200


LIMITS = Limits()


class Kind(StrEnum):
    """What an entry is."""

    FILE = "file"
    FOLDER = "folder"
    LINK = "link"


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing in a bundle.

    Attributes:
        path: from the top, ``/`` between parts, no ``.`` and no ``..``.
        size: of a file, bytes; 0 otherwise.
        target: of a link, relative.
    """

    path: str
    kind: Kind
    size: int = 0
    executable: bool = False
    target: str = ""


def refuse_path(path: str, limits: Limits) -> None:
    """Refuse a path that leads anywhere but plainly down.

    Raises:
        BundleRefusedError: path-escapes, path-malformed, path-too-long.
    """
    parts = path.split("/")
    if path.startswith("/") or ".." in parts:
        raise BundleRefusedError("path-escapes", f"{shown(path)} leads out of the application's folder")
    if not path or "." in parts or "" in parts or not _is_text(path):
        raise BundleRefusedError("path-malformed", f"{shown(path)} is no plain path of printable text")
    encoded = path.encode()
    if len(encoded) > limits.path_bytes or any(len(part.encode()) > 255 for part in parts):
        raise BundleRefusedError("path-too-long", f"{shown(path)} is longer than {limits.path_bytes} bytes allow")
    if len(parts) > limits.depth:
        raise BundleRefusedError("path-too-long", f"{shown(path)} lies more than {limits.depth} folders deep")


def refuse_target(path: str, target: str, limits: Limits) -> None:
    """Refuse what can be no link's target, wherever other links lead.

    Raises:
        BundleRefusedError: link-escapes, path-malformed, path-too-long.
    """
    if target.startswith("/"):
        raise BundleRefusedError("link-escapes", f"the link {shown(path)} is absolute: {shown(target)}")
    if not target or not _is_text(target):
        raise BundleRefusedError("path-malformed", f"the link {shown(path)} leads to no plain path")
    if len(target.encode()) > limits.path_bytes:
        raise BundleRefusedError("path-too-long", f"the target of the link {shown(path)} is too long")


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return path.isprintable()


def refuse_links(entries: Mapping[str, Entry]) -> None:
    """Refuse links that lead out, each followed as the kernel would, through other links.

    Raises:
        BundleRefusedError: link-escapes, link-loop.
    """
    left = MOST_STEPS
    for entry in entries.values():
        if entry.kind is Kind.LINK:
            left = _followed(entry, entries, left)


def _followed(link: Entry, entries: Mapping[str, Entry], left: int) -> int:
    """Follow one link to its end; the steps that are left for the others."""
    here = link.path.split("/")[:-1]
    ahead = link.target.split("/")[::-1]
    links = 1
    while ahead:
        left -= 1
        part = ahead.pop()
        if left < 0 or links > MOST_LINKS_IN_A_ROW:
            raise BundleRefusedError("link-loop", f"the link {shown(link.path)} leads through too many others")
        if part in ("", "."):
            continue
        if part == "..":
            if not here:
                message = f"the link {shown(link.path)} leads out of the application's folder: {shown(link.target)}"
                raise BundleRefusedError("link-escapes", message)
            here.pop()
            continue
        here.append(part)
        found = entries.get("/".join(here))
        if found is not None and found.kind is Kind.LINK:
            links += 1
            here.pop()
            more = found.target.split("/")[::-1]
            left -= len(more)
            ahead += more
    return left
