"""The last good environment on a node's disk: there wholly or not at all, and whole when it is read."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from ringfort.publishing.files import replace_file


@dataclass(frozen=True, slots=True)
class Good:
    """An environment's text that was verified, its version, its SHA-256, and who signed it."""

    version: int
    digest: str
    signers: tuple[str, ...]
    data: bytes


class GoodStore:
    """Keeps one `Good` in a directory. A pointer names the file; it changes only after the file is on the disk."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._pointer = directory / "good.json"

    @property
    def incoming(self) -> Path:
        """Where a text waits that is not verified yet."""
        self.directory.mkdir(mode=0o700, exist_ok=True)
        return self.directory / ".incoming"

    def write(self, good: Good) -> None:
        """Keep this one in place of the one before."""
        self.directory.mkdir(mode=0o700, exist_ok=True)
        path = self._path(good.digest)
        replace_file(path, good.data, 0o600)
        pointer = {"version": good.version, "sha256": good.digest, "signers": list(good.signers)}
        replace_file(self._pointer, json.dumps(pointer).encode(), 0o600)
        for other in self.directory.glob("environment-*.json"):
            if other != path:
                other.unlink(missing_ok=True)

    def read(self) -> Good | None:
        """The one that is kept; None if there is none, or the disk gives back something else than was written."""
        try:
            pointer = json.loads(self._pointer.read_bytes())
            data = self._path(pointer["sha256"]).read_bytes()
            good = Good(int(pointer["version"]), str(pointer["sha256"]), tuple(map(str, pointer["signers"])), data)
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None
        return good if hashlib.sha256(data).hexdigest() == good.digest else None

    def version(self) -> int:
        """The version that was kept last, also when its text is lost: nothing older is taken. 0 before the first."""
        try:
            return int(json.loads(self._pointer.read_bytes())["version"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return 0

    def _path(self, digest: str) -> Path:
        return self.directory / f"environment-{digest}.json"
