"""What an approver has seen of a repository is not shown otherwise later."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringfort.publishing.errors import PublishingError
from ringfort.publishing.metadata import next_targets
from ringfort.publishing.pinning import Memory
from tests.publishing.house import NOW, House, build, serve, signed, text


@pytest.fixture
def house(tmp_path: Path) -> House:
    house = build(tmp_path)
    house.publish(1)
    return house


def check(house: House, memory: Memory) -> str:
    return memory.check(house.repository, house.repository.published())


def test_what_only_goes_on_is_fine_and_the_first_root_is_told_once(house: House, tmp_path: Path) -> None:
    memory = Memory(tmp_path, "here")
    assert len(check(house, memory)) == 64
    house.publish(2)
    assert check(house, memory) == ""
    assert check(house, memory) == ""
    assert len(check(house, Memory(tmp_path, "elsewhere"))) == 64


def test_two_environments_of_one_version_are_refused(house: House, tmp_path: Path) -> None:
    memory = Memory(tmp_path, "here")
    check(house, memory)
    serve(house, signed(next_targets(None, text(9), {}, NOW), *house.of("alice", "bob")), text(9))
    with pytest.raises(PublishingError, match="is another environment than before"):
        check(house, memory)


def test_a_damaged_memory_is_no_licence(house: House, tmp_path: Path) -> None:
    memory = Memory(tmp_path, "here")
    check(house, memory)
    memory.path.write_text("{}")
    with pytest.raises(PublishingError, match="cannot be read"):
        check(house, memory)
