"""The TUF repository in the database: every controller serves the same, and a publication is one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import ColumnElement, Connection, insert, select, update

from ringfort.control.tables import repository_files


class DatabaseStore:
    """A `ringfort.publishing.storing.Store` in a transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def read(self, folder: str, name: str) -> bytes | None:
        """See `Store.read`."""
        content: bytes | None = self._connection.execute(
            select(repository_files.c.content).where(*_is(folder, name))
        ).scalar()
        return content

    def write(self, folder: str, name: str, content: bytes) -> None:
        """See `Store.write`."""
        done = self._connection.execute(update(repository_files).where(*_is(folder, name)).values(content=content))
        if not done.rowcount:
            self._connection.execute(insert(repository_files).values(folder=folder, name=name, content=content))

    def names(self, folder: str) -> tuple[str, ...]:
        """See `Store.names`."""
        rows = self._connection.execute(select(repository_files.c.name).where(repository_files.c.folder == folder))
        return tuple(rows.scalars())

    @contextmanager
    def alone(self) -> Iterator[None]:
        """See `Store.alone`: the transaction of a writer is alone already."""
        yield


def _is(folder: str, name: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return repository_files.c.folder == folder, repository_files.c.name == name
