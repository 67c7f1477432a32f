"""Controllers on both databases."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from ringfort.control import silence
from tests.control import postgres
from tests.control.places import Places
from tests.control.running import Ground, Running, running

_number = itertools.count()


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most tests' nodes give one sign of life: on a busy machine they are not lost for that."""
    monkeypatch.setattr(silence, "LOST_SECONDS", 120.0)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of a PostgreSQL that was started for this run."""
    if postgres.programs() is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with postgres.server() as url:
        yield url


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def ground(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """Where a controller can run, with an empty database: each test runs on both kinds."""
    directory = tmp_path_factory.mktemp("control")
    if request.param == "sqlite":
        yield Ground(directory)
        return
    url = request.getfixturevalue("postgresql")
    with postgres.database(url, f"test{next(_number)}") as database:
        yield Ground(directory, database)


@pytest.fixture(scope="module")
def controller(ground: Ground) -> Iterator[Running]:
    """A controller that runs."""
    with running(ground) as controller:
        yield controller


@pytest.fixture(scope="module")
def places(ground: Ground) -> Places:
    """What the environment of this controller declares, for customers' instances."""
    return Places(ground)
