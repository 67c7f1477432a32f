"""What tests with real guests share: applications as tars, sandboxes with an account and a place of their own."""

from __future__ import annotations

import io
import itertools
import os
import shutil
import tarfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ringfort.compute import appdisk, disks
from ringfort.compute.guest.netlink import Network
from ringfort.compute.image import Image
from ringfort.compute.logs import read
from ringfort.compute.sandbox import Sandbox, Specification, Wire
from ringfort.compute.snapshots import Snapshot

PATIENCE = 60.0
FIRST_UID = 1_700_000_000 + os.getpid() % 10_000 * 1000
_numbers = itertools.count(FIRST_UID)


def tar_of(files: Mapping[str, str | bytes]) -> bytes:
    """A tar of some files, for anybody to read and run."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in sorted(files.items()):
            data = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o755
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


class Ground:
    """A directory in memory for sandboxes of one test module, and the image and snapshot they come from.

    Args:
        other: whose snapshot is used, so that it is taken once for all.
    """

    def __init__(self, image: Image, other: Ground | None = None) -> None:
        self.image, self._other = image, other
        self.directory = Path(f"/dev/shm/ringfort-test-{os.getpid()}-{next(_numbers)}")
        self.directory.mkdir(mode=0o711)
        self.snapshot: Snapshot | None = None

    def specification(self, name: str, files: Mapping[str, str | bytes] | None = None, **more: Any) -> Specification:  # noqa: ANN401
        """One with an application of these files, and a disk of its own."""
        uid = next(_numbers)
        here = self.directory / f"{name}-{uid}"
        here.mkdir(mode=0o711)
        if files is not None:
            more["application"] = appdisk.build(tar_of(files), here / "application")
            more.setdefault("disk", disks.make(here / "data", 16, uid, more.get("disk_key")))
        return Specification(f"{name}-{uid}", uid, self.image, here / "log", **more)

    def sandbox(self, specification: Specification) -> Sandbox:
        """A sandbox in this ground."""
        return Sandbox(specification, self.directory / "run")

    def template(self) -> Snapshot:
        """A snapshot of a waiting guest, taken once."""
        if self._other is not None:
            return self._other.template()
        if self.snapshot is None:
            waiting = self.sandbox(self.specification("template"))
            waiting.boot(in_file=True)
            self.snapshot = waiting.snapshot(self.directory / "snapshot")
        return self.snapshot

    def remove(self) -> None:
        """Leave nothing."""
        shutil.rmtree(self.directory)


@contextmanager
def ended(sandbox: Sandbox) -> Iterator[Sandbox]:
    """Whatever happens, the sandbox is gone afterwards."""
    try:
        yield sandbox
    finally:
        sandbox.kill()


def log_of(sandbox: Sandbox) -> str:
    """What its application has written so far."""
    return read(sandbox.specification.log).decode(errors="replace")


def said(sandbox: Sandbox, what: str) -> str:
    """Wait until the application has written something, and give everything that it has written."""
    until = time.monotonic() + PATIENCE
    while what not in (text := log_of(sandbox)):
        assert time.monotonic() < until, f"{what!r} was never said: {text[-500:]}"
        assert sandbox.status().state in ("running", "exited"), text[-500:]
        time.sleep(0.05)
    return text


def healthy(sandbox: Sandbox, port: int = 8080, path: str = "/") -> None:
    """Wait until the application answers."""
    until = time.monotonic() + PATIENCE
    while reason := sandbox.health(port, path):
        assert time.monotonic() < until, f"{reason}: {log_of(sandbox)}"
        time.sleep(0.1)


def wire(namespace: str, tap: str, network: Network) -> Wire:
    """A network card on a tap."""
    return Wire(namespace, tap, "02:00:00:00:aa:01", network)
