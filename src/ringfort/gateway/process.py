"""The process of an enforcement point: started, changed without dropping a connection, adopted, ended."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from ringfort.gateway import runtime
from ringfort.gateway.haproxy import Configuration, Files
from ringfort.gateway.runtime import RuntimeRefusedError
from ringfort.kernel.processes import Process

PROGRAM = "/usr/sbin/haproxy"
START_SECONDS = 10.0
RECORD = "haproxy.json"
LOG = "haproxy.log"
VARIABLE = "RINGFORT_CONFIGURATION"


def content(*paths: str) -> str:
    """SHA-256 of what files hold, as `Guarded` and `Files` ask for it; names that are "" are left out."""
    digest = hashlib.sha256()
    for path in paths:
        if path:
            data = Path(path).read_bytes()
            digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()


def running(files: Files) -> Process | None:
    """The process that serves these files, whoever started it; None when it is gone.

    It is asked itself; the record is for one that no longer answers.
    """
    try:
        information = runtime.ask(files.socket, "show info")
        (pid,) = (line.partition(": ")[2] for line in information.splitlines() if line.startswith("Pid: "))
        process = Process.of(int(pid))
    except (RuntimeRefusedError, ValueError):
        try:
            record = json.loads((Path(files.directory) / RECORD).read_text())
            process = Process(int(record["pid"]), str(record["started"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None
    return process if process.is_running else None


def _is_here(process: Process) -> bool:
    """Whether it serves the network namespace of this thread, and not one that is gone."""
    try:
        return Path(f"/proc/{process.pid}/ns/net").stat().st_ino == Path("/proc/thread-self/ns/net").stat().st_ino
    except OSError:
        return False


def loaded(files: Files) -> str:
    """The digest of the configuration that runs in the network namespace of this thread; "" when none answers."""
    process = running(files)
    if process is None or not _is_here(process):
        return ""
    try:
        return runtime.variable(files.socket, VARIABLE)
    except RuntimeRefusedError:
        return ""


def apply(wanted: Configuration, files: Files, write: Callable[[Path, bytes], None]) -> str:
    """Run ``wanted`` in the network namespace of this thread, with as little change as it takes.

    What runs already keeps its connections: other callers go in through the runtime interface; another configuration
    starts a new process that takes the listening sockets over, and the old one leaves with its last connection.

    Args:
        write: replaces a file, whole or not at all.

    Returns:
        ``kept``, ``callers``, ``restarted`` or ``started``.

    Raises:
        RuntimeRefusedError: HAProxy refuses the configuration; what ran goes on.
    """
    Path(files.directory).mkdir(mode=0o700, parents=True, exist_ok=True)
    old = running(files)
    if old is not None and not _is_here(old):
        old.end()
        old = None
    now = loaded(files) if old else ""
    for path, text in wanted.files.items():
        write(Path(path), text.encode())
    if old is not None and now == wanted.digest:
        return "callers" if _callers(wanted, files) else "kept"
    _start(files, old if now else None)
    if old is not None and not now:
        old.end()  # it doesn't answer, so it has nothing to hand over
    return "restarted" if old else "started"


def _callers(wanted: Configuration, files: Files) -> bool:
    """Bring the lists of the running process up to date; whether any differed."""
    changed = False
    for path, text in wanted.files.items():
        if path in (files.configuration, files.lua):
            continue
        callers = frozenset(text.split())
        if runtime.entries(files.socket, path) != callers:
            runtime.replace_entries(files.socket, path, callers)
            changed = True
    return changed


def _start(files: Files, old: Process | None) -> None:
    directory = Path(files.directory)
    words = [PROGRAM, "-db", "-f", files.configuration]
    if old is not None:
        words += ["-x", files.socket, "-sf", str(old.pid)]
    log = os.open(directory / LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    finally:
        os.close(log)
    _wait(files, child)
    process = Process.of(child.pid)
    temporary = directory / f"{RECORD}.new"
    temporary.write_text(json.dumps({"pid": process.pid, "started": process.started}))
    temporary.rename(directory / RECORD)


def _wait(files: Files, child: subprocess.Popen[bytes]) -> None:
    """Until the new process answers; what ran before goes on if it never does."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if child.poll() is not None:
            break
        process = running(files)
        if process is not None and process.pid == child.pid:
            child.returncode = 0  # it stays; nobody waits for it
            return
        time.sleep(0.01)
    child.kill()
    child.wait()
    words = (Path(files.directory) / LOG).read_text(errors="replace").strip().splitlines()
    alerts = [line.partition(": ")[2] for line in words if line.startswith("[ALERT]")] or words
    raise RuntimeRefusedError(f"HAProxy refuses its configuration: {alerts[0] if alerts else 'no reason given'}")


def end(files: Files) -> bool:
    """End the process if it runs; whether it did."""
    process = running(files)
    ended = process.end() if process is not None else False
    for path in (files.socket, f"{files.directory}/{RECORD}"):
        Path(path).unlink(missing_ok=True)
    return ended
