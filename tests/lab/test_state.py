"""What a lab remembers: whole files, one command at a time, and processes that are really the ones it started."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ringfort.errors import RingfortError
from ringfort.kernel import processes
from ringfort.lab import state


@pytest.fixture(autouse=True)
def _root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "ROOT", tmp_path / "ringfort")


def test_the_directory_is_private() -> None:
    assert state.prepare("shop").stat().st_mode & 0o777 == 0o700


def test_a_document_comes_back() -> None:
    state.prepare("shop")
    state.save("shop", "x.json", {"a": 1})
    assert state.load("shop", "x.json") == {"a": 1}
    assert (state.directory("shop") / "x.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["", "{", "[]", "\udcff"])
def test_a_broken_document_is_no_document(text: str) -> None:
    where = state.prepare("shop")
    (where / "x.json").write_bytes(text.encode(errors="surrogateescape"))
    assert state.load("shop", "x.json") == {}


def test_the_second_waits_for_the_first_and_is_told_who_it_is() -> None:
    told: list[str] = []
    release = threading.Event()

    def first(held: threading.Event) -> None:
        with state.lock("shop", 0, told.append):
            held.set()
            release.wait(10)

    held = threading.Event()
    thread = threading.Thread(target=first, args=[held])
    thread.start()
    held.wait(10)
    try:
        busy = f"process {os.getpid()} is working on the lab of 'shop'"
        with pytest.raises(RingfortError, match=busy), state.lock("shop", 0, told.append):
            pass
        told.clear()
        threading.Timer(0.2, release.set).start()
        with state.lock("shop", 10, told.append):
            assert told == [busy]
    finally:
        release.set()
        thread.join()


def test_who_waited_for_down_gets_a_lock_that_counts() -> None:
    got: list[str] = []
    started = threading.Event()

    def waits() -> None:
        with state.lock("shop", 10, lambda _: started.set()):
            with pytest.raises(RingfortError), state.lock("shop", 0, got.append):
                pass
            got.append("alone")

    thread = threading.Thread(target=waits)
    with state.lock("shop", 0, print):
        state.prepare("shop")
        thread.start()
        started.wait(10)
        state.forget("shop")
        assert not state.ROOT.exists()
    thread.join(10)
    assert got[-1] == "alone"


def test_two_environments_do_not_wait_for_each_other() -> None:
    with state.lock("shop", 0, print), state.lock("other", 0, print):
        pass


def test_a_lock_ends_with_its_process() -> None:
    code = (
        "import os, sys, pathlib\nfrom ringfort.lab import state\n"
        f"state.ROOT = pathlib.Path({str(state.ROOT)!r})\n"
        "with state.lock('shop', 0, print):\n    os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    with state.lock("shop", 0, print):
        pass


def test_a_process_is_known_by_its_start() -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    started = processes.started(process.pid)
    assert started
    assert started != processes.started(1)
    process.kill()
    process.wait()
    assert processes.started(process.pid) != started
