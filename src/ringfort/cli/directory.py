"""A directory of generated files: written whole, replaced file by file, and never anybody else's.

A manifest names the files that we wrote and their SHA-256. A directory that holds anything else is refused. New files
are first written beside the directory, so that a full disk or an interruption leaves the old ones; each then takes its
place by a rename.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ringfort.errors import RingfortError

MANIFEST = ".ringfort-compiled.json"
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Change:
    """What `replace_directory` did; ``edited`` are the replaced or removed files that were not as we had left them."""

    written: int
    kept: int
    removed: int
    edited: tuple[str, ...]


def replace_directory(target: Path, files: Iterable[tuple[str, str]]) -> Change:
    """Make ``target`` hold exactly ``files`` (relative path and content).

    Raises:
        RingfortError: ``target`` holds something that we did not write, or cannot be written.
    """
    try:
        target = target.resolve()
        before = _ours(target)
        staged = target.parent / f".{target.name}.{secrets.token_hex(4)}"
        staged.mkdir(parents=True)
        try:
            after = _stage(staged, files)
            if before is None:
                staged.rename(target)
                return Change(len(after), 0, 0, ())
            return _replace(target, staged, before, after)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
    except OSError as error:
        raise RingfortError(
            "cannot-write", f"cannot write {error.filename or target}: {error.strerror}", "choose another --out"
        ) from error


def _ours(target: Path) -> dict[str, str] | None:
    """Path -> SHA-256 of the files that we wrote earlier; None when there is nothing."""
    if not target.exists():
        return None
    if not target.is_dir():
        raise RingfortError("not-a-directory", f"{target} is not a directory", "choose another --out")
    present = _present(target)
    if not present:
        return None
    manifest = _read_manifest(target)
    foreign = sorted(present - manifest.keys() - {MANIFEST, f"{MANIFEST}.new"})
    if foreign:
        more = f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""
        raise RingfortError(
            "foreign-files",
            f"{target} holds what ringfort compile did not write: {', '.join(foreign[:3])}{more}",
            "choose an empty or new directory, or move these away",
        )
    return manifest


def _present(target: Path) -> set[str]:
    """Everything below ``target`` that is not a directory of its own, links included."""
    found: set[str] = set()
    for folder, folders, names in os.walk(target):
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        found.update((Path(folder) / name).relative_to(target).as_posix() for name in (*names, *links))
    return found


def _read_manifest(target: Path) -> dict[str, str]:
    try:
        manifest = json.loads((target / MANIFEST).read_text(encoding="utf-8"))
        files = manifest["files"]
        return {str(path): str(digest) for path, digest in files.items() if _is_inside(str(path))}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _is_inside(path: str) -> bool:
    pure = PurePosixPath(path)
    return not pure.is_absolute() and ".." not in pure.parts


def _stage(staged: Path, files: Iterable[tuple[str, str]]) -> dict[str, str]:
    digests = {}
    for path, content in files:
        data = content.encode()
        place = staged / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        digests[path] = hashlib.sha256(data).hexdigest()
    _write_manifest(staged, digests)
    return digests


def _write_manifest(folder: Path, digests: dict[str, str]) -> None:
    text = json.dumps({"version": _VERSION, "files": dict(sorted(digests.items()))}, indent=1) + "\n"
    fresh = folder / f"{MANIFEST}.new"
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(folder / MANIFEST)


def _replace(target: Path, staged: Path, before: dict[str, str], after: dict[str, str]) -> Change:
    found = {path: _digest(target / path) for path in before.keys() | after.keys()}
    edited = [path for path, digest in before.items() if found[path] not in (None, digest, after.get(path))]
    # Until the last file is in place the manifest names old and new ones: interrupted, the directory is still ours.
    _write_manifest(target, {**before, **after})
    written = [path for path, digest in after.items() if found[path] != digest]
    for path in written:
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        (staged / path).replace(target / path)
    stale = [path for path in before if path not in after]
    for path in stale:
        (target / path).unlink(missing_ok=True)
        _prune(target, (target / path).parent)
    _write_manifest(target, after)
    return Change(len(written), len(after) - len(written), len(stale), tuple(sorted(edited)))


def _digest(path: Path) -> str | None:
    if path.is_symlink() or not path.is_file():
        return "not a file" if path.is_symlink() else None
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _prune(target: Path, folder: Path) -> None:
    while folder != target and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
