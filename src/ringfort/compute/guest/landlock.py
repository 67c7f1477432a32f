"""Which files an application may touch, whatever its account could: Landlock, ABI 1 and 2; landlock(7)."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable, Mapping

from ringfort.compute.guest.system import syscall

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_VERSION = 1  # LANDLOCK_CREATE_RULESET_VERSION
_PATH_BENEATH = 1

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
READ = READ_FILE | READ_DIR
ALL = (1 << 13) - 1
"""Every right of ABI 1."""
REFER = 1 << 13
"""To link and rename between directories; ABI 2."""
TRUNCATE = 1 << 14
"""ABI 3."""
_OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE


def version() -> int:
    """The ABI of the kernel; 0 when it has no Landlock."""
    try:
        return syscall(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint(_VERSION))
    except OSError:
        return 0


def handled(abi: int) -> int:
    """All rights that a kernel of this ABI can take away."""
    return ALL | (REFER if abi >= 2 else 0) | (TRUNCATE if abi >= 3 else 0)


def enforce(rights: Mapping[str, int]) -> None:
    """Leave this process, and its children, these rights beneath these paths and no others. Paths that don't exist are
    passed over. It must have no new privileges already.

    Raises:
        OSError: the kernel refuses, or has no Landlock.
    """
    known = handled(version())
    attributes = struct.pack("=Q", known)
    ruleset = syscall(_CREATE, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint(0))
    try:
        for path, right in rights.items():
            _allow(ruleset, path, right & known)
        syscall(_RESTRICT, ctypes.c_int(ruleset), ctypes.c_uint(0))
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, right: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not os.path.isdir(path):
            right &= _OF_FILES
        rule = struct.pack("=Qi", right, descriptor)
        syscall(_ADD, ctypes.c_int(ruleset), ctypes.c_int(_PATH_BENEATH), rule, ctypes.c_uint(0))
    finally:
        os.close(descriptor)


def application_rights(writable: Iterable[str]) -> dict[str, int]:
    """What an application needs: programs and libraries to read and run, its own files to read, its own places to
    write, where nothing that was written can be run."""
    run = READ | EXECUTE
    rights = dict.fromkeys(("/usr", "/app", "/etc/ld.so.cache"), run)
    rights |= dict.fromkeys(("/etc", "/proc", "/dev/fd"), READ)
    rights |= {f"/dev/{name}": READ_FILE | WRITE_FILE for name in ("null", "zero", "full")}
    rights |= {f"/dev/{name}": READ_FILE for name in ("random", "urandom")}
    return rights | dict.fromkeys(writable, (ALL | REFER | TRUNCATE) & ~EXECUTE)
