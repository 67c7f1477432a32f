"""A node's side: what it believes about the environment, and why it refuses the rest.

A node pins the root it got when it was enrolled. From there everything follows by signatures; who served the files does
not matter. Whatever is refused leaves the last good environment in force.
"""

from __future__ import annotations

import gc
import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from pathlib import Path

from securesystemslib.exceptions import StorageError
from tuf.api.exceptions import (
    BadVersionNumberError,
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    RepositoryError,
    UnsignedMetadataError,
)
from tuf.api.metadata import Metadata, Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.ngclient import Updater, UpdaterConfig

from ringfort.environment.model import Environment
from ringfort.environment.serialise import SerialisedError, from_bytes
from ringfort.publishing.errors import PublishingError
from ringfort.publishing.fetching import Fetcher, LibraryFetcher
from ringfort.publishing.files import create_file
from ringfort.publishing.good import Good, GoodStore
from ringfort.publishing.metadata import MOST_BYTES, TARGET, environment_target, parse, signers

MOST_ROOTS = 64
"""Roots that a node follows in one go; it goes on at the next update."""


class Code(StrEnum):
    """Why nothing new was taken. Stable: alert events carry it."""

    UNSIGNED = "unsigned"  # no valid signature of anybody who may sign
    UNDER_SIGNED = "under-signed"  # fewer than have to agree
    ROLLED_BACK = "rolled-back"  # older than what has been seen
    FROZEN = "frozen"  # expired: somebody keeps the node from news
    MIXED = "mixed"  # files that do not belong together
    OVERSIZED = "oversized"
    MALFORMED = "malformed"  # not a document of the repository, or not an environment
    FORKED = "forked"  # two environments under one version
    MISSING = "missing"  # a file that has to be there is withheld
    UNPUBLISHED = "unpublished"  # there is no version yet, and never was for this node
    UNREACHABLE = "unreachable"  # nobody answers, and what is known is still fresh


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing new was taken; the last good environment stays. ``file`` is what was read last."""

    code: Code
    message: str
    file: str = ""

    @property
    def alert(self) -> bool:
        """Whether somebody should hear of it: everything but what has not come yet."""
        return self.code not in (Code.UNREACHABLE, Code.UNPUBLISHED)


@dataclass(frozen=True)
class Accepted:
    """The environment in force. ``new`` is false when it was before.

    Attributes:
        version: the environment's version; it only grows.
        data: its text, `environment` what it says.
        digest: SHA-256 of ``data``, hexadecimal.
        signers: names of the approvers whose signatures are on it.
    """

    version: int
    data: bytes
    digest: str
    signers: tuple[str, ...]
    new: bool

    @cached_property
    def environment(self) -> Environment:
        """What the text says; read when it is asked for, which takes a while where it is large.

        Raises:
            SerialisedError: it was kept by another release, in a form that this one does not know. Never where `new`.
        """
        # Hundreds of thousands of values come to stay, none of them garbage: looking for it would cost a third more.
        collecting = gc.isenabled()
        gc.disable()
        try:
            return from_bytes(self.data)
        finally:
            if collecting:
                gc.enable()


class Trust:
    """What one node believes, kept in a directory. One process at a time."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._pin = directory / "root.json"
        self._metadata = directory / "metadata"
        self._good = GoodStore(directory / "environments")

    @classmethod
    def pin(cls, directory: Path, root: bytes) -> Trust:
        """Begin to trust: ``root`` came over a way that is trusted (enrolment, or a person's hands).

        Raises:
            PublishingError: ``root`` is no root signed by itself, or another one is pinned here already.
        """
        document = parse(Root, root)
        try:
            document.signed.verify_delegate(Root.type, document.signed_bytes, document.signatures)
        except (UnsignedMetadataError, ValueError) as error:
            raise PublishingError("root-unsigned", "this root is not signed by those whom it names") from error
        directory.mkdir(parents=True, exist_ok=True)
        trust = cls(directory)
        if not trust._pin.exists():
            create_file(trust._pin, root, 0o600)
        elif trust._pin.read_bytes() != root:
            message = f"another root is pinned in {directory}"
            raise PublishingError("root-pinned", message, "a root is replaced by one that the old one's approvers sign")
        return trust

    def last_good(self) -> Accepted | None:
        """The environment in force, from the disk: checked against its digest; None when there is none."""
        good = self._good.read()
        return _accepted(good, new=False) if good else None

    def update(self, fetcher: Fetcher, now: datetime) -> Accepted | Refused:
        """Ask the repository for what is in force, and check it.

        A repository that is being published to may be caught in the middle, once; so what looks wrong is asked again
        before it is refused.

        Raises:
            PublishingError: nothing is pinned.
            OSError: the node's own disk fails.
        """
        first = self._update(fetcher, now)
        if isinstance(first, Refused) and first.code in _MAY_BE_IN_BETWEEN:
            return self._update(fetcher, now)
        return first

    def root_version(self) -> int:
        """The version of the root that is believed: what is pinned, or one that followed it; 0 before there is any."""
        for file in (self._metadata / "root.json", self._pin):
            try:
                return Metadata[Root].from_file(str(file)).signed.version
            except (OSError, StorageError, RepositoryError):
                continue
        return 0

    def expires(self) -> datetime | None:
        """Until when silence is no reason to worry: the end of the last timestamp that was believed."""
        try:
            return Metadata[Timestamp].from_file(str(self._metadata / "timestamp.json")).signed.expires
        except (OSError, StorageError, RepositoryError):
            return None

    def _update(self, port: Fetcher, now: datetime) -> Accepted | Refused:
        fetcher = LibraryFetcher(port)
        try:
            updater = _Updater(self._root(), self._metadata, fetcher, now)
            updater.refresh()
            return self._take(updater, fetcher)
        except (RepositoryError, DownloadError, RecursionError) as error:
            return self._refused(error, fetcher.last, now)
        except PublishingError as error:
            if error.code == "root-missing":
                raise
            return Refused(Code.MALFORMED, error.message, fetcher.last)

    def _root(self) -> bytes:
        try:
            return self._pin.read_bytes()
        except FileNotFoundError as error:
            raise PublishingError("root-missing", f"no root is pinned in {self.directory}", "enrol the node") from error

    def _take(self, updater: _Updater, fetcher: LibraryFetcher) -> Accepted | Refused:
        """The environment of metadata that has been verified."""
        document = Metadata[Targets].from_file(str(self._metadata / "targets.json"))
        targets, before = document.signed, self._good.read()
        file = environment_target(targets)
        digest = file.hashes["sha256"]
        if targets.version < (floor := self._good.version()):
            message = f"version {targets.version} is offered; version {floor} is in force"
            return Refused(Code.ROLLED_BACK, message, fetcher.last)
        if before is not None and targets.version == before.version:
            if digest == before.digest:
                return _accepted(before, new=False)
            return Refused(Code.FORKED, f"there are two environments of version {targets.version}", fetcher.last)
        if before is not None and before.digest == digest:  # the same environment, signed anew
            data = before.data
        else:
            data = updater.environment(file, self._good.incoming)
        good = Good(targets.version, digest, signers(updater.root, document), data)
        accepted = _accepted(good, new=True)
        try:
            accepted.environment  # noqa: B018  # what cannot be read is not kept
        except SerialisedError as error:
            message = f"version {targets.version} is signed, but no environment: {error.message}"
            return Refused(Code.MALFORMED, message, TARGET)
        self._good.write(good)
        return accepted

    def _refused(self, error: Exception, file: str, now: datetime) -> Refused:
        code = _code(error, file)
        if code is Code.UNREACHABLE:
            expires = self.expires()
            if expires is not None and expires <= now:
                return Refused(Code.FROZEN, f"nobody answers, and the last word expired at {expires}", file)
        if code is Code.MISSING and file.endswith("timestamp.json") and not self._good.version():
            code = Code.UNPUBLISHED
        return Refused(code, str(error), file)


def _accepted(good: Good, *, new: bool) -> Accepted:
    return Accepted(good.version, good.data, good.digest, good.signers, new)


_MAY_BE_IN_BETWEEN = (Code.UNSIGNED, Code.UNDER_SIGNED, Code.MIXED, Code.MISSING)

_CODES: tuple[tuple[type[Exception], Code], ...] = (
    (ExpiredMetadataError, Code.FROZEN),
    (LengthOrHashMismatchError, Code.MIXED),
    (DownloadLengthMismatchError, Code.OVERSIZED),
    (DownloadHTTPError, Code.MISSING),
    (DownloadError, Code.UNREACHABLE),
)


def _code(error: Exception, file: str) -> Code:
    if isinstance(error, UnsignedMetadataError):
        none = re.search(r"signed by 0/", str(error))
        return Code.UNSIGNED if none else Code.UNDER_SIGNED
    if isinstance(error, BadVersionNumberError):
        # The library compares a new document with the one before it, and with the one that names it.
        older = file.endswith("timestamp.json") or re.search(r"Expected \S+\.json version", str(error))
        return Code.ROLLED_BACK if older else Code.MIXED
    return next((code for class_, code in _CODES if isinstance(error, class_)), Code.MALFORMED)


class _Updater(Updater):
    """The library's client, with the time given to it."""

    def __init__(self, root: bytes, metadata: Path, fetcher: LibraryFetcher, now: datetime) -> None:
        metadata.mkdir(exist_ok=True)
        config = UpdaterConfig(
            max_root_rotations=MOST_ROOTS,
            max_delegations=1,
            root_max_length=MOST_BYTES[Root.type],
            timestamp_max_length=MOST_BYTES[Timestamp.type],
            snapshot_max_length=MOST_BYTES[Snapshot.type],
            targets_max_length=MOST_BYTES[Targets.type],
        )
        super().__init__(
            str(metadata),
            "metadata/",
            target_base_url="targets/",
            fetcher=fetcher,
            config=config,
            bootstrap=root,
        )
        self._trusted_set.reference_time = now

    @property
    def root(self) -> Root:
        """The root that is believed now."""
        return self._trusted_set.root

    def environment(self, file: TargetFile, path: Path) -> bytes:
        """The environment's text, verified on its way through ``path``."""
        self.download_target(file, str(path))
        data = path.read_bytes()
        path.unlink()
        return data
