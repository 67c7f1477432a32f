"""A guest that waits, written down: its memory, the state of its devices, and of what it is a snapshot.

It is taken before the guest becomes anybody, so it holds nothing of any customer. Each restored guest gets a copy of
the memory of its own: no page is shared between customers, neither to write to nor to measure.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from ringfort.compute.errors import SandboxError
from ringfort.compute.image import Image
from ringfort.compute.machine import kind


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot in a directory."""

    directory: Path
    image: str
    memory_mib: int
    cpus: int
    machine: str
    accelerator: str = "tcg"

    @property
    def memory(self) -> Path:
        """The guest's memory, sparse."""
        return self.directory / "memory"

    @property
    def state(self) -> Path:
        """The state of processor and devices, as QEMU's migration stream."""
        return self.directory / "state"

    @classmethod
    def describe(cls, directory: Path, image: Image, memory_mib: int, cpus: int, accelerator: str) -> Snapshot:
        """Write down beside it of what it is a snapshot."""
        made = cls(directory, image.inputs, memory_mib, cpus, kind(accelerator), accelerator)
        text = {"image": made.image, "memory-mib": memory_mib, "cpus": cpus, "machine": made.machine}
        text["accelerator"] = accelerator
        (directory / "snapshot.json").write_text(json.dumps(text) + "\n")
        return made

    @classmethod
    def opened(cls, directory: Path) -> Snapshot:
        """A snapshot that was taken before.

        Raises:
            SandboxError: there is none.
        """
        try:
            text = json.loads((directory / "snapshot.json").read_text())
            numbers = int(text["memory-mib"]), int(text["cpus"])
            return cls(directory, str(text["image"]), *numbers, str(text["machine"]), str(text["accelerator"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SandboxError("sandbox-no-snapshot", f"there is no snapshot in {directory}") from error

    def check(self, image: Image, memory_mib: int, cpus: int, accelerator: str = "") -> None:
        """Make sure that it fits.

        Args:
            accelerator: empty for the one it was taken with.

        Raises:
            SandboxError: it is of another image, machine or QEMU.
        """
        wanted = (image.inputs, memory_mib, cpus, kind(accelerator or self.accelerator))
        if (self.image, self.memory_mib, self.cpus, self.machine) != wanted:
            hint = "take another snapshot, or boot without one"
            raise SandboxError("sandbox-snapshot-other", "the snapshot is of another kind of guest", hint)


def copy_memory(source: Path, target: Path) -> None:
    """Copy a sparse file, holes and all; the copy is new and its owner's alone."""
    with source.open("rb") as old, target.open("xb") as new:
        os.fchmod(new.fileno(), 0o600)
        size = os.fstat(old.fileno()).st_size
        new.truncate(size)
        at = 0
        while at < size:
            try:
                start = os.lseek(old.fileno(), at, os.SEEK_DATA)
            except OSError:  # ENXIO: nothing but a hole is left
                return
            at = os.lseek(old.fileno(), start, os.SEEK_HOLE)
            os.lseek(old.fileno(), start, os.SEEK_SET)
            os.lseek(new.fileno(), start, os.SEEK_SET)
            rest = at - start
            while rest:
                rest -= os.sendfile(new.fileno(), old.fileno(), None, min(rest, 1 << 30))
