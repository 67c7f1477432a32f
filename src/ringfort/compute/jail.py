"""The jail around a QEMU: what an attacker has who broke out of the virtual machine, and that is next to nothing.

An account of its own, without any capability; namespaces of its own for users, mounts, processes, IPC, host name,
control groups and the network, in which there is only a loopback that is down; a root directory that holds QEMU, its
libraries and this instance's disks. Limits on files and memory, and control groups where the machine has them.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ringfort.compute.errors import SandboxError
from ringfort.compute.guest import seccomp
from ringfort.compute.machine import FIRMWARE, PROGRAM

FIRMWARE_FILES = ("bios-microvm.bin", "qboot.rom")
ACCELERATOR = Path("/usr/lib/x86_64-linux-gnu/qemu/accel-tcg-x86_64.so")
"""Debian keeps the translator in a module of QEMU's."""

OPEN_FILES = 256


@dataclass(frozen=True, slots=True)
class Limits:
    """What the process may use at most.

    Args:
        file_mib: the largest file it may write: its own disk, or its memory's.
        groups: directories of control groups that it is put into.
    """

    file_mib: int
    groups: tuple[Path, ...] = ()


def command(
    uid: int,
    limits: Limits,
    readable: Mapping[str, Path],
    writable: Mapping[str, Path],
    devices: Sequence[Path],
    arguments: Sequence[str],
    filter_: int,
    program: Path = PROGRAM,
    secrets: Mapping[str, int] | None = None,
) -> list[str]:
    """The command that starts QEMU in its jail. Run it as root; it gives root up before QEMU starts.

    Args:
        readable: files by the path that they have in the jail.
        writable: the same, to write to.
        devices: devices that are there under their own path.
        filter_: descriptor from which the filter of system calls is read; see `system_calls`.
        program: what runs in it; tests run what attacks it from inside.
        secrets: descriptors by the path under which what they hold is in the jail, in memory, and nowhere else.
    """
    words = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]
    if devices:
        groups = ",".join(str(device.stat().st_gid) for device in devices)
        words = [f"--groups={groups}" if word == "--clear-groups" else word for word in words]
    words += ["bwrap", "--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
    words += ["--unshare-cgroup-try", "--disable-userns", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    words += ["--clearenv", "--hostname", "sandbox"]
    for path in sorted({*needed(program), *needed(ACCELERATOR), *(FIRMWARE / name for name in FIRMWARE_FILES)}):
        words += ["--ro-bind", str(path.resolve()), str(path)]
    for inside, path in readable.items():
        words += ["--ro-bind", str(path), inside]
    for inside, path in writable.items():
        words += ["--bind", str(path), inside]
    for path in devices:
        words += ["--dev-bind", str(path), str(path)]
    for inside, descriptor in (secrets or {}).items():
        words += ["--perms", "0400", "--ro-bind-data", str(descriptor), inside]
    words += ["--remount-ro", "/", "--seccomp", str(filter_), "--chdir", "/", str(program), *arguments]
    return [*_enter(limits), *words]


def system_calls() -> int:
    """A descriptor of the filter: what an application's filter refuses, and every new socket, of whatever family."""
    descriptor = os.memfd_create("filter", 0)
    os.write(descriptor, seccomp.program(families=()))
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def secret(content: bytes) -> int:
    """A descriptor of what a jail may know and nobody else: in memory, and in no command line."""
    descriptor = os.memfd_create("secret")
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _enter(limits: Limits) -> list[str]:
    """Enter the control groups and set the limits, then become what follows."""
    script = 'while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs" || exit 125; shift; done; shift; exec "$@"'
    size = limits.file_mib << 20
    limit = ["prlimit", f"--fsize={size}", f"--nofile={OPEN_FILES}", "--core=0", "--memlock=0", "--"]
    return ["sh", "-c", script, "sh", *map(str, limits.groups), "--", *limit]


@cache
def needed(program: Path) -> tuple[Path, ...]:
    """The program, its loader and the libraries that it is linked with.

    Raises:
        SandboxError: it isn't installed.
    """
    if not program.exists():
        raise SandboxError("sandbox-no-qemu", f"{program} is missing", "run `make setup`")
    done = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=False)
    found = re.findall(r"(?:=> )?(/\S+) \(0x", done.stdout)
    return (program, *(Path(path) for path in sorted(set(found))))
