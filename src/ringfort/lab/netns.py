"""Named network namespaces: make, mark, delete; how to enter them is in `ringfort.kernel.netns`.

A namespace of ours is marked before it gets its name: the alias of its ``lo`` is ``ringfort:ENVIRONMENT``. So a
process that is killed at any point leaves either nothing or something that is recognised as ours, and a namespace
somebody else made under a name we need is never touched.
"""

from __future__ import annotations

import os

from ringfort.kernel.netns import (
    CLONE_NEWNET,
    DIRECTORY,
    THREAD_NAMESPACE,
    check,
    identity,
    inside,
    is_namespace,
    libc,
    path,
)

__all__ = [
    "CLONE_NEWNET",
    "DIRECTORY",
    "create",
    "delete",
    "identity",
    "inside",
    "is_namespace",
    "mark",
    "names",
    "path",
    "prepare_directory",
]

_MS_BIND, _MS_SHARED, _MS_REC = 0x1000, 1 << 20, 0x4000  # linux/mount.h
_MNT_DETACH = 2


def prepare_directory() -> None:
    """Make /run/netns a shared mount point, as ip-netns(8) does, so that other mount namespaces see what we unmount."""
    DIRECTORY.mkdir(mode=0o755, parents=True, exist_ok=True)
    target = os.fsencode(DIRECTORY)
    if libc.mount(b"", target, b"none", _MS_SHARED | _MS_REC, None) == 0:
        return
    check(libc.mount(target, target, b"none", _MS_BIND | _MS_REC, None), f"mount {DIRECTORY}")
    check(libc.mount(b"", target, b"none", _MS_SHARED | _MS_REC, None), f"share {DIRECTORY}")


def mark(environment: str) -> str:
    """The alias that ``lo`` carries in the namespaces of an environment."""
    return f"ringfort:{environment}"


def create(name: str, environment: str) -> None:
    """Make a namespace, mark it, and give it its name; this thread ends where it began."""
    home = os.open(THREAD_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        check(libc.unshare(CLONE_NEWNET), "make a network namespace")
        try:
            _write_mark(environment)
            target = path(name)
            os.close(os.open(target, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0))
            source = os.fsencode(THREAD_NAMESPACE)
            check(libc.mount(source, os.fsencode(target), b"none", _MS_BIND, None), f"name {name}")
        finally:
            check(libc.setns(home, CLONE_NEWNET), "return from a namespace")
    finally:
        os.close(home)


def delete(name: str) -> None:
    """Take a namespace's name away; with its last process and socket the kernel removes what is in it. Idempotent."""
    target = path(name)
    libc.umount2(os.fsencode(target), _MNT_DETACH)  # fails when it is only the empty file of a name
    target.unlink(missing_ok=True)


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
