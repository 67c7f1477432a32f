"""What opens the commitments of the log: personal values and their salts, beside it, erasable."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

from ringfort.audit.canonical import Json, canonical, parse
from ringfort.audit.errors import AuditError
from ringfort.audit.personal import Opening

FILE = "personal.sqlite"


class Keeping:
    """A small database. Erased rows are overwritten (``secure_delete``), and so is the rollback journal.

    Args:
        directory: the log's private one.
    """

    def __init__(self, directory: Path) -> None:
        path = directory / FILE
        try:
            self._database = sqlite3.connect(path, timeout=30, isolation_level=None)
            self._database.executescript(
                "PRAGMA secure_delete=ON; PRAGMA synchronous=FULL; PRAGMA journal_mode=TRUNCATE;"
                "CREATE TABLE IF NOT EXISTS openings"
                " (commitment TEXT PRIMARY KEY, salt BLOB, value BLOB) WITHOUT ROWID;"
            )
            path.chmod(0o600)
        except (sqlite3.Error, OSError) as error:
            raise AuditError("audit-personal", f"{path} can't be opened: {error}") from error

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def put(self, openings: Iterable[Opening]) -> None:
        """Keep openings durably; those that are there already stay.

        Raises:
            AuditError: an opening does not open its commitment, or the disk takes nothing.
        """
        rows = []
        for opening in openings:
            if not opening.holds():
                raise AuditError("audit-personal", f"what is given does not open {opening.commitment[:12]}")
            rows.append((opening.commitment, opening.salt, canonical(opening.value)))
        with self._changing():
            self._database.executemany("INSERT OR IGNORE INTO openings VALUES (?, ?, ?)", rows)

    def values(self, commitments: Iterable[str]) -> Mapping[str, Json]:
        """The values that are still kept and still fit, by commitment."""
        found: dict[str, Json] = {}
        for commitment in commitments:
            query = "SELECT salt, value FROM openings WHERE commitment = ?"
            for salt, value in self._database.execute(query, (commitment,)):
                opening = Opening(commitment, salt, parse(value))
                if opening.holds():
                    found[commitment] = opening.value
        return found

    def erase(self, commitments: Iterable[str]) -> int:
        """Erase salts and values for good; gives how many there were."""
        with self._changing():
            return sum(
                self._database.execute("DELETE FROM openings WHERE commitment = ?", (commitment,)).rowcount
                for commitment in commitments
            )

    def holding(self, value: Json) -> list[str]:
        """The commitments to a value, wherever it occurs."""
        query = "SELECT commitment FROM openings WHERE value = ? ORDER BY commitment"
        return [commitment for (commitment,) in self._database.execute(query, (canonical(value),))]

    def _changing(self) -> _Transaction:
        return _Transaction(self._database)


class _Transaction:
    """One transaction, whole or not at all."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def __enter__(self) -> None:
        self._database.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._database.execute("ROLLBACK" if error else "COMMIT")
        if isinstance(error, sqlite3.Error):
            raise AuditError("audit-personal", f"personal data could not be written: {error}") from error
