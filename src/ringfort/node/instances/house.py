"""What the instances of a node share: places, directories in memory, the image, accounts, the way to a controller."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ringfort.compute import image, trial
from ringfort.compute.cgroups import OVERHEAD_MIB
from ringfort.compute.image import Image
from ringfort.compute.launching import SYSTEM_MIB
from ringfort.compute.sandbox import RUNTIME
from ringfort.errors import RingfortError
from ringfort.node.client import Client
from ringfort.node.hosting import memory_of
from ringfort.node.instances.templates import Templates

_FIRST_ACCOUNT, _ACCOUNTS = 1_000_000_000, 600_000_000
"""Accounts that no person and no other program has."""

_TMPFS = "tmpfs"


@dataclass(slots=True)
class House:
    """One node's.

    Attributes:
        tag: tells nodes apart that share a machine, as in a lab.
        namespaces: place -> the network namespace where its callers are checked.
        client: a new connection to a controller.
        owners: place -> the customer whose it is, as the environment in force says; nothing runs elsewhere.
    """

    tag: str
    namespaces: Mapping[str, str]
    client: Callable[[], Client]
    root: Path = RUNTIME
    owners: Mapping[str, str] = field(default_factory=dict)
    _taken: dict[str, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _accelerator: str = ""
    _image: Image | None = None

    @classmethod
    def of(cls, state: Path, namespaces: Mapping[str, str], client: Callable[[], Client]) -> House:
        """That of the node with this state directory."""
        return cls(memory_of(state).name.removeprefix("node-"), namespaces, client)

    @property
    def runtime(self) -> Path:
        """Where sandboxes are while they run."""
        return self.root / f"node-{self.tag}"

    def directory(self, instance: str) -> Path:
        """Where an instance's disks and its log are."""
        return self.runtime / "data" / instance

    @property
    def templates(self) -> Templates:
        """Snapshots of guests that wait."""
        return Templates(self.root / "templates", self.runtime, self.account("template"))

    def account(self, name: str) -> int:
        """The account of a virtual machine."""
        digest = hashlib.sha256(f"{self.tag} {name}".encode()).digest()
        return _FIRST_ACCOUNT + int.from_bytes(digest[:6], "big") % _ACCOUNTS

    def prepare(self) -> None:
        """Make the directories. The disks of instances that a node before this one had are still there.

        Raises:
            RingfortError: they are not in memory: what customers have must not be on a disk in the clear.
        """
        passable(self.root)
        if kind_of(self.root, Path("/proc/self/mounts").read_text()) != _TMPFS:
            hint = "mount a tmpfs there"
            raise RingfortError("not-in-memory", f"{self.root} is not in memory (tmpfs)", hint)
        passable(self.runtime)
        passable(self.runtime / "data")

    def keep_only(self, instances: Iterable[str]) -> None:
        """Remove what belongs to instances that aren't here any more."""
        for path in (self.runtime / "data").iterdir():
            if path.name not in instances:
                shutil.rmtree(path, ignore_errors=True)

    def image(self) -> Image:
        """The base image that was built last; each is compared with its digests before it is used first.

        Raises:
            ImageError: there is none, or it was altered.
        """
        found = image.latest()
        with self._lock:
            if self._image is None or self._image.directory != found.directory:
                self._image = image.opened(found.directory, check=True)
            return self._image

    def accelerator(self, base: Image) -> str:
        """``kvm`` where it really works, else ``tcg``."""
        with self._lock:
            self._accelerator = self._accelerator or trial.accelerator(base, self.account("trial"), self.runtime)
            return self._accelerator

    def namespace(self, place: str, customer: str) -> str:
        """The network namespace of a place.

        Raises:
            RingfortError: the environment in force doesn't give it to this customer, or the node doesn't know it.
        """
        if self.owners.get(place) != customer:
            raise RingfortError(
                "place-not-declared", f"{place} is no place of {customer} here in the environment in force"
            )
        if place not in self.namespaces:
            raise RingfortError(
                "place-unknown", f"the node's configuration doesn't say where {place} is", "see [places]"
            )
        return self.namespaces[place]

    def room(self) -> dict[str, int]:
        """What there is for instances, by what they declare: of the memory, three quarters less what each of as many
        as there are places takes beyond that; disks are in memory, too."""
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
        beyond = len(self.namespaces) * (SYSTEM_MIB + OVERHEAD_MIB)
        disk = os.statvfs(self.root)
        return {
            "cpu": 100 * (os.cpu_count() or 1),
            "memory": max(0, memory * 3 // 4 - beyond),
            "disk": disk.f_blocks * disk.f_frsize // 2 >> 20,
        }

    def take(self, place: str, instance: str) -> bool:
        """Have a place, which nobody else has until it is left; whether it is free."""
        with self._lock:
            return self._taken.setdefault(place, instance) == instance

    def leave(self, place: str, instance: str) -> None:
        """Have a place no longer."""
        with self._lock:
            if self._taken.get(place) == instance:
                del self._taken[place]

    def taken(self) -> dict[str, str]:
        """Place -> the instance that is there."""
        with self._lock:
            return dict(self._taken)

    @contextmanager
    def calling(self) -> Iterator[Client]:
        """A connection to a controller, closed afterwards."""
        client = self.client()
        try:
            yield client
        finally:
            client.close()


def passable(directory: Path) -> None:
    """A directory that everybody may pass and nobody list, whatever the umask: accounts of virtual machines do."""
    directory.mkdir(mode=0o711, parents=True, exist_ok=True)
    directory.chmod(0o711)


def kind_of(path: Path, mounts: str) -> str:
    """The type of the file system that a path is on, by what proc(5) lists as mounted. Pure."""
    found = ("", "")
    for line in mounts.splitlines():
        _, point, kind, *_ = line.split()
        if (path == Path(point) or Path(point) in path.parents) and len(point) >= len(found[0]):
            found = point, kind
    return found[1]
