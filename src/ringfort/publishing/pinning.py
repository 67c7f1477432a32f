"""What an approver remembers of a repository: its first root and the newest version, so that nobody shows another base.

Whoever serves a repository of his own making, or an old state, could make a change look small that is not.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from ringfort.publishing.errors import PublishingError
from ringfort.publishing.files import replace_file
from ringfort.publishing.repository import Published, Repository
from ringfort.publishing.storing import METADATA


class Memory:
    """One repository's, in a file of the approver's own."""

    def __init__(self, directory: Path, place: str) -> None:
        """Args:
        directory: where the approver keeps such files.
        place: the repository, as it is named everywhere: a resolved path or a URL.
        """
        self.path = directory / f"{hashlib.sha256(place.encode()).hexdigest()[:32]}.json"
        self.place = place

    def check(self, repository: Repository, published: Published) -> str:
        """Hold what is published against what is remembered, and remember it.

        Returns:
            The first root's SHA-256 when it is seen for the first time, to be compared with other approvers'; else "".

        Raises:
            PublishingError: another first root, an older version, or another environment of the same version.
        """
        root = hashlib.sha256(repository.store.read(METADATA, "1.root.json") or b"").hexdigest()
        digest = hashlib.sha256(published.environment or b"").hexdigest()
        known = self._read()
        if known is not None:
            self._hold(known, root, published.version, digest)
        now = {"place": self.place, "root": root, "version": published.version, "environment": digest}
        if now != known:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(self.path, json.dumps(now, indent=2).encode(), 0o600)
        return root if known is None else ""

    def _hold(self, known: dict[str, Any], root: str, version: int, digest: str) -> None:
        hint = f"do not sign; ask the other approvers. If it was begun anew, remove {self.path}"
        if known["root"] != root:
            raise PublishingError("root-pinned", f"{self.place} has another first root than before", hint)
        if version < known["version"]:
            message = f"version {known['version']} was published here; now version {version} is shown"
            raise PublishingError("rolled-back", message, hint)
        if version == known["version"] and digest != known["environment"]:
            raise PublishingError("forked", f"version {version} is another environment than before", hint)

    def _read(self) -> dict[str, Any] | None:
        try:
            found = json.loads(self.path.read_bytes())
            return {
                "place": str(found["place"]),
                "root": str(found["root"]),
                "version": int(found["version"]),
                "environment": str(found["environment"]),
            }
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            message = f"what is remembered of {self.place} cannot be read"
            raise PublishingError("memory-unreadable", message, f"look at {self.path}") from error
