"""The database: SQLite in a file, or PostgreSQL by URL; opening, migrating, pausing writers of other controllers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from ringfort.control.errors import ControlError

MIGRATIONS = Path(__file__).parent / "migrations"
WRITERS = 0x52494E47
"""The advisory lock that writers of one PostgreSQL database hold in turn."""

BUSY_MILLISECONDS = 10_000
READERS = 4


class Database:
    """One controller's way to the database. Readers come from a pool; there is one writer."""

    def __init__(self, url: str) -> None:
        self.engine = _engine(url)
        self.is_sqlite = self.engine.dialect.name == "sqlite"

    def migrate(self) -> None:
        """Bring the tables to what this version needs; safe with several controllers starting at once.

        Raises:
            ControlError: the database can't be reached, or was made by a newer version.
        """
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        try:
            with self.writing() as connection:
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
        except SQLAlchemyError as error:
            raise ControlError("database-unavailable", f"the database can't be opened: {_short(error)}") from error
        except Exception as error:
            if "Can't locate revision" in str(error):
                raise ControlError(
                    "database-newer", "the database was made by a newer version", "use that version"
                ) from error
            raise

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads, all of it from one state."""
        options: dict[str, Any] = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        with self.engine.connect().execution_options(**options) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """The transaction of the only writer, over all controllers; committed at the end, rolled back on an error."""
        with self.engine.connect().execution_options(ringfort_writes=True) as connection, connection.begin():
            if not self.is_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": WRITERS})
            yield connection

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ControlError(
            "database-url", "the database's URL can't be read", "sqlite:////PATH or postgresql://"
        ) from error
    match parsed.get_backend_name():
        case "sqlite":
            return _sqlite(parsed.set(drivername="sqlite").render_as_string(hide_password=False))
        case "postgresql":
            return create_engine(
                parsed.set(drivername="postgresql+psycopg"),
                pool_size=READERS + 1,
                pool_pre_ping=True,
                pool_timeout=10,
                connect_args={"connect_timeout": 5, "application_name": "ringfort-controller"},
            )
        case other:
            raise ControlError(
                "database-url", f"{other} is no database that the controller knows", "sqlite or postgresql"
            )


def _sqlite(url: str) -> Engine:
    engine = create_engine(
        url, poolclass=QueuePool, pool_size=READERS + 1, pool_timeout=10, connect_args={"check_same_thread": False}
    )

    @event.listens_for(engine, "connect")
    def settings(connection: Any, _record: object) -> None:  # noqa: ANN401  # whatever the driver gives
        connection.isolation_level = None  # transactions begin where we say, not where the driver guesses
        pragmas = (f"busy_timeout={BUSY_MILLISECONDS}", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON")
        for pragma in (*pragmas, "secure_delete=ON"):  # a customer's key that is deleted has to be gone
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("ringfort_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _short(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).strip().splitlines()[0][:300]
