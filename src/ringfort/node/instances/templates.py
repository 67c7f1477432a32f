"""Snapshots of guests that wait, one for each size of guests that are wanted here; made when nothing else is to do.

A snapshot is of nobody and holds nothing of a customer's. All nodes of a machine share them. A thread.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ringfort.compute.errors import SandboxError
from ringfort.compute.image import Image
from ringfort.compute.machine import kind
from ringfort.compute.sandbox import Sandbox, Specification
from ringfort.compute.snapshots import Snapshot
from ringfort.errors import RingfortError

MOST = 8
"""Sizes of which one is kept."""


class Templates:
    """The snapshots in a directory.

    Args:
        directory: in memory.
        runtime: where the sandboxes of this node are.
    """

    def __init__(self, directory: Path, runtime: Path, uid: int) -> None:
        self._directory, self._runtime, self._uid = directory, runtime, uid

    def get(self, image: Image, memory: int, accelerator: str) -> Snapshot | None:
        """The snapshot for guests of a size (MiB); None if there is none that fits."""
        try:
            found = Snapshot.opened(self._place(image, memory, accelerator))
            found.check(image, memory, 1, accelerator)
        except SandboxError:
            return None
        return found

    def forget(self, image: Image, memory: int, accelerator: str) -> None:
        """It does not work."""
        shutil.rmtree(self._place(image, memory, accelerator), ignore_errors=True)

    def make(self, image: Image, memory: int, accelerator: str) -> None:
        """Make one, unless it is there or somebody makes one just now.

        Raises:
            RingfortError: a guest doesn't boot, or there is no room.
        """
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._alone() as is_alone:
            if not is_alone or self.get(image, memory, accelerator) is not None:
                return
            place = self._place(image, memory, accelerator)
            made = place.with_name(f".{place.name}")
            for old in (place, made):
                shutil.rmtree(old, ignore_errors=True)
            specification = Specification(
                f"template-{self._uid}",
                self._uid,
                image,
                self._runtime / "template.log",
                memory,
                accelerator=accelerator,
            )
            sandbox = Sandbox(specification, self._runtime)
            try:
                sandbox.boot(in_file=True)
                sandbox.snapshot(made)
                made.rename(place)
            except OSError as error:
                raise RingfortError("no-template", f"no snapshot can be kept: {error}") from error
            finally:
                sandbox.kill()
                shutil.rmtree(made, ignore_errors=True)
            self._prune()

    def _place(self, image: Image, memory: int, accelerator: str) -> Path:
        return self._directory / f"{image.inputs[:16]}-{kind(accelerator)}-{memory}"

    def _prune(self) -> None:
        known = sorted(self._directory.glob("[0-9a-f]*-*"), key=lambda path: path.stat().st_mtime)
        for old in known[:-MOST]:
            shutil.rmtree(old, ignore_errors=True)

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Whether nobody else makes one; until the block ends nobody does."""
        lock = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(lock)
