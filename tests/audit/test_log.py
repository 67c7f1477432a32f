"""The log on a disk: nothing acknowledged is lost, nothing is there twice, whatever happens to processes and disks."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ringfort.audit import committing
from ringfort.audit.committing import Committer, ThreadCommitter
from ringfort.audit.errors import AuditError
from ringfort.audit.journal import group
from ringfort.audit.log import Log
from ringfort.audit.sealing import NO_PREVIOUS, unseal
from ringfort.audit.tree import leaf_hash
from tests.audit.logs import ORIGIN, bodies, make

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    Log.create(tmp_path / "log", ORIGIN).close()
    return tmp_path / "log"


def all_bodies(place: Path) -> list[bytes]:
    with Log(place) as log:
        return log.bodies(0, log.size)


def assert_chained(place: Path) -> None:
    """Every record has its index and the hash of the one before it."""
    previous = NO_PREVIOUS
    with Log(place) as log, log.locked() as journal:
        for index, leaf in enumerate(journal.leaves):
            sealed = unseal(leaf)
            assert (sealed.index, sealed.previous) == (index, previous)
            previous = leaf_hash(leaf)


def test_records_get_the_next_numbers_and_are_there_after_opening_again(place: Path) -> None:
    with Log(place) as log:
        assert log.append(bodies(0, 3)) == range(3)
        assert log.append(bodies(3, 5)) == range(3, 5)
        assert log.append([]) == range(5, 5)
    assert all_bodies(place) == bodies(0, 5)
    assert_chained(place)


def test_repeating_an_append_at_its_place_changes_nothing(place: Path) -> None:
    with Log(place) as log:
        log.append(bodies(0, 4), first=0)
        assert log.append(bodies(0, 4), first=0) == range(4)
        assert log.append(bodies(2, 7), first=2) == range(2, 7)
    assert all_bodies(place) == bodies(0, 7)


def test_a_gap_and_a_conflict_are_refused(place: Path) -> None:
    with Log(place) as log:
        log.append(bodies(0, 4))
        with pytest.raises(AuditError, match="the log ends before record 6: it has 4") as caught:
            log.append(bodies(6, 7), first=6)
        assert caught.value.code == "audit-log-gap"
        with pytest.raises(AuditError, match="another record 3") as caught:
            log.append(bodies(4, 6), first=3)
        assert caught.value.code == "audit-log-conflict"
    assert all_bodies(place) == bodies(0, 4)


def test_what_is_no_body_is_refused_before_anything_is_written(place: Path) -> None:
    with Log(place) as log:
        for wrong in (b"", b"x", b'{"x":"' + b"x" * 65_500 + b'"}'):
            with pytest.raises(AuditError):
                log.append([*bodies(0, 1), wrong])
    assert all_bodies(place) == []


def test_another_name_is_refused(place: Path) -> None:
    with pytest.raises(AuditError, match=r"is shop\.example/audit, not other\.example"):
        Log.create(place, "other.example")
    with pytest.raises(AuditError, match="there is no log"):
        Log(place / "nowhere")


@pytest.mark.parametrize("cut", [1, 5, 17, 100, 400])
def test_a_group_that_was_not_written_whole_is_cut_off(place: Path, cut: int) -> None:
    with Log(place) as log:
        log.append(bodies(0, 2))
    journal = place / "private" / "journal"
    whole = journal.read_bytes()
    journal.write_bytes(whole + group([b"{}", b"x" * 500])[:cut])
    with Log(place) as log:
        assert log.append(bodies(2, 3)) == range(2, 3)
    assert all_bodies(place) == bodies(0, 3)
    assert_chained(place)


def test_space_without_data_is_cut_off(place: Path) -> None:
    """A file system may extend a file and lose, with the power, what was to stand there."""
    with Log(place) as log:
        log.append(bodies(0, 2))
    with (place / "private" / "journal").open("ab") as file:
        file.write(bytes(4096))
    with Log(place) as log:
        assert log.append(bodies(2, 3)) == range(2, 3)


def test_a_flipped_bit_in_an_acknowledged_record_stops_everything_and_destroys_nothing(place: Path) -> None:
    with Log(place) as log:
        log.append(bodies(0, 2))
        log.append(bodies(2, 4))
    journal = place / "private" / "journal"
    whole = journal.read_bytes()
    for at in [*range(120), *range(120, len(whole), 7)]:
        damaged = bytearray(whole)
        damaged[at] ^= 4
        journal.write_bytes(damaged)
        with pytest.raises(AuditError) as caught, Log(place) as log:
            log.append(bodies(4, 5))
        assert caught.value.code == "audit-journal-damaged"
        assert journal.read_bytes() == damaged
    journal.write_bytes(whole)
    assert all_bodies(place) == bodies(0, 4)


def test_a_journal_cut_below_what_was_published_is_noticed_and_not_written_on(tmp_path: Path) -> None:
    place = make(tmp_path, 20)
    journal = place / "private" / "journal"
    for length in (len(journal.read_bytes()) - 10, 63):
        os.truncate(journal, length)
        with Log(place) as log, pytest.raises(AuditError, match="ends before what was published"):
            log.append(bodies(20, 21))
        assert journal.stat().st_size == length


def test_a_journal_cut_below_what_was_acknowledged_is_noticed(place: Path) -> None:
    with Log(place) as log:
        log.append(bodies(0, 4))
        os.truncate(place / "private" / "journal", 100)
        with pytest.raises(AuditError, match="shorter than what was acknowledged"):
            log.append(bodies(4, 5))


@pytest.mark.lab
def test_a_full_disk_refuses_and_loses_nothing(small_disk: Path) -> None:
    acknowledged = 0
    with Log.create(small_disk / "log", ORIGIN) as log:
        with pytest.raises(AuditError) as caught:  # noqa: PT012  # one of them finds the disk full
            while True:
                log.append(bodies(acknowledged, acknowledged + 7))
                acknowledged += 7
        assert caught.value.code == "audit-log-full"
        assert "No space left" in caught.value.message
        with pytest.raises(AuditError):
            log.append(bodies(acknowledged, acknowledged + 7))
        assert log.size == acknowledged
    assert acknowledged > 100
    assert all_bodies(small_disk / "log") == bodies(0, acknowledged)
    subprocess.run(["mount", "-o", "remount,size=1m", str(small_disk)], check=True)
    with Log(small_disk / "log") as log:
        log.append(bodies(acknowledged, acknowledged + 7), first=acknowledged)
    assert all_bodies(small_disk / "log") == bodies(0, acknowledged + 7)
    assert_chained(small_disk / "log")


def test_a_disk_that_fails_to_make_durable_acknowledges_nothing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(file: int) -> None:
        raise OSError(5, "Input/output error")

    with Log(place) as log:
        log.append(bodies(0, 2))
        monkeypatch.setattr(os, "fdatasync", failing)
        with pytest.raises(AuditError, match="Input/output error"):
            log.append(bodies(2, 4))
        monkeypatch.undo()
        assert log.size == 2
        assert log.append(bodies(2, 3)) == range(2, 3)
    assert all_bodies(place) == bodies(0, 3)


NURSERY = """
import json, os, signal, sys
from ringfort.audit.log import Log
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
directory, acknowledged = sys.argv[1:]
for line in sys.stdin:
    name = line.strip()
    child = os.fork()
    if child:
        print(child, flush=True)
        continue
    told = os.open(f"{acknowledged}/{name}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    number = 0
    with Log(directory) as log:
        while True:
            texts = [json.dumps({"from": name, "number": number + i}).encode() for i in range(1 + number % 5)]
            log.append(texts)
            number += len(texts)
            os.write(told, b"%d\\n" % number)
"""
"""Starts a writer for each name it reads; each notes how many of its records it was told are durable."""


def gone(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False


def test_kill_9_at_random_moments_loses_nothing_acknowledged_and_doubles_nothing(place: Path, tmp_path: Path) -> None:
    """Two processes append at once; both are killed at a random moment, a hundred times."""
    chance = random.Random(6)
    acknowledged = tmp_path / "acknowledged"
    acknowledged.mkdir()
    command = [sys.executable, "-c", NURSERY, str(place), str(acknowledged)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as nursery:
        assert nursery.stdin is not None
        assert nursery.stdout is not None
        for round_ in range(100):
            nursery.stdin.write(b"%d-0\n%d-1\n" % (round_, round_))
            nursery.stdin.flush()
            writers = [int(nursery.stdout.readline()) for _ in range(2)]
            time.sleep(chance.uniform(0.002, 0.04))
            for writer in writers:
                os.kill(writer, signal.SIGKILL)
            while not all(map(gone, writers)):
                time.sleep(0.001)
        nursery.stdin.close()
    found: dict[str, list[int]] = {}
    for body in all_bodies(place):
        row = json.loads(body)
        found.setdefault(row["from"], []).append(row["number"])
    told = {path.name: int((path.read_text().split() or ["0"])[-1]) for path in acknowledged.iterdir()}
    for numbers in found.values():
        assert numbers == list(range(len(numbers))), "in order, none missing, none double"
    assert {name: count for name, count in told.items() if len(found.get(name, [])) < count} == {}
    assert sum(told.values()) > 200, "the writers did something"
    assert_chained(place)


def test_tasks_at_once_get_each_their_own_number(place: Path) -> None:
    async def many() -> list[range]:
        with Log(place) as log:
            async with Committer(log) as committer:
                return await asyncio.gather(*(committer.append(bodies(number, number + 1)) for number in range(500)))

    places = asyncio.run(many())
    written = all_bodies(place)
    assert sorted(place_.start for place_ in places) == list(range(500))
    assert all(written[place_.start] == bodies(number, number + 1)[0] for number, place_ in enumerate(places))
    assert_chained(place)


def test_a_group_is_answered_while_the_next_one_is_on_its_way_to_a_quick_disk(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_end = [threading.Event() for _ in range(3)], [threading.Event() for _ in range(3)]
    numbers = iter(range(3))

    def watched(file: int) -> None:
        number = next(numbers)
        begun[number].set()
        assert may_end[number].wait(10)

    monkeypatch.setattr(os, "fdatasync", watched)
    monkeypatch.setattr(committing, "ANSWER_SECONDS", 10.0)  # any disk is quick

    async def three_groups() -> None:
        with Log(place) as log:
            async with Committer(log) as committer:
                first = asyncio.create_task(committer.append(bodies(0, 1)))
                await asyncio.to_thread(begun[0].wait, 10)
                others = [asyncio.create_task(committer.append(bodies(n, n + 1))) for n in (1, 2)]
                await asyncio.sleep(0)
                may_end[0].set()
                await asyncio.to_thread(begun[1].wait, 10)
                assert await asyncio.wait_for(first, 5) == range(1)
                assert not any(other.done() for other in others), "these are not on the disk"
                may_end[1].set()
                may_end[2].set()
                assert [given.start for given in await asyncio.gather(*others)] == [1, 2]

    asyncio.run(three_groups())


def test_threads_at_once_get_each_their_own_number(place: Path) -> None:
    with Log(place) as log, ThreadPoolExecutor(16) as pool:
        committer = ThreadCommitter(log)
        places = list(pool.map(lambda number: committer.append(bodies(number, number + 1)), range(300)))
    assert sorted(place_.start for place_ in places) == list(range(300))
    assert sorted(all_bodies(place)) == sorted(bodies(0, 300))


@pytest.mark.parametrize("kind", ["tasks", "threads"])
def test_everybody_in_a_group_that_failed_is_told(place: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    def failing(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fdatasync", failing)
    with Log(place) as log:
        if kind == "tasks":

            async def three() -> list[object]:
                async with Committer(log) as committer:
                    waiting = (committer.append(bodies(number, number + 1)) for number in range(3))
                    return list(await asyncio.gather(*waiting, return_exceptions=True))

            outcomes = asyncio.run(three())
        else:
            committer = ThreadCommitter(log)
            with ThreadPoolExecutor(3) as pool:
                waiting = [pool.submit(committer.append, bodies(number, number + 1)) for number in range(3)]
            outcomes = [item.exception() for item in waiting]
    assert [isinstance(outcome, AuditError) and outcome.code for outcome in outcomes] == ["audit-log-full"] * 3
    assert all_bodies(place) == []
