"""The processes of a lab's control plane: started in a namespace, noted, found again, ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict

from ringfort.errors import RingfortError
from ringfort.kernel import netns
from ringfort.kernel.processes import Process
from ringfort.lab import state
from ringfort.lab.plane import Plane

POLL_SECONDS = 0.05
RECORD = "processes.json"
CONTROLLER = "controller"
"""The name of the controller's process."""


RINGFORT = (sys.executable, "-m", "ringfort")


def start(plane: Plane, name: str, host: str, words: list[str], program: Sequence[str] = RINGFORT) -> None:
    """Start a program with these words in the namespace of a host; its output goes to the log of that name."""
    log = os.open(plane.directory / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        with netns.inside(plane.place(host)):
            child = subprocess.Popen(
                [*program, *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
    finally:
        os.close(log)
    child.returncode = 0  # it stays; nobody waits for it
    note(plane, name, Process.of(child.pid))


def note(plane: Plane, name: str, process: Process) -> None:
    """Remember which process has this name."""
    noted = state.load(plane.environment.name, RECORD)
    state.save(plane.environment.name, RECORD, noted | {name: asdict(process)})


def running(plane: Plane, name: str) -> Process | None:
    """The process of that name, if it runs."""
    entry = state.load(plane.environment.name, RECORD).get(name)
    process = Process(int(entry["pid"]), str(entry["started"])) if entry else None
    return process if process is not None and process.is_running else None


def first_witness(plane: Plane) -> str:
    """The name of the witness's first process; "" where nobody keeps a log."""
    if not plane.control.witness:
        return ""
    return f"witness-{plane.addresses(plane.control.witness)[0].version}"


def end_one(plane: Plane, name: str) -> None:
    """End the process of that name, if it runs."""
    process = running(plane, name)
    if process is not None:
        process.end()


def last_words(plane: Plane, name: str) -> str:
    """The last line of its log."""
    lines = log(plane, name).strip().splitlines()
    return lines[-1] if lines else "no reason given"


def log(plane: Plane, name: str) -> str:
    """All that it said so far."""
    try:
        return (plane.directory / f"{name}.log").read_text(errors="replace")
    except OSError:
        return ""


def end(environment: str) -> bool:
    """End everything of a lab's control plane, nodes first; whether anything ran."""
    processes = [Process(int(e["pid"]), str(e["started"])) for e in state.load(environment, RECORD).values()]
    alive = [process for process in processes if process.is_running]
    for process in alive:
        os.kill(process.pid, signal.SIGCONT)  # one that was paused could not end
        os.kill(process.pid, signal.SIGTERM)
    for process in alive:
        process.end()
    return bool(alive)


def until(
    done: Callable[[], bool], seconds: float, code: str, message: str, detail: Callable[[], str] = lambda: ""
) -> None:
    """Wait until something is done.

    Raises:
        RingfortError: it isn't in time; ``detail`` says what is the matter then.
    """
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            words = detail()
            raise RingfortError(code, f"{message}: {words}" if words else message, "run `ringfort up` again")
        time.sleep(POLL_SECONDS)
