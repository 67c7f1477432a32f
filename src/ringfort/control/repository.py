"""The TUF repository in the database: every controller serves the same, and a publication is one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import ColumnElement, Connection, insert, select, update

from ringfort.control.tables import repository_files
from ringfort.publishing.errors import PublishingError
from ringfort.publishing.storing import METADATA


class DatabaseStore:
    """A `ringfort.publishing.storing.Store` in a transaction.

    Args:
        pinned: the approvers' first root, if it is known; with any other the repository is somebody else's.
    """

    def __init__(self, connection: Connection, pinned: bytes | None = None) -> None:
        self._connection, self._pinned = connection, pinned

    def read(self, folder: str, name: str) -> bytes | None:
        """See `Store.read`.

        Raises:
            PublishingError: ``root-pinned``: the first root is another one.
        """
        content: bytes | None = self._connection.execute(
            select(repository_files.c.content).where(*_is(folder, name))
        ).scalar()
        if content is not None:
            self._hold(folder, name, content)
        return content

    def write(self, folder: str, name: str, content: bytes) -> None:
        """See `Store.write`. Raises as `read` does."""
        self._hold(folder, name, content)
        done = self._connection.execute(update(repository_files).where(*_is(folder, name)).values(content=content))
        if not done.rowcount:
            self._connection.execute(insert(repository_files).values(folder=folder, name=name, content=content))

    def names(self, folder: str) -> tuple[str, ...]:
        """See `Store.names`."""
        rows = self._connection.execute(select(repository_files.c.name).where(repository_files.c.folder == folder))
        return tuple(rows.scalars())

    def _hold(self, folder: str, name: str, content: bytes) -> None:
        if self._pinned is not None and (folder, name) == (METADATA, "1.root.json") and content != self._pinned:
            raise PublishingError(
                "root-pinned",
                "the first root is not the one that this controller was given",
                "somebody else signed it: ask the approvers; restore the database, or correct approvers_root",
            )

    @contextmanager
    def alone(self) -> Iterator[None]:
        """See `Store.alone`: the transaction of a writer is alone already."""
        yield


def _is(folder: str, name: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return repository_files.c.folder == folder, repository_files.c.name == name
