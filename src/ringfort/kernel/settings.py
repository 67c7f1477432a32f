"""Kernel settings (sysctl(8)) of the network namespace that a thread is in."""

from __future__ import annotations

import os

_LARGEST = 4096


def path(key: str) -> str:
    """The file of a setting. A key's full stops are slashes; an interface's own would be, too, and none of ours has
    one."""
    return "/proc/sys/" + key.replace(".", "/")


def read(key: str) -> str | None:
    """The value of a setting, its parts apart by tabs; None if this kernel, or this namespace, does not have it."""
    try:
        descriptor = os.open(path(key), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return "\t".join(os.read(descriptor, _LARGEST).decode().split())
    except OSError:
        return None
    finally:
        os.close(descriptor)


def write(key: str, value: str) -> None:
    """Set a setting.

    Raises:
        OSError: the kernel refuses.
    """
    descriptor = os.open(path(key), os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)
