"""Every version that was published: who signed it, when, and what it changed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from tuf.api.metadata import Metadata, Root, Snapshot, Targets

from ringfort.publishing.errors import PublishingError
from ringfort.publishing.metadata import environment_target, holders, parse, published_at, signatures, signers
from ringfort.publishing.proposal import Record, from_custom
from ringfort.publishing.repository import Repository
from ringfort.publishing.storing import METADATA

MOST_SNAPSHOTS = 2_000
"""Snapshots that are asked when a version was published: those of some twenty years."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One version.

    Attributes:
        digest: SHA-256 of its text.
        signers: approvers whose signatures are good, by the root that was in force; ``root`` is its number.
        published: when; None if the snapshot that said it is gone.
        record: what was signed along with it; None if it has another form.
    """

    version: int
    digest: str
    signers: tuple[str, ...]
    root: int
    published: datetime | None
    expires: datetime
    record: Record | None


@dataclass(frozen=True, slots=True)
class RootEntry:
    """One root: whom it names, and who signed it."""

    version: int
    approvers: tuple[str, ...]
    threshold: int
    signers: tuple[str, ...]
    expires: datetime


def history(repository: Repository) -> list[Entry]:
    """Every version, the newest first, each verified.

    Raises:
        PublishingError: there is no repository; a version is missing, or not signed by enough approvers of any root.
    """
    roots = repository.roots()
    times = _times(repository)
    return [_entry(repository, number, roots, times) for number in range(repository.published().version, 0, -1)]


def document_of(repository: Repository, version: int) -> Metadata[Targets]:
    """The targets document of one version, of any age.

    Raises:
        PublishingError: there is no such version.
    """
    data = repository.store.read(METADATA, f"{version}.targets.json")
    if data is None or not 0 < version <= repository.published().version:
        raise PublishingError(
            "version-unknown", f"version {version} was never published", "see `ringfort environment log`"
        )
    return parse(Targets, data)


def root_history(repository: Repository) -> list[RootEntry]:
    """Every root, the newest first.

    Raises:
        PublishingError: as `Repository.roots`.
    """
    roots = repository.roots()
    return [
        RootEntry(
            root.signed.version,
            _names(root.signed),
            root.signed.roles["targets"].threshold,
            tuple(sorted({*signers(root.signed, root), *(signers(before.signed, root) if before else ())})),
            root.signed.expires,
        )
        for root, before in reversed(list(zip(roots, [None, *roots[:-1]], strict=True)))
    ]


def _names(root: Root) -> tuple[str, ...]:
    return tuple(sorted(holders(root).approvers))


def _entry(repository: Repository, number: int, roots: list[Metadata[Root]], times: dict[int, datetime]) -> Entry:
    document = document_of(repository, number)
    root = next((root for root in reversed(roots) if signatures(root.signed, document).verified), None)
    if root is None:
        raise PublishingError("under-signed", f"version {number} is not signed by enough approvers of any root")
    file = environment_target(document.signed)
    try:
        record: Record | None = from_custom(file.custom)
    except PublishingError:
        record = None
    return Entry(
        number,
        file.hashes["sha256"],
        signers(root.signed, document),
        root.signed.version,
        times.get(number),
        document.signed.expires,
        record,
    )


def _times(repository: Repository) -> dict[int, datetime]:
    """When each version was published, as the first snapshot that carries it says."""
    found: dict[int, datetime] = {}
    newest = repository.snapshot_version()
    for number in range(newest, max(0, newest - MOST_SNAPSHOTS), -1):
        data = repository.store.read(METADATA, f"{number}.snapshot.json")
        told = published_at(parse(Snapshot, data).signed) if data else None
        if told is not None:
            found[told[0]] = told[1]
    return found
