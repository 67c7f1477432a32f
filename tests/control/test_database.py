"""Tables are made by migrations, on both databases, by several controllers at once; they are what the code expects."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import delete, insert, inspect, select, text, update

from ringfort.control.database import Database
from ringfort.control.errors import ControlError
from ringfort.control.tables import metadata, revisions
from tests.control import postgres


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'controller.db'}"
        return
    server = request.getfixturevalue("postgresql")
    with postgres.database(server, "migrations") as database:
        yield database


def test_migrations_make_exactly_the_tables_that_the_code_uses(url: str) -> None:
    database = Database(url)
    database.migrate()
    database.migrate()
    with database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        assert set(metadata.tables) | {"alembic_version"} == set(inspect(connection).get_table_names())
    database.close()


def test_several_controllers_may_start_at_once(url: str) -> None:
    databases = [Database(url) for _ in range(4)]
    failed: list[Exception] = []

    def start(database: Database) -> None:
        try:
            database.migrate()
        except ControlError as error:
            failed.append(error)

    threads = [threading.Thread(target=start, args=(database,)) for database in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for database in databases:
        database.close()
    assert failed == []


def test_a_database_of_a_newer_version_is_left_alone(url: str) -> None:
    database = Database(url)
    database.migrate()
    with database.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ControlError) as refused:
        database.migrate()
    assert refused.value.code == "database-newer"
    database.close()


def test_writers_of_several_controllers_take_turns(url: str) -> None:
    databases = [Database(url) for _ in range(3)]
    databases[0].migrate()
    with databases[0].writing() as connection:
        connection.execute(insert(revisions).values(topic="turns", number=0))

    def work(database: Database) -> None:
        for _ in range(20):
            with database.writing() as connection:
                number = connection.execute(select(revisions.c.number).where(revisions.c.topic == "turns")).scalar_one()
                connection.execute(update(revisions).where(revisions.c.topic == "turns").values(number=number + 1))

    threads = [threading.Thread(target=work, args=(database,)) for database in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with databases[0].reading() as connection:
        assert connection.execute(select(revisions.c.number).where(revisions.c.topic == "turns")).scalar_one() == 60
    for database in databases:
        database.close()


def test_what_sqlite_acknowledges_is_on_the_disk(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'controller.db'}")
    with database.reading() as connection:
        assert connection.execute(text("PRAGMA synchronous")).scalar_one() == 2  # FULL
        assert connection.execute(text("PRAGMA journal_mode")).scalar_one() == "wal"
    database.close()


def test_what_is_deleted_from_sqlite_is_overwritten(tmp_path: Path) -> None:
    database, secret = Database(f"sqlite:///{tmp_path / 'controller.db'}"), "a-value-that-has-to-go"
    database.migrate()
    for change in (insert(revisions).values(topic=secret, number=0), delete(revisions)):
        with database.writing() as connection:
            connection.execute(change)
        with database.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        kept = (tmp_path / "controller.db").read_bytes()
        assert (secret.encode() in kept) is (change.__visit_name__ == "insert")
    database.close()


@pytest.mark.parametrize(
    "wrong", ["nonsense", "mysql://x/y", "sqlite:////no/such/place/x.db", "postgresql://127.0.0.1:1/x"]
)
def test_a_database_that_cannot_be_had_is_said_so(wrong: str) -> None:
    with pytest.raises(ControlError) as refused:
        Database(wrong).migrate()
    assert refused.value.code in {"database-url", "database-unavailable"}
