"""The ACME server's database: SQLite in a file, or PostgreSQL by URL."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, insert, make_url, select, text
from sqlalchemy.exc import ArgumentError, IntegrityError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from ringfort.gateway.acme.tables import VERSION, metadata, settings
from ringfort.identity.errors import IdentityError

WRITERS = 0x41434D45
"""The advisory lock that writers of one PostgreSQL database hold in turn."""

BUSY_MILLISECONDS = 10_000
CONNECTIONS = 4
NONCE_KEY, TABLES = "nonce-key", "tables"


class Database:
    """Transactions on it. Writers take turns, over all servers of one database."""

    def __init__(self, url: str) -> None:
        """Open it and make what is missing.

        Raises:
            IdentityError: it can't be reached, or was made by a newer version.
        """
        self.engine = _engine(url)
        self._is_sqlite = self.engine.dialect.name == "sqlite"
        try:
            with self.writing() as connection:
                metadata.create_all(connection)
                version = self._kept(connection, TABLES, str(VERSION).encode())
                self.nonce_key = self._kept(connection, NONCE_KEY, os.urandom(32))
        except SQLAlchemyError as error:
            words = str(getattr(error, "orig", None) or error).strip().splitlines()[0][:300]
            raise IdentityError("database-unavailable", f"the database can't be opened: {words}") from error
        if int(version) > VERSION:
            raise IdentityError("database-newer", "the database was made by a newer version", "use that version")

    @staticmethod
    def _kept(connection: Connection, name: str, otherwise: bytes) -> bytes:
        found = connection.execute(select(settings.c.value).where(settings.c.name == name)).scalar_one_or_none()
        if found is None:
            connection.execute(insert(settings).values(name=name, value=otherwise))
        return otherwise if found is None else bytes(found)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction: committed at the end, rolled back on an error."""
        with self.engine.connect() as connection, connection.begin():
            if not self._is_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": WRITERS})
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads, all of it from one state."""
        options: dict[str, Any] = {"ringfort_reads": True}
        if not self._is_sqlite:
            options["isolation_level"] = "REPEATABLE READ"
        with self.engine.connect().execution_options(**options) as connection:
            yield connection

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


Conflict = IntegrityError
"""Something is there already."""


def _engine(url: str) -> Engine:
    hint = "sqlite:////PATH or postgresql://"
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise IdentityError("database-url", "the database's URL can't be read", hint) from error
    match parsed.get_backend_name():
        case "sqlite":
            return _sqlite(parsed.set(drivername="sqlite").render_as_string(hide_password=False))
        case "postgresql":
            timeouts = {"connect_timeout": 5, "application_name": "ringfort-acme"}
            parsed = parsed.set(drivername="postgresql+psycopg")
            return create_engine(parsed, pool_size=CONNECTIONS, pool_pre_ping=True, connect_args=timeouts)
        case other:
            raise IdentityError("database-url", f"{other} is no database that the ACME server knows", hint)


def _sqlite(url: str) -> Engine:
    path = make_url(url).database
    if path and path != ":memory:":  # the key of nonces is in it; what SQLite puts beside it has the same mode
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise IdentityError("database-unavailable", f"{path} can't be opened: {error.strerror}") from error
    engine = create_engine(url, poolclass=QueuePool, pool_size=CONNECTIONS, connect_args={"check_same_thread": False})

    @event.listens_for(engine, "connect")
    def settings_of(connection: Any, _record: object) -> None:  # noqa: ANN401  # whatever the driver gives
        connection.isolation_level = None  # transactions begin where we say, not where the driver guesses
        for pragma in (f"busy_timeout={BUSY_MILLISECONDS}", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        reads = connection.get_execution_options().get("ringfort_reads", False)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine
