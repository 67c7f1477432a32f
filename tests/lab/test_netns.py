"""Namespaces of ours are marked, and entering one leaves nothing behind in the thread."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from ringfort.errors import RingfortError
from ringfort.lab import netlink, netns
from tests.lab import worlds

pytestmark = pytest.mark.lab

OWNER = worlds.name_of("netns")
NAME = f"rf-{OWNER}.x"


def here() -> int:
    return os.stat("/proc/thread-self/ns/net").st_ino


@pytest.fixture
def space() -> Iterator[str]:
    netns.prepare_directory()
    netns.create(NAME, OWNER)
    yield NAME
    netns.delete(NAME)


def test_making_and_entering_leave_this_thread_where_it_was(space: str) -> None:
    before = here()
    with netns.inside(space):
        assert here() == netns.identity(space) != before
    assert here() == before
    with pytest.raises(ZeroDivisionError), netns.inside(space):
        _ = 1 / 0
    assert here() == before


def test_a_namespace_is_known_by_its_mark_and_not_by_its_name(space: str) -> None:
    with netlink.Connections() as connections:
        assert netlink.belongs_to(connections, space, OWNER)
        assert not netlink.belongs_to(connections, space, OWNER[:-1])
        subprocess.run(["ip", "netns", "delete", space], check=True)
        subprocess.run(["ip", "netns", "add", space], check=True)
        assert not netlink.belongs_to(connections, space, OWNER)


def test_the_empty_file_of_a_name_is_no_namespace_and_can_be_used(space: str) -> None:
    netns.delete(space)
    netns.path(space).touch()
    assert not netns.is_namespace(space)
    assert netns.identity(space) is None
    netns.create(space, OWNER)
    assert netns.is_namespace(space)


def test_deleting_twice_is_fine(space: str) -> None:
    netns.delete(space)
    netns.delete(space)
    assert netns.names(NAME) == []


def test_entering_what_is_not_there_is_told(space: str) -> None:
    with pytest.raises(RingfortError, match="there is no namespace"), netns.inside("rf-nowhere.x"):
        pass


def test_only_so_many_connections_stay_open(space: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netlink.Connections, "LIMIT", 1)
    other = f"{NAME}y"
    netns.create(other, OWNER)
    try:
        with netlink.Connections() as connections:
            first = connections.to(space)
            assert connections.to(space) is first
            connections.to(other)
            assert connections.to(space) is not first
            assert netlink.belongs_to(connections, space, OWNER)
    finally:
        netns.delete(other)
