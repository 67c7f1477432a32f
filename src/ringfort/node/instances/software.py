"""An application's software on this machine: fetched, verified against its digest, made into a disk. In memory only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ringfort.compute import appdisk, bundle
from ringfort.compute.application import Application
from ringfort.compute.entries import LIMITS
from ringfort.errors import RingfortError
from ringfort.node.instances.wanted import Wanted


@dataclass(frozen=True, slots=True)
class Software:
    """What was verified. ``application`` is what the bundle itself says, which its digest covers."""

    digest: str
    application: Application
    disk: appdisk.Disk


def fetch(part: Callable[[int], bytes], wanted: Wanted, directory: Path) -> Software:
    """The software of an instance, as a disk in ``directory``.

    Args:
        part: the part that begins at an offset; empty at the end.

    Raises:
        RingfortError: it can't be had, or isn't what its digest says.
    """
    if wanted.size > LIMITS.bytes:
        raise RingfortError("bundle-too-large", f"the software of {wanted.name} has {wanted.size:,} bytes")
    archive, out = directory / "bundle", directory / f"application-{wanted.digest[:16]}"
    try:
        with archive.open("wb") as file:
            while file.tell() < wanted.size:
                piece = part(file.tell())
                if not piece or file.tell() + len(piece) > wanted.size:
                    raise RingfortError("bundle-broken", f"the software of {wanted.name} breaks off or goes on")
                file.write(piece)
        with archive.open("rb") as stream:
            found = bundle.verify(stream, digest=wanted.digest)
        out.unlink(missing_ok=True)
        return Software(wanted.digest, found.application, appdisk.build(archive.read_bytes(), out))
    finally:
        archive.unlink(missing_ok=True)


def forget_others(directory: Path, kept: Software) -> None:
    """Remove the disks of other versions."""
    for path in directory.glob("application-*"):
        if path != kept.disk.path:
            path.unlink(missing_ok=True)
