"""A lab for an ordinary user: inside a user namespace of their own, held open by a process that does nothing.

`enter` re-runs the same command inside that namespace, where the user is root over the lab's network namespaces and
over nothing else. The holder lives until ``down``; it is found again by a record in the user's runtime directory.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import stat
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from ringfort.errors import RingfortError
from ringfort.kernel import processes
from ringfort.lab import state

INSIDE = "RINGFORT_ROOTLESS"
"""Set in the environment of a command that runs inside the user namespace; its value is the environment's name."""

START_SECONDS = 10.0
_TOOLS = ("unshare", "nsenter", "mount")

# A /run of its own, for names of namespaces and state; then nothing, with no pipe of ours held open.
_HOLD = (
    "mount -t tmpfs -o mode=755,size=64m ringfort /run && mkdir /run/netns && echo ready"
    " && exec sleep infinity >/dev/null 2>&1"
)
_RUN_THERE = 'cd "$0" && exec "$@"'
_WHY_NOT = (
    "allow it (sysctl kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns) or run as root"
)


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that keeps a user namespace open."""

    pid: int
    started: str

    @property
    def is_alive(self) -> bool:
        """Whether it is still there, and not another process with its id."""
        return bool(self.started) and processes.started(self.pid) == self.started


def is_inside() -> bool:
    """Whether this command runs inside the user namespace of an ordinary user's lab."""
    return INSIDE in os.environ


def enter(environment: str, *, make: bool = False, leave: bool = False) -> None:
    """Make sure that this command may work on the lab of an environment.

    Returns when it may: as root, or inside the user namespace already. Otherwise it runs the same command inside the
    user namespace and never returns.

    Args:
        make: make the user namespace if there is none (``up --rootless``); even root gets one then.
        leave: the user namespace is no longer needed when the command has succeeded (``down``).

    Raises:
        RingfortError: not root, and there is no user namespace to enter, or the kernel doesn't let us make one.
    """
    if is_inside():
        return
    holder = find(environment)
    if holder is None and not make:
        if os.geteuid() == 0:
            return
        raise RingfortError(
            "not-root",
            f"no lab of {environment!r} is up for this user, and the lab of the machine needs root",
            "run it as root, or build one of your own: ringfort up --rootless",
        )
    if holder is not None and not make and os.geteuid() == 0 and state.directory(environment).exists():
        return  # root has a lab of the machine and one of its own: the machine's comes first
    is_new = holder is None
    _run(environment, holder or hold(environment), leave=leave, even_when_it_fails=is_new)


def has_nothing(environment: str) -> bool:
    """Whether this user, not being root, has no lab of that name at all."""
    return not is_inside() and os.geteuid() != 0 and find(environment) is None


def _run(environment: str, holder: Holder, *, leave: bool, even_when_it_fails: bool) -> None:
    command = [
        *("nsenter", "--preserve-credentials", "--user", "--mount", "--net", f"--target={holder.pid}", "--"),
        *("sh", "-c", _RUN_THERE, os.getcwd(), *_this_command()),
    ]
    environ = os.environ | {INSIDE: environment}
    sys.stdout.flush()
    sys.stderr.flush()
    if not leave:
        os.execvpe(command[0], command, environ)  # noqa: S606 - our own words, no shell in between
    code = subprocess.run(command, env=environ, check=False).returncode
    if code == 0 or even_when_it_fails:
        release(environment)
    raise SystemExit(code)


def _this_command() -> list[str]:
    typed = Path(sys.argv[0])
    if typed.name == "ringfort" and os.access(typed, os.X_OK):
        return sys.argv  # so that it still knows how it was called
    return [sys.executable, "-m", "ringfort", *sys.argv[1:]]


# --- the holder ----------------------------------------------------------------------------------------------------


def runtime_directory() -> Path:
    """Where this user's records are kept: $XDG_RUNTIME_DIR, else a directory of their own under /tmp.

    Raises:
        RingfortError: that directory belongs to somebody else.
    """
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    fallback = Path(f"/tmp/ringfort-{os.getuid()}")  # noqa: S108 - its owner and mode are checked below
    where = Path(base) / "ringfort" if base and os.access(base, os.W_OK) else fallback
    where.mkdir(mode=0o700, exist_ok=True)
    found = where.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise RingfortError("unsafe-directory", f"{where} is not a directory of this user alone", "remove it")
    return where


def _record(environment: str) -> Path:
    return runtime_directory() / f"{environment}.holder"


def find(environment: str) -> Holder | None:
    """The holder of an environment's user namespace, if there is one and it lives."""
    try:
        pid, started = _record(environment).read_text().split()
        holder = Holder(int(pid), started)
    except (OSError, ValueError):
        return None
    except RingfortError:
        return None  # somebody else's directory in our place: what it says is not ours, and must not stop us
    return holder if holder.is_alive else None


def hold(environment: str) -> Holder:
    """Make a user namespace with its own network and /run, and a process that keeps it open.

    Raises:
        RingfortError: a tool is missing, or the kernel doesn't allow it.
    """
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        raise RingfortError("tool-missing", f"{' and '.join(missing)} not found", "install util-linux and mount")
    command = ["unshare", "--user", "--map-root-user", "--mount", "--net", "--", "sh", "-c", _HOLD]
    output, say = os.pipe2(os.O_CLOEXEC)
    errors, complain = os.pipe2(os.O_CLOEXEC)
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        actions = [(os.POSIX_SPAWN_DUP2, source, target) for source, target in ((nothing, 0), (say, 1), (complain, 2))]
        pid = os.posix_spawnp(command[0], command, _plain_environ(), file_actions=actions, setsid=True)
    finally:
        for descriptor in (say, complain, nothing):
            os.close(descriptor)
    with os.fdopen(output, "rb") as answers, os.fdopen(errors, "rb") as complaints:
        ready, _, _ = select.select([answers], [], [], START_SECONDS)
        if not ready or answers.readline() != b"ready\n":
            _end(pid)
            words = complaints.read().decode(errors="replace").strip().replace("\n", "; ")
            raise RingfortError("no-user-namespace", f"no user namespace for an ordinary user: {words}", _WHY_NOT)
    holder = Holder(pid, processes.started(pid))
    state.write_private(_record(environment), f"{holder.pid} {holder.started}\n".encode())
    return holder


def _plain_environ() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath)}


def release(environment: str) -> None:
    """End the holder: the kernel removes the user namespace with everything in it."""
    holder = find(environment)
    if holder is not None:
        _end(holder.pid)
    _record(environment).unlink(missing_ok=True)


def _end(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + START_SECONDS
        while processes.started(pid) and time.monotonic() < deadline:
            time.sleep(0.01)
        os.waitpid(pid, os.WNOHANG)
    except (ProcessLookupError, ChildProcessError):
        return  # gone already, or not a child of ours
