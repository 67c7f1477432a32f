"""Named network namespaces: find, recognise, enter. Whoever makes them is somebody else's business."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ringfort.errors import RingfortError

DIRECTORY = Path("/run/netns")
"""Where ip-netns(8) keeps named namespaces; ``ip netns exec NAME`` works on them."""

OWN = ""
"""The name that stands for the namespace this process is in already."""

CLONE_NEWNET = 0x40000000  # linux/sched.h
THREAD_NAMESPACE = "/proc/thread-self/ns/net"
_NSFS_MAGIC = 0x6E736673  # linux/magic.h

libc = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> None:
    """Refuse what a system call refused.

    Raises:
        RingfortError: ``result`` is not 0; says what the kernel would not do.
    """
    if result != 0:
        number = ctypes.get_errno()
        hint = "are you root, with the right to administer the network?" if number == errno.EPERM else ""
        raise RingfortError("kernel-refused", f"the kernel refuses to {what}: {os.strerror(number)}", hint)


def path(name: str) -> Path:
    """Where the namespace called ``name`` is mounted."""
    return DIRECTORY / name


@contextmanager
def inside(name: str) -> Iterator[None]:
    """Run the block, in this thread only, inside the namespace called ``name``; `OWN` stays where it is.

    What is opened inside (a socket, a netlink connection) stays in that namespace when the block has ended.

    Raises:
        RingfortError: there is no such namespace.
    """
    if name == OWN:
        yield
        return
    home = os.open(THREAD_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter(name)
        try:
            yield
        finally:
            check(libc.setns(home, CLONE_NEWNET), "return from a namespace")
    finally:
        os.close(home)


def enter(name: str) -> None:
    """Move this thread into the namespace called ``name``, for good.

    Raises:
        RingfortError: there is no such namespace.
    """
    try:
        target = os.open(path(name), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise RingfortError("no-namespace", f"there is no namespace {name!r}", "run `ringfort up` again") from error
    try:
        check(libc.setns(target, CLONE_NEWNET), f"enter {name}")
    finally:
        os.close(target)


def identity(name: str) -> int | None:
    """The inode of a namespace: another one under the same name has another. None when there is none."""
    if name == OWN:
        return os.stat(THREAD_NAMESPACE).st_ino
    if not is_namespace(name):
        return None
    return path(name).stat().st_ino


def is_namespace(name: str) -> bool:
    """Whether the name stands for a namespace, and not for the empty file that an interrupted creation leaves."""
    try:
        return _filesystem_type(path(name)) == _NSFS_MAGIC
    except FileNotFoundError:
        return False


def _filesystem_type(where: Path) -> int:
    buffer = ctypes.create_string_buffer(256)  # struct statfs begins with f_type, a long
    if libc.statfs(os.fsencode(where), buffer) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(where))
    return ctypes.c_long.from_buffer(buffer).value
