"""The process of one HAProxy, of an enforcement point or an edge.

It is started, changed without dropping a connection, adopted, ended.
"""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from ringfort.errors import RingfortError
from ringfort.gateway import runtime
from ringfort.gateway.haproxy import CERTIFICATES, Configuration
from ringfort.gateway.material import Material, in_file
from ringfort.gateway.place import Place
from ringfort.gateway.runtime import RuntimeRefusedError
from ringfort.kernel.processes import Process

PROGRAM = "/usr/sbin/haproxy"
"""Where Debian puts it."""
WITHOUT_RIGHTS = ("/usr/bin/setpriv", "--ambient-caps=-net_admin,-sys_admin", "--inh-caps=-net_admin,-sys_admin", "--")
"""Before it, for whoever is not root, and so can't let HAProxy change to an account without rights: of ours it keeps
that to open ports below 1024."""
START_SECONDS = 10.0
RECORD = "haproxy.json"
LOG = "haproxy.log"
VARIABLE = "RINGFORT_CONFIGURATION"
LARGE = "RINGFORT_LARGE"


def account() -> str:
    """The account that Debian's package made for HAProxy, if we can change to it: not so inside a user namespace that
    has only our own, nor unless we are root."""
    try:
        number = pwd.getpwnam("haproxy").pw_uid
        ranges = [list(map(int, line.split())) for line in Path("/proc/self/uid_map").read_text().splitlines()]
    except (KeyError, OSError):
        return ""
    is_there = any(first <= number < first + count for first, _, count in ranges)
    return "haproxy" if is_there and os.geteuid() == 0 else ""


def running(files: Place) -> Process | None:
    """The process that serves these files, whoever started it; None when it is gone.

    It is asked itself; the record is for one that no longer answers.
    """
    try:
        information = runtime.ask(files.socket, "show info")
        (pid,) = (line.partition(": ")[2] for line in information.splitlines() if line.startswith("Pid: "))
        process = Process.of(int(pid))
    except (RuntimeRefusedError, ValueError):
        found = _recorded(files)
        if found is None:
            return None
        process = found
    return process if process.is_running else None


def _recorded(files: Place) -> Process | None:
    """The process that was started here last, by `apply`."""
    try:
        record = json.loads((Path(files.directory) / RECORD).read_text())
        return Process(int(record["pid"]), str(record["started"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_here(process: Process) -> bool:
    """Whether it serves the network namespace of this thread, and not one that is gone."""
    try:
        return Path(f"/proc/{process.pid}/ns/net").stat().st_ino == Path("/proc/thread-self/ns/net").stat().st_ino
    except OSError:
        return False


def loaded(files: Place) -> str:
    """The digest of the configuration that runs in the network namespace of this thread; "" when none answers."""
    process = running(files)
    if process is None or not _is_here(process):
        return ""
    try:
        return runtime.variable(files.socket, VARIABLE)
    except RuntimeRefusedError:
        return ""


def apply(wanted: Configuration, files: Place, write: Callable[[Path, bytes], None], program: str = PROGRAM) -> str:
    """Run ``wanted`` in the network namespace of this thread, with as little change as it takes.

    What runs already keeps its connections: other callers, renewed certificates, another trust bundle and new
    revocation lists go in through the runtime interface; another configuration starts a new process that takes the
    listening sockets over, and the old one leaves with its last connection.

    Args:
        write: replaces a file, whole or not at all.
        program: HAProxy's.

    Returns:
        ``kept``, ``callers``, ``renewed``, ``restarted`` or ``started``.

    Raises:
        RingfortError: a certificate or list can't be read, or HAProxy refuses something; what ran goes on.
    """
    Path(files.directory).mkdir(mode=0o700, parents=True, exist_ok=True)
    old = running(files)
    if old is not None and not _is_here(old):
        old.end()
        old = None
    # One that somebody else has started may say that it is what it isn't.
    now = loaded(files) if old is not None and old == _recorded(files) else ""
    for path, text in wanted.files.items():
        write(Path(path), text.encode())
    if old is not None and now == wanted.digest:
        done = "callers" if _bring_callers(wanted, files) else "kept"
        stale = _stale(wanted, files)
        if _renew(stale, files):
            return "renewed" if stale else done
    _start(files, old if now else None, _large(wanted), program)
    if old is not None and not now:
        old.end()  # it doesn't answer, or isn't ours: it hands nothing over
    return "restarted" if old else "started"


def is_current(wanted: Configuration, files: Place) -> bool:
    """Whether exactly ``wanted`` runs in the network namespace of this thread, so that `apply` would change nothing."""
    return not differences(wanted, files)


def differences(wanted: Configuration, files: Place) -> tuple[str, ...]:
    """What is not as ``wanted`` of what runs in the network namespace of this thread, and of its files; in words."""
    now = loaded(files)
    if not now:
        return ("- the process: none runs, or it doesn't answer",)
    found = [f"{Path(path).name}: another content" for path, text in wanted.files.items() if not _is(path, text)]
    if running(files) != _recorded(files):
        found.append("the process: another one, that was not started here")
    if now != wanted.digest:
        return (*found, "the process: it runs another configuration")
    for path, callers in _other_callers(wanted, files).items():
        held = runtime.entries(files.socket, path)
        found += [f"{Path(path).name}: - {caller}" for caller in sorted(callers - held)]
        found += [f"{Path(path).name}: + {caller}" for caller in sorted(held - callers)]
    for path, text in wanted.files.items():
        if path.endswith(CERTIFICATES) and runtime.certificate_list(files.socket, path) != text:
            found.append(f"{Path(path).name}: the process has another list")
    found += [f"{one.path}: the process holds another content" for one in _stale(wanted, files)]
    return tuple(found)


def _is(path: str, text: str) -> bool:
    try:
        return Path(path).read_text() == text
    except (OSError, UnicodeDecodeError):
        return False


def _read(material: Material) -> bytes:
    try:
        return Path(material.path).read_bytes()
    except OSError as error:
        raise RuntimeRefusedError(f"{material.path} can't be read: {error.strerror}") from error


def _stale(wanted: Configuration, files: Place) -> list[Material]:
    """The files whose content is another than the running process holds."""
    large = runtime.variable(files.socket, LARGE)

    def is_held(material: Material) -> bool:
        pem = _read(material)
        if runtime.is_large(pem):
            return _digest(material, pem) in large
        return in_file(material.kind, pem) == runtime.held(files.socket, material)

    return [material for material in dict.fromkeys(wanted.material) if not is_held(material)]


def _digest(material: Material, pem: bytes) -> str:
    return hashlib.sha256(f"{material.path}\n".encode() + pem).hexdigest()


def _large(wanted: Configuration) -> str:
    """What a process is told to remember of the files that are too large to be asked for."""
    contents = {material: _read(material) for material in wanted.material}
    return " ".join(_digest(material, pem) for material, pem in contents.items() if runtime.is_large(pem))


def _other_callers(wanted: Configuration, files: Place) -> dict[str, frozenset[str]]:
    """By list, the callers that it should have, of those that have others."""
    lists = {path: frozenset(text.split()) for path, text in wanted.files.items() if path.endswith(".callers")}
    return {path: callers for path, callers in lists.items() if runtime.entries(files.socket, path) != callers}


def _renew(materials: list[Material], files: Place) -> bool:
    """Give the running process other contents of files; False if one doesn't go in, or isn't used afterwards."""
    if materials and runtime.variable(files.socket, LARGE):
        return False  # what it read at its start is what it says it holds, until another takes over
    return all(
        runtime.replace_material(files.socket, material, _read(material)) and runtime.is_used(files.socket, material)
        for material in materials
    )


def _bring_callers(wanted: Configuration, files: Place) -> bool:
    """Bring the lists of the running process up to date; whether any differed."""
    changed = _other_callers(wanted, files)
    for path, callers in changed.items():
        runtime.replace_entries(files.socket, path, callers)
    return bool(changed)


_children: set[int] = set()
"""Those that this process has started and that have not been waited for."""


def reap() -> None:
    """Let go of those started by this process that have ended: whoever lives as long as they do has to call it."""
    for pid in list(_children):
        try:
            ended = os.waitpid(pid, os.WNOHANG)[0] != 0
        except ChildProcessError:
            ended = True
        if ended:
            _children.discard(pid)


def _start(files: Place, old: Process | None, large: str = "", program: str = PROGRAM) -> None:
    directory = Path(files.directory)
    words = [*(WITHOUT_RIGHTS if os.geteuid() else ()), program, "-db", "-f", files.configuration]
    if old is not None:
        words += ["-x", files.socket, "-sf", str(old.pid)]
    log = os.open(directory / LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        child = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={"PATH": os.defpath, LARGE: large},
        )
    except OSError as error:
        message = f"{words[0]} can't be started: {error.strerror}"
        raise RingfortError("enforcement-program", message, "apt install haproxy") from error
    finally:
        os.close(log)
    _wait(files, child)
    process = Process.of(child.pid)
    temporary = directory / f"{RECORD}.new"
    temporary.write_text(json.dumps({"pid": process.pid, "started": process.started}))
    temporary.rename(directory / RECORD)


def _wait(files: Place, child: subprocess.Popen[bytes]) -> None:
    """Until the new process answers; what ran before goes on if it never does."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if child.poll() is not None:
            break
        process = running(files)
        if process is not None and process.pid == child.pid:
            child.returncode = 0  # it stays; see `reap`
            _children.add(child.pid)
            return
        time.sleep(0.01)
    child.kill()
    child.wait()
    words = (Path(files.directory) / LOG).read_text(errors="replace").strip().splitlines()
    alerts = [line.partition(": ")[2] for line in words if line.startswith("[ALERT]")] or words
    raise RuntimeRefusedError(f"HAProxy refuses its configuration: {alerts[0] if alerts else 'no reason given'}")


def end(files: Place) -> bool:
    """End the process if it runs; whether it did."""
    process = running(files)
    ended = process.end() if process is not None else False
    for path in (files.socket, f"{files.directory}/{RECORD}"):
        Path(path).unlink(missing_ok=True)
    return ended
