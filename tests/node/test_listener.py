"""Hearing of versions, with a controller that is a directory and a clock that is turned."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ringfort.node.disk import Disk
from ringfort.node.errors import ControllerError
from ringfort.node.journal import Revision
from ringfort.node.listener import Listener
from ringfort.node.policy import closed_policy
from ringfort.node.ports import Desired
from ringfort.publishing.fetching import DirectoryFetcher, UnreachableError
from ringfort.publishing.trust import Trust
from tests.publishing.house import DAY, NOW, House, build


class Silent:
    """A controller that serves files, and answers no question."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def desired(self, known: Desired, seconds: float) -> Desired:
        raise ControllerError("unreachable", "no answer")

    def renew(self, csr: str, identity: str = "") -> str:
        raise ControllerError("unreachable", "no answer")

    def lists(self) -> bytes:
        raise ControllerError("unreachable", "no answer")

    def bundle(self) -> bytes:
        raise ControllerError("unreachable", "no answer")

    def report(self, document: dict[str, Any], *, fresh: bool) -> None:
        raise ControllerError("unreachable", "no answer")

    def fetch(self, path: str) -> Iterator[bytes]:
        return DirectoryFetcher(self.directory).fetch(path)

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def house(tmp_path: Path) -> House:
    return build(tmp_path)


class Heard:
    """A listener, and what it has said."""

    def __init__(self, directory: Path, house: House, now: datetime) -> None:
        self.disk = Disk(directory)
        self.disk.hold()
        Trust.pin(self.disk.trust, house.metadata("1.root.json").read_bytes())
        self.prepared: list[Revision] = []
        self.alerts: list[tuple[str, str]] = []
        self.stop = threading.Event()
        self.listener = Listener(
            "nobody",
            self.disk,
            Silent(house.directory),
            closed_policy([], []),
            lambda policy: self.prepared.append(policy.revision),
            lambda kind, what: self.alerts.append((kind, what)),
            self.stop,
            60.0,
            now=lambda: now,
        )

    def updated(self) -> Heard:
        self.listener._update()
        return self


def test_a_version_is_compiled_and_lies_on_the_disk_before_it_is_told(house: House, tmp_path: Path) -> None:
    house.publish(1)
    heard = Heard(tmp_path / "state", house, NOW).updated()
    (revision,) = heard.prepared
    assert revision.version == 1
    assert heard.disk.policy(revision) is not None
    assert heard.alerts == []
    heard.disk.release()


def test_what_is_known_already_is_not_told_again(house: House, tmp_path: Path) -> None:
    house.publish(1)
    heard = Heard(tmp_path / "state", house, NOW).updated().updated()
    assert len(heard.prepared) == 1
    heard.disk.release()


def test_before_anything_is_published_nothing_is_alarming(house: House, tmp_path: Path) -> None:
    heard = Heard(tmp_path / "state", house, NOW).updated()
    assert (heard.prepared, heard.alerts) == ([], [])
    heard.disk.release()


def test_a_controller_that_keeps_a_node_from_news_is_noticed(house: House, tmp_path: Path) -> None:
    house.publish(1)
    heard = Heard(tmp_path / "state", house, NOW).updated()
    later = NOW + 30 * DAY
    heard.listener.now = lambda: later
    heard.updated()
    ((kind, what),) = heard.alerts
    assert kind == "metadata-refused"
    assert what.startswith("frozen: ")
    heard.updated()
    assert len(heard.alerts) == 1, "once, not at every look"
    assert len(heard.prepared) == 1
    heard.disk.release()


def test_what_was_good_before_a_restart_needs_no_controller(house: House, tmp_path: Path) -> None:
    house.publish(1)
    heard = Heard(tmp_path / "state", house, NOW).updated()
    heard.disk.release()
    again = Heard(tmp_path / "state", house, NOW + timedelta(hours=1))
    again.listener._begin()
    assert again.prepared == heard.prepared
    again.disk.release()


class Hiccup(Silent):
    """A controller that says what is in force, and does not serve it the first time."""

    def __init__(self, directory: Path, heard: Heard) -> None:
        super().__init__(directory)
        self.heard, self.claims, self.fetches = heard, 0, 0

    def desired(self, known: Desired, seconds: float) -> Desired:
        self.claims += 1
        if known.version == 1:
            self.heard.stop.set()
        return Desired(1)

    def fetch(self, path: str) -> Iterator[bytes]:
        self.fetches += 1
        if self.fetches <= 2:
            raise UnreachableError(path)
        return super().fetch(path)


def test_a_version_that_could_not_be_fetched_is_asked_for_again(house: House, tmp_path: Path) -> None:
    house.publish(1)
    heard = Heard(tmp_path / "state", house, NOW)
    heard.listener.controller = Hiccup(house.directory, heard)
    heard.listener._wait = lambda _seconds: None
    heard.listener.run()
    assert [revision.version for revision in heard.prepared] == [1]
    heard.disk.release()
