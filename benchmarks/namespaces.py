"""Network namespaces for a measurement: made, entered and removed."""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CLONE_NEWNET = 0x40000000  # sched.h
SIOCETHTOOL = 0x8946  # linux/sockios.h
ETHTOOL_STSO = 0x1F  # linux/ethtool.h
ETHTOOL_SGRO = 0x2C
LIBC = ctypes.CDLL(None, use_errno=True)


def run(*command: str, text: str | None = None) -> None:
    """Run a command; its words on stderr become the error when it fails."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()[:500]}")


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Run in ``namespace``; sockets opened here stay there."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    away = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        _enter(away)
        yield
    finally:
        _enter(home)
        os.close(home)
        os.close(away)


def _enter(descriptor: int) -> None:
    if LIBC.setns(descriptor, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def offload(namespace: str, interface: str, command: int, *, on: bool) -> None:
    """Turn one of a device's shortcuts on or off, as `ethtool -K` does."""
    with inside(namespace), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        value = ctypes.create_string_buffer(struct.pack("II", command, on))
        request = struct.pack("16sP16x", interface.encode(), ctypes.addressof(value))
        fcntl.ioctl(control, SIOCETHTOOL, request)


def own_thread(namespace: str, interface: str, core: int) -> int:
    """Give what ``interface`` receives a kernel thread of its own, on ``core``; returns the thread's process id.

    A veth device polls (NAPI) when GRO is on and its peer doesn't segment (TSO), and polling may be done by a thread,
    whose processor time the kernel counts to the nanosecond: the cost of routing, without the sender's.
    """
    offload(namespace, interface, ETHTOOL_SGRO, on=True)
    before = _polling_threads()
    run("ip", "netns", "exec", namespace, "sh", "-c", f"echo 1 >/sys/class/net/{interface}/threaded")
    new = _polling_threads() - before
    if len(new) != 1:
        raise RuntimeError(f"{interface} of {namespace} has {len(new)} new threads; is another measurement running?")
    (thread,) = new
    os.sched_setaffinity(thread, {core})
    return thread


def _polling_threads() -> set[int]:
    found = set()
    for path in Path("/proc").glob("[0-9]*/comm"):
        try:
            if path.read_text().startswith("napi/"):
                found.add(int(path.parent.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def processor_nanoseconds(thread: int) -> int:
    """Processor time that a thread has used (proc(5), schedstat)."""
    return int(Path(f"/proc/{thread}/schedstat").read_text().split()[0])


def settle(thread: int, idle_seconds: float = 0.01, times: int = 10) -> None:
    """Wait until a polling thread has had nothing to do for a while; one look is not enough on a busy machine."""
    last, idle = -1, 0
    while idle < times:
        time.sleep(idle_seconds)
        now = processor_nanoseconds(thread)
        idle = idle + 1 if now == last else 0
        last = now
