"""Work beside: the same results as plain calls, whatever becomes of the other process."""

import os
import signal
import time
from functools import partial

import pytest

from ringfort.kernel.beside import Beside, side_by_side


def test_a_result_comes_from_another_process() -> None:
    assert Beside(os.getpid).result() != os.getpid()


def test_large_results_come_whole() -> None:
    assert Beside(lambda: b"x" * (1 << 22)).result() == b"x" * (1 << 22)


def test_what_the_job_raises_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        Beside(lambda: 1 // 0).result()


def test_what_a_killed_process_owes_is_done_here() -> None:
    here = os.getpid()

    def job() -> int:
        if os.getpid() != here:
            os.kill(os.getpid(), signal.SIGKILL)
        return os.getpid()

    assert Beside(job).result() == here


def test_what_cannot_be_sent_is_done_here() -> None:
    assert Beside(lambda: lambda: 7).result()() == 7


def test_results_stay_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(number: int) -> int:
        time.sleep(0.002 * (number % 3))
        return number

    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    jobs = [partial(slow, number) for number in range(40)]
    assert side_by_side(jobs) == list(range(40))


def test_one_processor_does_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert side_by_side([os.getpid, os.getpid]) == [os.getpid()] * 2
    assert side_by_side([]) == []


def test_a_failing_job_raises_and_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    forked, fork = [], os.fork

    def noting() -> int:
        forked.append(fork())
        return forked[-1]

    monkeypatch.setattr(os, "fork", noting)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    with pytest.raises(ZeroDivisionError):
        side_by_side([lambda: 1 // 0, lambda: 1 // 0])
    (pid,) = forked
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def test_a_process_killed_half_way_costs_nothing_but_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    here = os.getpid()

    def job() -> int:
        if os.getpid() != here:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.01)
        return 1

    assert side_by_side([job] * 10) == [1] * 10
