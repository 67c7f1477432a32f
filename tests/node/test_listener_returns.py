"""A controller that comes back is looked at before anything else; one that answers in haste is not asked in haste."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ringfort.node import listener
from ringfort.node.errors import ControllerError
from ringfort.node.ports import Desired
from tests.node.test_listener import Heard, Silent
from tests.publishing.house import DAY, NOW, House, build


@pytest.fixture
def house(tmp_path: Path) -> House:
    house = build(tmp_path)
    house.publish(1)
    return house


class Eager(Silent):
    """Answers at once that there is nothing new; ends the listener after some questions."""

    def __init__(self, directory: Path, heard: Heard) -> None:
        super().__init__(directory)
        self.heard, self.questions = heard, 0

    def desired(self, known: Any, seconds: float) -> Any:  # noqa: ANN401
        self.questions += 1
        if self.questions == 3:
            self.heard.stop.set()
        return known


def test_who_answers_at_once_that_there_is_nothing_new_is_asked_no_more_than_once_a_second(
    house: House, tmp_path: Path
) -> None:
    heard = Heard(tmp_path / "state", house, NOW).updated()
    waited: list[float] = []
    heard.listener._wait = waited.append
    heard.listener.controller = Eager(house.directory, heard)
    heard.listener._listen()
    assert waited == [listener.HASTE_SECONDS] * 3
    heard.disk.release()


def test_after_a_silence_the_metadata_is_looked_at_before_news_is_waited_for(house: House, tmp_path: Path) -> None:
    heard = Heard(tmp_path / "state", house, NOW)
    done: list[str] = []
    heard.listener._wait = lambda _: done.append("waited")

    class Returning(Silent):
        def desired(self, known: Any, seconds: float) -> Any:  # noqa: ANN401
            done.append("asked")
            if done.count("asked") == 2:
                heard.stop.set()
            raise ControllerError("unreachable", "no answer")

        def fetch(self, path: str) -> Iterator[bytes]:
            if path.endswith("timestamp.json"):
                done.append("looked")
            return super().fetch(path)

    heard.listener.controller = Returning(house.directory)
    heard.listener.run()
    assert done == ["looked", "asked", "waited", "looked", "asked", "waited"]
    heard.disk.release()


def test_what_was_refused_is_looked_at_again_when_a_controller_answers(house: House, tmp_path: Path) -> None:
    heard = Heard(tmp_path / "state", house, NOW + 30 * DAY).updated()
    assert [kind for kind, _ in heard.alerts] == ["metadata-refused"]
    controller = Eager(house.directory, heard)
    heard.listener.controller, heard.listener._wait = controller, lambda _: None
    heard.listener._listen()
    assert controller.questions == 1
    heard.disk.release()


def test_when_a_controller_names_another_root_the_metadata_is_looked_at_once(house: House, tmp_path: Path) -> None:
    heard = Heard(tmp_path / "state", house, NOW).updated()
    named = [1, 1, 2, 2]

    class Rotating(Silent):
        def desired(self, known: Desired, seconds: float) -> Desired:
            return replace(known, root=named.pop(0))

    heard.listener.controller, heard.listener._wait = Rotating(house.directory), lambda _: None
    heard.listener._listen()
    assert named == [2], "the first one named is only noted"
    heard.stop.set()
    heard.disk.release()
