"""The guest's first process: gets ready, waits to be told what the guest is, starts the application and looks after it.

Until the host says ``start`` the guest is nobody: no application, no address, no secret. That is where snapshots are
taken, so clones share nothing that matters; what they do share, the random generator's state and the clock, is made new
before anything of the start request is used.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import signal
import socket
import sys
import threading
import time
from typing import Any, NoReturn

from ringfort.compute.guest import account, devices, freshness, netlink, roots, verity, wire
from ringfort.compute.guest.checking import answers
from ringfort.compute.guest.launch import CGROUP, FAILED, PYTHON, Launch, Layers, become
from ringfort.compute.guest.relay import Relay
from ringfort.compute.guest.system import check, libc

STOP_SECONDS = 5.0
RESERVE_BYTES = 12 << 20
"""What the application never gets: else a hungry one has the kernel read the same files over and over."""

_STACK_BYTES = 256 << 10
_ALL_PAGES = 3  # MCL_CURRENT | MCL_FUTURE


class Guest:
    """What the guest knows of itself."""

    def __init__(self) -> None:
        # An application that uses all memory must not push out the code that has to end it.
        check(libc.mlockall(_ALL_PAGES), "keep the first process in memory")
        threading.stack_size(_STACK_BYTES)  # it is kept in memory, too
        roots.mount_fixed()
        self._control = os.open(devices.port(wire.CONTROL), os.O_RDWR | os.O_NONBLOCK)
        self._relay = Relay(os.open(devices.port(wire.LOG), os.O_WRONLY | os.O_NONBLOCK))
        self._lines = wire.Lines(wire.LARGEST_REQUEST)
        self._waiting = devices.let_go(devices.disk(wire.BASE))
        self._application = 0
        self._code: int | None = None
        self._lock = threading.Lock()
        self._address = "127.0.0.1"

    def run(self) -> None:
        """Serve the host's requests, forever."""
        inner, outer = socket.socketpair()
        inner.setblocking(False)
        outer.setblocking(False)
        signal.set_wakeup_fd(outer.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._selector = selectors.DefaultSelector()
        self._selector.register(inner, selectors.EVENT_READ, lambda: self._children(inner))
        self._selector.register(self._control, selectors.EVENT_READ, self._requests)
        self._tell({"event": "ready", "kernel": os.uname().release})
        while True:
            for key, _ in self._selector.select(None if self._relay.is_empty else 0.05):
                key.data()
            self._relay.flush()

    def _tell(self, message: dict[str, Any]) -> None:
        rest = memoryview(wire.encode(message))
        with self._lock:
            while rest:
                try:
                    rest = rest[os.write(self._control, rest) :]
                except BlockingIOError:
                    time.sleep(0.005)

    def _requests(self) -> None:
        try:
            data = os.read(self._control, 65536)
        except BlockingIOError:
            return
        if not data:  # the host's end is closed, as it is for a moment after a restore
            time.sleep(0.01)
            return
        for message in self._lines.feed(data):
            self._request(message)

    def _request(self, message: dict[str, Any]) -> None:
        answer: dict[str, Any]
        try:
            if message["do"] == "health":
                threading.Thread(target=self._health, args=(message,), daemon=True).start()
                return
            answer = {"ok": True} | getattr(self, f"_do_{message['do']}")(message)
        except Exception as error:  # noqa: BLE001  # the first process may not end; the host hears of it
            answer = {"ok": False, "error": f"{type(error).__name__}: {error}"[:500]}
        self._tell(answer | {"id": message.get("id")})

    def _do_start(self, message: dict[str, Any]) -> dict[str, Any]:
        freshness.reseed(bytes.fromhex(message["entropy"]))
        freshness.set_clock(int(message["clock"]))
        if self._application or self._code is not None:
            raise RuntimeError("the guest has been started already")
        devices.take(self._waiting)
        socket.sethostname(message["host-name"])
        network = netlink.Network(**message["network"])
        netlink.configure("eth0", network)
        if network.addresses:
            self._address = network.addresses[0].partition("/")[0]
        if message["application"] is not None:
            root = verity.Root(**message["application"])
            roots.mount_application(verity.activate(devices.disk(wire.APPLICATION), root, "application"))
        data = devices.disk(wire.DATA)
        if message["disk"] and data:
            roots.mount_data(data)
        words = dict(message["launch"])
        self._launch(Launch(**words | {"layers": Layers(**words["layers"]), "command": tuple(words["command"])}))
        return {"pid": self._application}

    def _do_warm(self, message: dict[str, Any]) -> dict[str, Any]:
        child = os.fork()
        if child == 0:
            warm_up(message["modules"])
        return {"code": os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}

    def _launch(self, launch: Launch) -> None:
        os.mkdir(CGROUP)
        memory = min(launch.memory << 20, available() - RESERVE_BYTES)
        for name, value in {"pids.max": launch.processes, "memory.max": memory}.items():
            with open(f"{CGROUP}/{name}", "w") as file:
                file.write(str(value))
        reader, writer = os.pipe2(os.O_NONBLOCK)
        os.set_blocking(writer, True)
        options = _input(launch)
        self._application = os.fork()
        if self._application == 0:
            become(launch, writer, options)
        os.close(writer)
        os.close(options)
        self._relay.read_from(reader, self._selector)

    def _do_stop(self, message: dict[str, Any]) -> dict[str, Any]:
        if self._application:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._application, signal.SIGTERM)
            self._wait(float(message.get("seconds", STOP_SECONDS)))
            with contextlib.suppress(OSError), open(f"{CGROUP}/cgroup.kill", "w") as file:
                file.write("1")
            self._wait(STOP_SECONDS)
        self._relay.flush()
        if os.path.ismount("/data"):
            libc.umount2(b"/data", 2)  # MNT_DETACH
            os.sync()
        return {"code": self._code}

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while self._application and time.monotonic() < until:
            self._reap()
            self._relay.pump()
            time.sleep(0.01)

    def _do_clock(self, message: dict[str, Any]) -> dict[str, Any]:
        before = time.time_ns()
        freshness.set_clock(int(message["clock"]))
        return {"was": before}

    def _health(self, message: dict[str, Any]) -> None:
        started = time.monotonic()
        reason = answers(self._address, int(message["port"]), str(message["path"]), float(message["timeout"]))
        taken = time.monotonic() - started
        self._tell({"id": message.get("id"), "ok": True, "healthy": not reason, "reason": reason, "seconds": taken})

    def _do_status(self, message: dict[str, Any]) -> dict[str, Any]:
        return {
            "running": bool(self._application),
            "code": self._code,
            "processes": _number(f"{CGROUP}/pids.current"),
            "memory": _number(f"{CGROUP}/memory.current"),
            "dropped": self._relay.dropped,
        }

    def _children(self, inner: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            inner.recv(4096)
        self._reap()

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._application:
                self._application, self._code = 0, os.waitstatus_to_exitcode(status)
                self._relay.pump()
                self._tell({"event": "exited", "code": self._code})


def warm_up(modules: list[str]) -> NoReturn:
    """Turn this process into an interpreter that loads some modules and ends, so that their files are in memory."""
    try:
        account.enter()
        os.execve(PYTHON, [PYTHON, "-B", "-c", f"import {','.join(modules)}"], {"PATH": os.defpath})  # noqa: S606
    finally:
        os._exit(FAILED)


def _input(launch: Launch) -> int:
    """A descriptor from which the application reads what its runner has to know."""
    descriptor = os.memfd_create("options")
    if launch.options:
        import json

        os.write(descriptor, json.dumps(launch.options).encode())
        os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def available() -> int:
    """Bytes of memory that could be had now, as the kernel estimates it; proc(5), meminfo."""
    with open("/proc/meminfo") as file:
        found = next(line for line in file if line.startswith("MemAvailable:"))
    return int(found.split()[1]) << 10


def _number(path: str) -> int:
    try:
        with open(path) as file:
            return int(file.read())
    except OSError:
        return 0


def main() -> None:
    """Be the guest's first process; whatever goes wrong ends the machine, not just the process."""
    try:
        Guest().run()
    except BaseException as error:  # there is nobody above
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
        with contextlib.suppress(OSError), open("/proc/sysrq-trigger", "w") as file:
            file.write("o")
        raise SystemExit(errno.EIO) from error
