"""Named network namespaces: make, mark, enter, delete.

A namespace of ours is marked before it gets its name: the alias of its ``lo`` is ``ringfort:ENVIRONMENT``. So a
process that is killed at any point leaves either nothing or something that is recognised as ours, and a namespace
somebody else made under a name we need is never touched.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ringfort.errors import RingfortError

DIRECTORY = Path("/run/netns")
"""Where ip-netns(8) keeps named namespaces; ``ip netns exec NAME`` works on ours."""

CLONE_NEWNET = 0x40000000  # linux/sched.h
_MS_BIND, _MS_SHARED, _MS_REC = 0x1000, 1 << 20, 0x4000  # linux/mount.h
_MNT_DETACH = 2
_NSFS_MAGIC = 0x6E736673  # linux/magic.h
_THREAD_NAMESPACE = "/proc/thread-self/ns/net"

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        hint = "are you root, with the right to administer the network?" if number == errno.EPERM else ""
        raise RingfortError("kernel-refused", f"the kernel refuses to {what}: {os.strerror(number)}", hint)


def path(name: str) -> Path:
    """Where the namespace called ``name`` is mounted."""
    return DIRECTORY / name


@contextmanager
def inside(name: str) -> Iterator[None]:
    """Run the block, in this thread only, inside the namespace called ``name``.

    What is opened inside (a socket, a netlink connection) stays in that namespace when the block has ended.

    Raises:
        RingfortError: there is no such namespace.
    """
    home = os.open(_THREAD_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            target = os.open(path(name), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise RingfortError("no-namespace", f"there is no namespace {name!r}", "run `ringfort up` again") from error
        try:
            _check(_libc.setns(target, CLONE_NEWNET), f"enter {name}")
        finally:
            os.close(target)
        try:
            yield
        finally:
            _check(_libc.setns(home, CLONE_NEWNET), "return from a namespace")
    finally:
        os.close(home)


def prepare_directory() -> None:
    """Make /run/netns a shared mount point, as ip-netns(8) does, so that other mount namespaces see what we unmount."""
    DIRECTORY.mkdir(mode=0o755, parents=True, exist_ok=True)
    target = os.fsencode(DIRECTORY)
    if _libc.mount(b"", target, b"none", _MS_SHARED | _MS_REC, None) == 0:
        return
    _check(_libc.mount(target, target, b"none", _MS_BIND | _MS_REC, None), f"mount {DIRECTORY}")
    _check(_libc.mount(b"", target, b"none", _MS_SHARED | _MS_REC, None), f"share {DIRECTORY}")


def mark(environment: str) -> str:
    """The alias that ``lo`` carries in the namespaces of an environment."""
    return f"ringfort:{environment}"


def create(name: str, environment: str) -> None:
    """Make a namespace, mark it, and give it its name; this thread ends where it began."""
    home = os.open(_THREAD_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.unshare(CLONE_NEWNET), "make a network namespace")
        try:
            _write_mark(environment)
            target = path(name)
            os.close(os.open(target, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0))
            source = os.fsencode(_THREAD_NAMESPACE)
            _check(_libc.mount(source, os.fsencode(target), b"none", _MS_BIND, None), f"name {name}")
        finally:
            _check(_libc.setns(home, CLONE_NEWNET), "return from a namespace")
    finally:
        os.close(home)


def delete(name: str) -> None:
    """Take a namespace's name away; with its last process and socket the kernel removes what is in it. Idempotent."""
    target = path(name)
    _libc.umount2(os.fsencode(target), _MNT_DETACH)  # fails when it is only the empty file of a name
    target.unlink(missing_ok=True)


def identity(name: str) -> int | None:
    """The inode of a namespace: another one under the same name has another. None when there is none."""
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
    if _libc.statfs(os.fsencode(where), buffer) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(where))
    return ctypes.c_long.from_buffer(buffer).value


def names(prefix: str) -> list[str]:
    """The names under /run/netns that begin with ``prefix``, sorted; not all of them need be namespaces."""
    try:
        return sorted(entry for entry in os.listdir(DIRECTORY) if entry.startswith(prefix))
    except FileNotFoundError:
        return []


def _write_mark(environment: str) -> None:
    # sysfs belongs to the namespace it was mounted from, so the alias goes through netlink.
    from pyroute2 import IPRoute

    with IPRoute() as netlink:
        netlink.link("set", index=1, ifalias=mark(environment), state="up")
