"""Who changed the rules: the kernel's own word, within milliseconds, and in the namespace that is watched only."""

from __future__ import annotations

import os
import select
import subprocess
from collections.abc import Iterator

import pytest

from ringfort.errors import RingfortError
from ringfort.kernel import nft
from ringfort.kernel.changes import Author, Changes, author
from ringfort.lab import netns


@pytest.fixture
def space() -> Iterator[str]:
    name = f"rf-nk{os.getpid()}.x"
    netns.prepare_directory()
    netns.create(name, f"nk{os.getpid()}")
    yield name
    netns.delete(name)


def waited(changes: Changes) -> list[Author]:
    select.select([changes], [], [], 5)
    return changes.read()


@pytest.mark.lab
def test_a_change_names_the_process_that_made_it(space: str) -> None:
    with Changes(space) as changes:
        nft.run(space, "add table inet t")
        assert [found.pid for found in waited(changes)] == [os.getpid()]
        command = ["ip", "netns", "exec", space, "nft", "add", "table", "inet", "u"]
        with subprocess.Popen(command) as process:
            process.wait()
        (found,) = waited(changes)
        assert (found.pid, found.name) == (process.pid, "nft")


@pytest.mark.lab
def test_a_process_that_still_runs_is_named_with_its_user_and_command(space: str) -> None:
    with Changes(space) as changes:
        command = ["ip", "netns", "exec", space, "nft", "-i"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None
            process.stdin.write("add table inet t\n")
            process.stdin.flush()
            (found,) = waited(changes)
            process.communicate("quit\n")
        assert (found.user, found.command) == (os.getuid(), "nft -i")
        assert str(found).startswith(f"nft -i (pid {process.pid}, uid {os.getuid()}")


@pytest.mark.lab
def test_a_change_moves_the_generation_and_a_look_does_not(space: str) -> None:
    with Changes(space) as changes:
        before = changes.generation()
        nft.ruleset(space)
        assert changes.generation() == before
        nft.run(space, "add table inet t")
        assert changes.generation() != before


@pytest.mark.lab
def test_what_happens_in_another_namespace_is_not_heard(space: str) -> None:
    other = f"{space}y"
    netns.create(other, f"nk{os.getpid()}")
    try:
        with Changes(space) as changes:
            nft.run(other, "add table inet t")
            assert changes.read() == []
    finally:
        netns.delete(other)


@pytest.mark.lab
def test_lost_messages_are_a_change_by_somebody_unknown(space: str) -> None:
    with Changes(space) as changes:
        elements = ", ".join(f"10.0.{number >> 8}.{number & 255}" for number in range(20_000))
        nft.run(space, "add table inet t\nadd set inet t s { type ipv4_addr; }")
        nft.run(space, f"add element inet t s {{ {elements} }}")
        nft.run(space, f"delete element inet t s {{ {elements} }}")
        assert changes.read()  # whatever was lost, it is known that something was


@pytest.mark.lab
def test_a_namespace_that_is_not_there_cannot_be_watched() -> None:
    with pytest.raises(RingfortError, match="no namespace"):
        Changes("rf-nk-absent")


def test_a_number_that_belongs_to_another_process_now_is_not_taken_for_the_author() -> None:
    attributes = {2: (1).to_bytes(4, "big"), 3: b"not-init\0"}
    assert author(attributes) == Author(1, "not-init")


def test_an_author_says_as_much_as_is_known() -> None:
    assert str(Author()) == "somebody unknown"
    assert str(Author(7, "nft")) == "nft (pid 7)"
    assert str(Author(7, "nft", 0, 1000, "nft -f x")) == "nft -f x (pid 7, uid 0, logged in as uid 1000)"
