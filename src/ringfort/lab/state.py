"""What a lab remembers between two commands: its directory, its lock, the processes it started.

Everything stands under /run and is gone after a restart of the machine, as the namespaces are.
"""

from __future__ import annotations

import fcntl
import json
import os
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ringfort.errors import RingfortError

ROOT = Path("/run/ringfort")
POLL_SECONDS = 0.1


def directory(environment: str) -> Path:
    """Where the lab of an environment keeps its state, keys and control socket; only its owner may look inside."""
    return ROOT / environment


def keys(environment: str) -> Path:
    """Where the keys of a lab are kept."""
    return directory(environment) / "keys"


def prepare(environment: str) -> Path:
    """Make the state directory, mode 0700."""
    ROOT.mkdir(mode=0o755, parents=True, exist_ok=True)
    where = directory(environment)
    where.mkdir(mode=0o700, exist_ok=True)
    return where


def forget(environment: str) -> None:
    """Remove everything that was remembered, the lock too; its holder calls this last."""
    shutil.rmtree(directory(environment), ignore_errors=True)
    _lock_file(environment).unlink(missing_ok=True)
    with suppress(OSError):  # other labs have something there
        ROOT.rmdir()


def _lock_file(environment: str) -> Path:
    return ROOT / f"{environment}.lock"


@contextmanager
def lock(environment: str, wait_seconds: float, on_wait: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of an environment's lab: one command at a time changes it. Ends with the process, however it ends.

    Args:
        wait_seconds: how long to wait for another command.
        on_wait: told once who holds the lock, when there is something to wait for.

    Raises:
        RingfortError: it is still held after that time.
    """
    descriptor = _acquire(environment, wait_seconds, on_wait)
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _acquire(environment: str, wait_seconds: float, on_wait: Callable[[str], None]) -> int:
    deadline = time.monotonic() + wait_seconds
    told = False
    while True:
        descriptor = _open_lock(environment)
        if _try(descriptor, environment):
            return descriptor
        holder = os.pread(descriptor, 20, 0).decode(errors="replace") or "unknown"
        os.close(descriptor)
        what = f"process {holder} is working on the lab of {environment!r}"
        if time.monotonic() > deadline:
            raise RingfortError("lab-busy", what, "try again when it has finished")
        if not told:
            on_wait(what)
            told = True
        time.sleep(POLL_SECONDS)


def _open_lock(environment: str) -> int:
    while True:
        ROOT.mkdir(mode=0o755, parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # a ``down`` took the directory away meanwhile
            return os.open(_lock_file(environment), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _try(descriptor: int, environment: str) -> bool:
    """Whether the lock is ours now: it is free, and still the file of that name and not one that ``down`` removed."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(descriptor), _lock_file(environment).stat())
    except (BlockingIOError, FileNotFoundError):
        return False


def load(environment: str, name: str) -> dict[str, Any]:
    """A JSON document of the state; empty when there is none, or when it can't be read (it is then made anew)."""
    try:
        document = json.loads((directory(environment) / name).read_text())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def save(environment: str, name: str, document: dict[str, Any]) -> None:
    """Write a JSON document of the state, whole or not at all."""
    write_private(directory(environment) / name, json.dumps(document, indent=1).encode())


def write_private(path: Path, data: bytes) -> None:
    """Replace a file, whole or not at all; only the owner may read it."""
    temporary = path.with_name(f"{path.name[:200]}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    temporary.rename(path)


def raise_file_limit() -> None:
    """Let this process hold as many files as it may. Not where libnftables is used: it can't take more than 1,024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
