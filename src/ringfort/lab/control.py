"""Start, ask and end the process behind a lab's services."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ringfort.environment.identity import IdentityCheck
from ringfort.errors import RingfortError
from ringfort.gateway.haproxy import check_from_json
from ringfort.kernel import processes
from ringfort.lab import listeners, state

START_SECONDS = 60.0
ANSWER_SECONDS = 10.0
END_SECONDS = 3.0
SOCKET, CONFIGURATION, LOG, RECORD = "services.sock", "services.json", "services.log", "process.json"


@dataclass(frozen=True, slots=True)
class Report:
    """What the process says of itself.

    Attributes:
        digest: of the configuration it runs.
        checks: by host, the services that it answers for itself: those without TLS.
        counts: by (service, host), how many callers of such a service it has heard, as ``accepted``.
    """

    digest: str
    checks: Mapping[str, tuple[IdentityCheck, ...]]
    counts: Mapping[tuple[str, str], Mapping[str, int]]


def ask(environment: str, order: Mapping[str, Any]) -> dict[str, Any]:
    """Send one order to the process and return its answer.

    Raises:
        RingfortError: it doesn't answer.
    """
    path = state.directory(environment) / SOCKET
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_SECONDS)
            connection.connect(str(path))
            connection.sendall(json.dumps(dict(order)).encode() + b"\n")
            with connection.makefile("rb") as answers:
                answer = json.loads(answers.readline() or b"null")
    except (OSError, ValueError) as error:
        raise RingfortError(
            "services-gone", f"the services of {environment!r} don't answer", "run `ringfort up` again"
        ) from error
    if not isinstance(answer, dict) or "error" in answer:
        raise RingfortError("services-refuse", f"the services of {environment!r} refuse {dict(order)}: {answer}")
    return answer


def read(environment: str) -> Report:
    """What the process enforces and has counted.

    Raises:
        RingfortError: it doesn't answer.
    """
    answer = ask(environment, {"do": "read"})
    found: dict[str, tuple[IdentityCheck, ...]] = {}
    counts = {}
    for site in answer["sites"]:
        if site["is-behind"]:
            continue
        check = check_from_json(site["check"], ())
        found[site["host"]] = (*found.get(site["host"], ()), check)
        counts[check.service, site["host"]] = {key: int(value) for key, value in site["counts"].items()}
    return Report(answer["digest"], found, counts)


class Starting:
    """A process that has been started and is not ready yet; `wait` for it."""

    def __init__(self, environment: str, pid: int, output: int) -> None:
        self._environment = environment
        self._pid = pid
        self._output = output

    def wait(self) -> None:
        """Until it is ready.

        Raises:
            RingfortError: it ended or said nothing in time; its last words are in the message.
        """
        with os.fdopen(self._output, "rb") as output:
            ready, _, _ = select.select([output], [], [], START_SECONDS)
            line = output.readline() if ready else b""
        if line != b"ready\n":
            end(self._environment)
            log = state.directory(self._environment) / LOG
            words = log.read_text(errors="replace").strip().splitlines()[-1:]
            raise RingfortError("services-failed", f"the services don't start: {' '.join(words) or 'no reason given'}")


def start(environment: str, wanted: tuple[listeners.Listener, ...], digest: str) -> Starting:
    """Start the process for the listeners; the caller has ended any other one.

    The process begins only when its id has been noted: it waits for a word, and leaves if we die before giving it.
    """
    directory = state.directory(environment)
    configuration = {
        "digest": digest,
        "listeners": [listener.to_json() for listener in wanted],
    }
    state.save(environment, CONFIGURATION, configuration)
    word, give = os.pipe2(os.O_CLOEXEC)
    output, say = os.pipe2(os.O_CLOEXEC)
    log = os.open(directory / LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-m", "ringfort.lab.services", str(directory)],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, source, target) for source, target in ((word, 0), (say, 1), (log, 2))],
            setsid=True,
        )
        state.save(environment, RECORD, {"pid": pid, "started": processes.started(pid)})
        os.write(give, b"go\n")
    finally:
        for descriptor in (word, give, say, log):
            os.close(descriptor)
    return Starting(environment, pid, output)


def running(environment: str) -> int:
    """The id of the process that ``up`` started, 0 when it is gone. Another process with its id is not taken for it."""
    record = state.load(environment, RECORD)
    pid = int(record.get("pid", 0))
    return pid if pid and record.get("started") and processes.started(pid) == record["started"] else 0


def end(environment: str) -> bool:
    """End the process if it runs; whether it did. It is asked, then made to."""
    pid = running(environment)
    if pid:
        for number in (signal.SIGTERM, signal.SIGKILL):
            _signal(pid, number)
            if _is_gone(environment):
                break
    (state.directory(environment) / SOCKET).unlink(missing_ok=True)
    (state.directory(environment) / RECORD).unlink(missing_ok=True)
    return bool(pid)


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _is_gone(environment: str) -> bool:
    deadline = time.monotonic() + END_SECONDS
    while time.monotonic() < deadline:
        if not running(environment):
            return True
        time.sleep(0.02)
    return False
