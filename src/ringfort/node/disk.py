"""What a node keeps on its disk: the journal, and what it has compiled. Each file is there wholly or not at all."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ringfort.errors import RingfortError
from ringfort.node.journal import Journal, Revision
from ringfort.node.policy import Policy, from_bytes, to_bytes
from ringfort.publishing.files import replace_file

_PRIVATE = 0o600


class Disk:
    """The state directory of one node. Only one process may work on it: see `hold`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._policies = directory / "policies"
        self._journal = directory / "journal.json"
        self._status = directory / "status.json"
        self._lock = -1

    @property
    def trust(self) -> Path:
        """Where what is believed of the environment is kept (`ringfort.publishing.trust`)."""
        return self.directory / "trust"

    @property
    def identity(self) -> Path:
        """Where the node's own key, its certificate and the authorities it believes are kept."""
        return self.directory / "identity"

    def hold(self) -> None:
        """Make the directory if need be, and be the only one to work on it until this process ends.

        Raises:
            RingfortError: another process does, or the directory cannot be used.
        """
        try:
            self._policies.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _PRIVATE)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RingfortError("node-running", f"a node works on {self.directory} already") from error
        except OSError as error:
            raise RingfortError("state-unusable", f"{self.directory}: {error.strerror}") from error

    def release(self) -> None:
        """Let another process work on the directory."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def is_held(self) -> bool:
        """Whether some process works on the directory."""
        try:
            descriptor = os.open(self.directory / "lock", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    # --- the journal ---

    def journal(self) -> Journal | None:
        """The journal as it was kept last; None if there is none, or what the disk gives back is none."""
        document = self._read(self._journal)
        try:
            return Journal.from_json(document) if document is not None else None
        except (ValueError, KeyError, TypeError):
            return None

    def keep(self, journal: Journal) -> None:
        """Put the journal in place of the one before.

        Raises:
            OSError: the disk fails; the one before is still there.
        """
        replace_file(self._journal, json.dumps(journal.to_json()).encode(), _PRIVATE)

    # --- what was compiled ---

    def store(self, policy: Policy) -> None:
        """Keep what was compiled.

        Raises:
            OSError: the disk fails.
        """
        path = self._path(policy.revision)
        if not path.exists():
            replace_file(path, to_bytes(policy), _PRIVATE)

    def policy(self, revision: Revision) -> Policy | None:
        """What was compiled for a revision; None if it is not there, or not what was written."""
        try:
            policy = from_bytes(self._path(revision).read_bytes())
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return policy if policy.revision == revision else None

    def prune(self, keep: Iterable[Revision]) -> None:
        """Forget what was compiled for earlier revisions than these; later ones may be waiting for their turn."""
        kept = {self._path(revision).name: revision.version for revision in keep}
        newest = max(kept.values(), default=0)
        for path in self._policies.glob("[0-9]*-*.json"):
            if path.name not in kept and int(path.name.partition("-")[0]) <= newest:
                path.unlink(missing_ok=True)

    def _path(self, revision: Revision) -> Path:
        return self._policies / f"{revision.version}-{revision.digest[:24]}.json"

    # --- what it says of itself ---

    def say(self, status: dict[str, Any]) -> None:
        """Keep what ``ringfort node status`` shows; it need not survive the power, and its failure stops nothing."""
        temporary = self._status.with_suffix(".new")
        with suppress(OSError):
            temporary.write_text(json.dumps(status, indent=1))
            temporary.replace(self._status)

    def status(self) -> dict[str, Any] | None:
        """What the node said last; None if nothing."""
        return self._read(self._status)

    def _read(self, path: Path) -> dict[str, Any] | None:
        try:
            document = json.loads(path.read_bytes())
        except (OSError, ValueError):
            return None
        return document if isinstance(document, dict) else None
