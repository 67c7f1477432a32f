"""What a node believes when all is well."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringfort.environment.serialise import from_bytes
from ringfort.publishing.errors import PublishingError
from ringfort.publishing.trust import Accepted, Code, Refused, Trust
from tests.publishing.house import HOUR, MINUTE, NOW, House, build, text


@pytest.fixture
def house(tmp_path: Path) -> House:
    return build(tmp_path)


def test_a_node_takes_the_version_that_enough_approvers_signed(house: House) -> None:
    house.publish(1, "alice", "carol")
    answer = house.update()
    assert isinstance(answer, Accepted)
    assert (answer.version, answer.data, answer.signers, answer.new) == (1, text(1), ("alice", "carol"), True)
    assert answer.environment == from_bytes(text(1))


def test_the_same_version_again_is_nothing_new(house: House) -> None:
    house.publish(1)
    house.update()
    answer = house.update()
    assert isinstance(answer, Accepted)
    assert (answer.version, answer.new) == (1, False)


def test_versions_follow_each_other_and_some_may_be_missed(house: House) -> None:
    for number in (1, 2, 3):
        house.publish(number)
        if number != 2:
            answer = house.update()
            assert isinstance(answer, Accepted)
            assert (answer.version, answer.data, answer.new) == (number, text(number), True)


def test_what_is_in_force_survives_a_restart_and_needs_nobody(house: House) -> None:
    house.publish(1)
    house.update()
    restarted = Trust(house.node.directory).last_good()
    assert restarted is not None
    assert (restarted.version, restarted.data, restarted.signers) == (1, text(1), ("alice", "bob"))


def test_nothing_is_in_force_before_the_first_version(house: House) -> None:
    answer = house.update()
    assert isinstance(answer, Refused)
    assert (answer.code, answer.alert) == (Code.UNPUBLISHED, False)
    assert house.node.last_good() is None


def test_a_refresh_keeps_the_version_and_its_freshness(house: House) -> None:
    house.publish(1)
    house.update()
    assert not house.repository.refresh(house.online, NOW + 10 * MINUTE)
    assert house.repository.refresh(house.online, NOW + 50 * MINUTE)
    answer = house.update(NOW + HOUR + 30 * MINUTE)
    assert isinstance(answer, Accepted)
    assert (answer.version, answer.new) == (1, False)
    assert house.node.expires() == NOW + HOUR + 50 * MINUTE


def test_another_root_is_not_pinned_over_the_one_that_is(house: House, tmp_path: Path) -> None:
    other = build(tmp_path / "other")
    with pytest.raises(PublishingError, match="another root is pinned"):
        Trust.pin(house.node.directory, other.metadata("1.root.json").read_bytes())
    Trust.pin(house.node.directory, house.metadata("1.root.json").read_bytes())


def test_a_node_that_pins_nothing_asks_nobody(tmp_path: Path, house: House) -> None:
    house.node = Trust(tmp_path / "bare")
    with pytest.raises(PublishingError, match="no root is pinned"):
        house.update()
