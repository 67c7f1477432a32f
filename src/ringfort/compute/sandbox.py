"""One instance's sandbox: a virtual machine in a jail, from its start to its end.

A sandbox belongs to the thread that started it: its processes end with that thread (PR_SET_PDEATHSIG), so nobody is
left running whom nobody watches. Start sandboxes from a thread that lives as long as they should.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ringfort.compute import bandwidth, cgroups, jail, luks, machine
from ringfort.compute.appdisk import Disk
from ringfort.compute.conversation import Conversation
from ringfort.compute.errors import SandboxError
from ringfort.compute.guest.launch import Launch
from ringfort.compute.guest.netlink import Network
from ringfort.compute.image import Image
from ringfort.compute.logs import LogFile
from ringfort.compute.machine import Descriptors, Inside
from ringfort.compute.qmp import Monitor
from ringfort.compute.snapshots import Snapshot, copy_memory
from ringfort.compute.taps import open_tap
from ringfort.errors import RingfortError

RUNTIME = Path("/dev/shm/ringfort")  # noqa: S108  # made below with a mode; memory, and nothing else may hold a guest's
BOOT_SECONDS = 240.0
ANSWER_SECONDS = 30.0
HEALTH_SECONDS = 5.0
"""What a guest may take for an answer beyond the application's own time."""

START_PERCENT, START_SECONDS = 100, 10.0
"""For so long after its start an instance that declares less may use a whole processor: nothing is as much work as
beginning. What it may use beside others is the same all the time."""

ENTROPY_BYTES = 64
KVM = Path("/dev/kvm")
WARM = ("asyncio", "http.server", "json", "logging", "ssl")
"""Modules of Python whose files are in the memory of a snapshot, so that a restored guest needn't read them."""

NO_MAC = "02:00:00:00:00:01"


@dataclass(frozen=True, slots=True)
class Wire:
    """Where the instance's network card is plugged in.

    Args:
        namespace: the network namespace of the tap, by name; "" for this process's own.
        tap: the tap's name; made when it isn't there.
        network: what the guest is told to configure.
        bandwidth: Mbit/s that the guest is sent at most; 0 for no bound. What it sends, `bandwidth.rule` bounds, in the
            ruleset of whoever keeps the namespace's.
    """

    namespace: str
    tap: str
    mac: str
    network: Network
    bandwidth: int = 0


@dataclass(frozen=True, slots=True)
class Specification:
    """What a sandbox is made of.

    Args:
        name: of the instance; names its directory, its control groups and its host.
        uid: the account of its QEMU, which no other process of the machine has.
        memory: MiB of the guest.
        cpu_percent: of one processor, for all that the instance does once it has started.
        application: its read-only disk; None for a guest that only waits.
        disk: its own disk, made by `disks.make`; None for none.
        disk_key: that it was made with; None if it is not encrypted.
        log: the file that keeps the end of what it writes.
    """

    name: str
    uid: int
    image: Image
    log: Path
    memory: int = 176
    cpus: int = 1
    cpu_percent: int = 100
    accelerator: str = "tcg"
    application: Disk | None = None
    disk: Path | None = None
    wire: Wire | None = None
    disk_key: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Status:
    """How a sandbox is.

    Args:
        state: ``stopped``, ``ready`` (booted, nothing started), ``running`` or ``exited``.
        code: the application's exit code, negative for a signal, once it has exited and told.
    """

    state: str
    code: int | None = None


class Sandbox:
    """One instance."""

    def __init__(self, specification: Specification, runtime: Path = RUNTIME) -> None:
        self.specification = specification
        self._directory = runtime / specification.name
        self._process: subprocess.Popen[bytes] | None = None
        self._monitor: Monitor | None = None
        self._guest: Conversation | None = None
        self._groups = cgroups.Groups()
        self._started = False
        self._calm: threading.Timer | None = None

    # From nothing to an instance.

    def start(self, launch: Launch, snapshot: Snapshot | None = None) -> None:
        """Boot, or restore from a snapshot, and start the application. When this returns its process runs; whether it
        answers, `health` says.

        Raises:
            SandboxError: something on the way fails; nothing is left running then.
        """
        self._refuse_running()
        with self._or_nothing():
            if snapshot is None:
                self.boot()
            else:
                self.restore(snapshot)
            self.run(launch)

    def boot(self, *, in_file: bool = False, seconds: float = BOOT_SECONDS) -> None:
        """Boot a guest that waits.

        Args:
            in_file: keep its memory in a file, as `snapshot` needs it.
            seconds: that it may take.

        Raises:
            SandboxError: it isn't ready in time.
        """
        self._refuse_running()
        with self._or_nothing():
            self._prepare()
            memory = self._directory / "memory"
            if in_file:
                with memory.open("xb") as file:
                    file.truncate(self.specification.memory << 20)
                os.chown(memory, self.specification.uid, self.specification.uid)
            self._spawn(memory if in_file else None, None)
            if not self._conversation.ready.wait(seconds):
                raise SandboxError("sandbox-not-ready", f"{self.specification.name} was not ready in {seconds:g} s")

    def restore(self, snapshot: Snapshot) -> None:
        """Become a copy of a guest that waits.

        Raises:
            SandboxError: the snapshot is of another image or another kind of machine, or QEMU refuses it.
        """
        self._refuse_running()
        specification = self.specification
        snapshot.check(specification.image, specification.memory, specification.cpus, specification.accelerator)
        with self._or_nothing():
            self._prepare()
            memory = self._directory / "memory"
            copy_memory(snapshot.memory, memory)
            os.chown(memory, self.specification.uid, self.specification.uid)
            state = os.open(snapshot.state, os.O_RDONLY | os.O_CLOEXEC)
            try:
                self._spawn(memory, state)
                self._load(state)
            finally:
                os.close(state)
            memory.unlink()  # QEMU has it; nobody else will

    def run(self, launch: Launch) -> None:
        """Tell the waiting guest who it is, and start the application in it.

        Raises:
            SandboxError: the guest can't.
        """
        specification = self.specification
        network = specification.wire.network if specification.wire else Network()
        self._conversation.ask(
            "start",
            ANSWER_SECONDS,
            entropy=os.urandom(ENTROPY_BYTES).hex(),
            clock=time.time_ns(),
            application=asdict(specification.application.root) if specification.application else None,
            disk=specification.disk is not None,
            network=asdict(network),
            launch=asdict(launch),
            **{"host-name": specification.name},
        )
        self._started = True
        self._calm = threading.Timer(START_SECONDS, self._groups.set_cpu, (specification.cpu_percent,))
        self._calm.daemon = True
        self._calm.start()

    # While it runs.

    def status(self) -> Status:
        """How it is. Asks QEMU's process and what the guest told on its own, not the guest."""
        if self._process is None or self._guest is None or self._process.poll() is not None:
            return Status("stopped")
        if self._guest.exited.is_set():
            return Status("exited", self._guest.code)
        return Status("running" if self._started else "ready")

    def details(self) -> dict[str, Any]:
        """What the guest says of itself: processes, memory, bytes of the log that were dropped.

        Raises:
            SandboxError: it doesn't answer.
        """
        return self._conversation.ask("status", ANSWER_SECONDS)

    def health(self, port: int, path: str = "", seconds: float = 2.0) -> str:
        """Why the application is not healthy; empty when it is. A guest that doesn't answer is not healthy."""
        try:
            answer = self._conversation.ask("health", seconds + HEALTH_SECONDS, port=port, path=path, timeout=seconds)
        except SandboxError as error:
            return error.message
        return "" if answer.get("healthy") is True else str(answer.get("reason", "no reason given"))[:200]

    def set_clock(self) -> float:
        """Set the guest's clock right; by how many seconds it was wrong.

        Raises:
            SandboxError: the guest doesn't answer.
        """
        now = time.time_ns()
        answer = self._conversation.ask("clock", ANSWER_SECONDS, clock=now)
        was = answer.get("was")
        return (was - now) / 1e9 if isinstance(was, int) else 0.0

    def snapshot(self, directory: Path) -> Snapshot:
        """Write down the guest, which has to wait still, and end it. What comes of it is nobody's: it holds no
        application, no address and no secret.

        Raises:
            SandboxError: it has been started already, or was not booted for this.
        """
        if self._started or self.status().state != "ready":
            raise SandboxError("sandbox-started", "only a guest that waits can be written down", "boot another one")
        memory = self._directory / "memory"
        if not memory.exists():
            raise SandboxError("sandbox-memory", "its memory is not in a file", "boot it with in_file")
        directory.mkdir(mode=0o700, parents=True)
        self._conversation.ask("warm", BOOT_SECONDS, modules=WARM)
        monitor = self._known_monitor
        monitor.ask("stop")
        _ignore_shared(monitor)
        with (directory / "state").open("xb") as file:
            monitor.ask("getfd", pass_on=file.fileno(), fdname="state")
            monitor.ask("migrate", uri="fd:state")
            _wait_for_migration(monitor)
        copy_memory(memory, directory / "memory")
        self.kill()
        specification = self.specification
        return Snapshot.describe(
            directory, specification.image, specification.memory, specification.cpus, specification.accelerator
        )

    # And to its end.

    def stop(self, seconds: float = 5.0) -> int | None:
        """Let the application end, for so many seconds, then everything; the application's exit code if it told one."""
        code = None
        with contextlib.suppress(SandboxError):
            if self.status().state != "stopped":
                answer = self._conversation.ask("stop", seconds + ANSWER_SECONDS, seconds=seconds)
                found = answer.get("code")
                code = found if isinstance(found, int) else None
        self.kill()
        return code

    def kill(self) -> None:
        """End the virtual machine at once; harmless when it has ended."""
        if self._calm is not None:
            self._calm.cancel()
            self._calm.join()
            self._calm = None
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
            process.wait()
        if self._guest is not None:
            self._guest.close()
            self._guest = None
        if self._monitor is not None:
            self._monitor.close()
            self._monitor = None
        self._groups.remove()
        self._groups = cgroups.Groups()
        shutil.rmtree(self._directory, ignore_errors=True)
        self._started = False

    @property
    def pid(self) -> int:
        """The process at the head of the jail, an ancestor of QEMU; 0 when there is none."""
        return self._process.pid if self._process else 0

    # How.

    @property
    def _conversation(self) -> Conversation:
        if self._guest is None:
            raise SandboxError("sandbox-stopped", f"{self.specification.name} does not run")
        return self._guest

    @property
    def _known_monitor(self) -> Monitor:
        if self._monitor is None:
            raise SandboxError("sandbox-stopped", f"{self.specification.name} does not run")
        return self._monitor

    @contextmanager
    def _or_nothing(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.kill()
            raise

    def _refuse_running(self) -> None:
        if self._process is not None:
            raise SandboxError("sandbox-running", f"{self.specification.name} runs already")

    def _prepare(self) -> None:
        self._directory.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        shutil.rmtree(self._directory, ignore_errors=True)
        self._directory.mkdir(mode=0o711)
        self._directory.chmod(0o711)  # whatever the umask: another account passes

    def _spawn(self, memory: Path | None, state: int | None) -> None:
        """Start QEMU. It inherits its ends of three socket pairs, the tap, and the state to load."""
        specification = self.specification
        tap = _plug(specification.wire) if specification.wire else None
        pairs = [socket.socketpair() for _ in range(3)]
        theirs = [pair[1].fileno() for pair in pairs]
        filter_ = jail.system_calls()
        key = jail.secret(luks.password(specification.disk_key)) if specification.disk_key else None
        inherited = [*theirs, filter_, *(number for number in (tap, state, key) if number is not None)]
        files = Inside(
            application="/application" if specification.application else "",
            data="/data" if specification.disk else "",
            memory="/memory" if memory else "",
            key="/key" if key is not None else "",
        )
        errors = (self._directory / "errors").open("wb")
        try:
            self._process = subprocess.Popen(
                self._command(files, memory, Descriptors(theirs[0], theirs[1], theirs[2], tap, state), filter_, key),
                pass_fds=inherited,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env={"PATH": os.defpath + ":/usr/sbin:/sbin"},
            )
        finally:
            errors.close()
            for pair in pairs:
                pair[1].close()
            for number in (filter_, *(number for number in (tap, key) if number is not None)):
                os.close(number)
        monitor, control, log = (pair[0] for pair in pairs)
        self._guest = Conversation(control, log, LogFile(specification.log))
        self._monitor = Monitor(monitor)
        try:
            self._monitor.greet(ANSWER_SECONDS)
        except SandboxError as error:
            raise SandboxError(
                "sandbox-not-started", f"QEMU does not start: {self._errors() or error.message}"
            ) from error

    def _command(
        self, files: Inside, memory: Path | None, given: Descriptors, filter_: int, key: int | None
    ) -> list[str]:
        specification = self.specification
        at_first = max(specification.cpu_percent, START_PERCENT)
        self._groups = cgroups.make(specification.name, specification.memory, at_first)
        readable = {files.kernel: specification.image.kernel, files.initrd: specification.image.initrd}
        readable[files.base] = specification.image.root
        writable = {}
        size = 1
        if specification.application:
            readable[files.application] = specification.application.path
        if specification.disk:
            writable[files.data] = specification.disk
            size = max(size, specification.disk.stat().st_size >> 20)
        if memory:
            writable[files.memory] = memory
            size = max(size, specification.memory)
        mac = specification.wire.mac if specification.wire else NO_MAC
        kilohertz = machine.counter_kilohertz(Path("/proc/cpuinfo").read_text())
        arguments = machine.arguments(
            specification.accelerator, specification.memory, specification.cpus, mac, files, given, kilohertz
        )
        devices = [KVM] if specification.accelerator == "kvm" else []
        limits = jail.Limits(size, self._groups.directories)
        secrets = {} if key is None else {files.key: key}
        return jail.command(specification.uid, limits, readable, writable, devices, arguments, filter_, secrets=secrets)

    def _load(self, state: int) -> None:
        monitor = self._known_monitor
        _ignore_shared(monitor)
        monitor.ask("migrate-incoming", uri=f"fd:{state}")
        _wait_for_migration(monitor)
        monitor.ask("cont")
        self._conversation.ready.set()

    def _errors(self) -> str:
        with contextlib.suppress(OSError):
            return (self._directory / "errors").read_text(errors="replace").strip()[-500:]
        return ""


def _plug(wire: Wire) -> int:
    tap = open_tap(wire.namespace, wire.tap)
    try:
        if wire.bandwidth:
            bandwidth.shape(wire.namespace, wire.tap, wire.bandwidth)
    except RingfortError:
        os.close(tap)
        raise
    return tap


def _ignore_shared(monitor: Monitor) -> None:
    """Leave memory that is in a file where it is: it isn't part of the state."""
    monitor.ask("migrate-set-capabilities", capabilities=[{"capability": "x-ignore-shared", "state": True}])


def _wait_for_migration(monitor: Monitor) -> None:
    until = time.monotonic() + ANSWER_SECONDS
    while True:
        answer = monitor.ask("query-migrate")
        status = answer.get("status") if isinstance(answer, dict) else None
        if status == "completed":
            return
        if status == "failed" or time.monotonic() > until:
            raise SandboxError("sandbox-snapshot", f"QEMU can't write down or restore a guest: {status}")
        time.sleep(0.005)
