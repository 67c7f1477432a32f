"""System calls that Python has no name for."""

from __future__ import annotations

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8  # linux/mount.h
MS_REMOUNT, MS_BIND, MS_MOVE, MS_REC, MS_PRIVATE = 32, 4096, 8192, 16384, 1 << 18
QUIET = MS_NOSUID | MS_NODEV | MS_NOEXEC
CLONE_NEWNS = 0x00020000  # linux/sched.h


def check(result: int, what: str) -> int:
    """The result, unless it is the -1 of a failure.

    Raises:
        OSError: what the kernel refused, in words.
    """
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def mount(source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
    """mount(2).

    Raises:
        OSError: the kernel refuses.
    """
    result = libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode())
    check(result, f"mount {source} on {target}")


def syscall(number: int, *arguments: object) -> int:
    """A system call by its number on x86-64.

    Raises:
        OSError: the kernel refuses.
    """
    return check(libc.syscall(ctypes.c_long(number), *arguments), f"system call {number}")


def prctl(option: int, *arguments: int) -> int:
    """prctl(2).

    Raises:
        OSError: the kernel refuses.
    """
    values = [ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:4]]
    return check(libc.prctl(option, *values), f"prctl {option}")


def write(path: str, text: str) -> None:
    """Write to a file of /proc or /sys.

    Raises:
        OSError: the kernel refuses.
    """
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def read(path: str) -> str:
    """What a file of /proc or /sys says, without the line's end; empty when there is none."""
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return ""
