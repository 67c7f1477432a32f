"""The repository: what is published, what may follow it, and the order in which files are put there.

Whoever holds the online key can serve an old state or none. It cannot make a new one: versions and roots need the
approvers' signatures, which are checked here before anything is written, and by every node again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from securesystemslib.signer import Signer
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

from ringfort.environment.serialise import SerialisedError, from_bytes
from ringfort.publishing.errors import PublishingError
from ringfort.publishing.metadata import (
    ONLINE_ROLES,
    SNAPSHOT_LIFE,
    TARGET,
    TIMESTAMP_LIFE,
    environment_target,
    inspected,
    name_of,
    next_snapshot,
    next_timestamp,
    parse,
    signatures,
)
from ringfort.publishing.storing import METADATA, TARGETS, DirectoryStore, Store

T = TypeVar("T", Root, Targets, Snapshot, Timestamp)


@dataclass(frozen=True, slots=True)
class Publication:
    """What approvers have signed, to be published together: documents, and the environment's text if it is new.

    A part is None when it stays as it is.
    """

    root: bytes | None = None
    targets: bytes | None = None
    environment: bytes | None = None


@dataclass(frozen=True, slots=True)
class Published:
    """What the repository holds now. ``targets`` and ``environment`` are None before the first version."""

    root: Metadata[Root]
    targets: Metadata[Targets] | None
    environment: bytes | None

    @property
    def version(self) -> int:
        """The environment's version; 0 before the first."""
        return self.targets.signed.version if self.targets else 0


class Repository:
    """One environment's repository in a store."""

    def __init__(self, store: Store | Path) -> None:
        self.store: Store = DirectoryStore(store) if isinstance(store, Path) else store

    # -- reading -----------------------------------------------------------------------------------------------

    def published(self) -> Published:
        """What is published, verified from the first root on; not whether it is still fresh.

        Raises:
            PublishingError: there is no repository, or it holds what the approvers did not sign.
        """
        root = self.roots()[-1]
        timestamp = self._stored(Timestamp, "timestamp.json")
        if timestamp is None:
            return Published(root, None, None)
        snapshot = self._snapshot(timestamp.signed.snapshot_meta.version)
        version = snapshot.signed.meta["targets.json"].version
        targets = self._stored(Targets, f"{version}.targets.json")
        if targets is None:
            raise _damaged(f"version {version} is missing")
        _enough(root.signed, targets)
        return Published(root, targets, self.environment(targets.signed))

    def roots(self) -> list[Metadata[Root]]:
        """Every root from the first on, each signed by those of the one before and its own.

        Raises:
            PublishingError: there is none, or one is not signed by enough of them.
        """
        roots: list[Metadata[Root]] = []
        while (root := self._stored(Root, f"{len(roots) + 1}.root.json")) is not None:
            _follows(roots[-1] if roots else None, root)
            roots.append(root)
        if not roots:
            raise PublishingError("repository-missing", "there is no repository here", "begin with `init`")
        return roots

    def environment(self, targets: Targets) -> bytes:
        """The text of a version's environment.

        Raises:
            PublishingError: it is gone, or another one.
        """
        file = environment_target(targets)
        data = self.store.read(TARGETS, f"{file.hashes['sha256']}.{TARGET}")
        if data is None or hashlib.sha256(data).hexdigest() != file.hashes["sha256"]:
            raise _damaged(f"the environment of version {targets.version} is missing or damaged")
        return data

    def snapshot_version(self) -> int:
        """The number of the snapshot in force; 0 before the first."""
        timestamp = self._stored(Timestamp, "timestamp.json")
        return timestamp.signed.snapshot_meta.version if timestamp else 0

    def _stored(self, kind: type[T], name: str) -> Metadata[T] | None:
        data = self.store.read(METADATA, name)
        return None if data is None else parse(kind, data)

    def _snapshot(self, version: int) -> Metadata[Snapshot]:
        snapshot = self._stored(Snapshot, f"{version}.snapshot.json")
        if snapshot is None or "targets.json" not in snapshot.signed.meta:
            raise _damaged(f"snapshot {version} is missing")
        return snapshot

    # -- writing -----------------------------------------------------------------------------------------------

    def publish(self, publication: Publication, online: Signer, now: datetime) -> int:
        """Put a root, a version or both in force at once; doing it again changes nothing.

        A reader sees the state before or the state after: files with a version in their name come first, the timestamp,
        which makes them known, last.

        Returns:
            The environment's version now; 0 while there is only a root.

        Raises:
            PublishingError: not signed by enough approvers, not what follows, no environment, or not the online key of
                the root.
        """
        with self.store.alone():
            roots = self._roots_with(publication.root)
            targets, environment = self._targets_with(roots[-1].signed, publication, now)
            _online(roots[-1].signed, online)
            if environment is not None:
                self.store.write(TARGETS, f"{hashlib.sha256(environment).hexdigest()}.{TARGET}", environment)
            if targets is not None:
                self._announce(roots[-1], targets, online, now)
            else:
                self._write_root(roots[-1])
            return targets.signed.version if targets else 0

    def refresh(self, online: Signer, now: datetime) -> bool:
        """Say again that this is in force, when half of the timestamp's life is over; to be called every few minutes.

        Returns:
            Whether anything was written.

        Raises:
            PublishingError: nothing is published, or this is not the online key of the root.
        """
        with self.store.alone():
            published = self.published()
            timestamp = self._stored(Timestamp, "timestamp.json")
            if timestamp is None or published.targets is None:
                raise PublishingError("nothing-published", "there is no version to refresh")
            if timestamp.signed.expires - now > TIMESTAMP_LIFE / 2:
                return False
            _online(published.root.signed, online)
            self._announce(published.root, published.targets, online, now)
            return True

    def _roots_with(self, new: bytes | None) -> list[Metadata[Root]]:
        """The roots, and the new one if there is one that is not there already."""
        if new is None:
            return self.roots()
        root = parse(Root, new)
        inspected(root.signed)
        roots = self.roots() if self.store.read(METADATA, "1.root.json") is not None else []
        if root.signed.version <= len(roots) and roots[root.signed.version - 1].to_bytes() == root.to_bytes():
            return roots
        _follows(roots[-1] if roots else None, root)
        return [*roots, root]

    def _targets_with(
        self, root: Root, publication: Publication, now: datetime
    ) -> tuple[Metadata[Targets] | None, bytes | None]:
        """The version that will be in force, and its text if that is new."""
        old = self.published().targets if self.store.read(METADATA, "timestamp.json") is not None else None
        if publication.targets is None:
            if old is not None:
                _enough(root, old, "the approvers' keys change, so the version in force has to be signed again")
            return old, None
        targets = parse(Targets, publication.targets)
        if old is not None and old.to_bytes() == targets.to_bytes():
            return old, None
        version = old.signed.version + 1 if old else 1
        if targets.signed.version != version:
            message = f"version {targets.signed.version} is no successor of version {version - 1}"
            raise PublishingError("version-not-next", message, "propose it again")
        if targets.signed.expires <= now:
            raise PublishingError("version-expired", f"version {version} expired on {targets.signed.expires:%Y-%m-%d}")
        _enough(root, targets)
        file = environment_target(targets.signed)
        if publication.environment is None:
            self.environment(targets.signed)
            return targets, None
        if hashlib.sha256(publication.environment).hexdigest() != file.hashes["sha256"] or (
            len(publication.environment) != file.length
        ):
            raise PublishingError("environment-other", "this is not the environment that was signed")
        try:
            from_bytes(publication.environment)
        except SerialisedError as error:
            raise PublishingError(error.code, f"what was signed is no environment: {error.message}") from error
        return targets, publication.environment

    def _announce(self, root: Metadata[Root], targets: Metadata[Targets], online: Signer, now: datetime) -> None:
        """Write the documents that make ``targets`` known, in the order in which they refer to each other."""
        name, data = f"{targets.signed.version}.targets.json", targets.to_bytes()
        timestamp = self._stored(Timestamp, "timestamp.json")
        before = self._snapshot(timestamp.signed.snapshot_meta.version) if timestamp else None
        snapshot = _snapshot_for(before, root.signed, targets, now)
        if snapshot is not before:
            snapshot.sign(online)
        snapshot_data = snapshot.to_bytes()
        new = next_timestamp(timestamp.signed if timestamp else None, snapshot_data, snapshot.signed.version, now)
        new.sign(online)
        self.store.write(METADATA, name, data)
        self.store.write(METADATA, f"{snapshot.signed.version}.snapshot.json", snapshot_data)
        self._write_root(root)
        self.store.write(METADATA, "timestamp.json", new.to_bytes())

    def _write_root(self, root: Metadata[Root]) -> None:
        name = f"{root.signed.version}.root.json"
        if self.store.read(METADATA, name) is None:
            self.store.write(METADATA, name, root.to_bytes())


def _snapshot_for(
    before: Metadata[Snapshot] | None, root: Root, targets: Metadata[Targets], now: datetime
) -> Metadata[Snapshot]:
    """The snapshot there is, if it carries this version, is young and signed by the root's key; else the next one."""
    if before is not None and before.signed.meta["targets.json"].version == targets.signed.version:
        young = before.signed.expires - now > SNAPSHOT_LIFE / 2
        if young and signatures(root, before).verified:
            return before
    return next_snapshot(before.signed if before else None, targets.to_bytes(), targets.signed.version, now)


def _follows(old: Metadata[Root] | None, new: Metadata[Root]) -> None:
    number = old.signed.version + 1 if old else 1
    if new.signed.version != number:
        raise PublishingError("root-not-next", f"root {new.signed.version} is not root {number}", "rotate again")
    result = new.signed.get_root_verification_result(old.signed if old else None, new.signed_bytes, new.signatures)
    if not result.verified:
        missing = max(result.first.missing, result.second.missing)
        words = _may_still({**result.first.unsigned, **result.second.unsigned})
        raise PublishingError("under-signed", f"root {number} needs {missing} more signature{_s(missing)}{words}")


def _enough(root: Root, targets: Metadata[Targets], why: str = "") -> None:
    result = signatures(root, targets)
    if not result.verified:
        message = f"version {targets.signed.version} needs {result.missing} more signature{_s(result.missing)}"
        raise PublishingError("under-signed", f"{message}{_may_still(result.unsigned)}", why)


def _may_still(unsigned: Mapping[str, object]) -> str:
    names = sorted({name_of(key) for key in unsigned.values()})
    return f"; {', '.join(names)} can still sign" if names else ""


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def _online(root: Root, online: Signer) -> None:
    for role in ONLINE_ROLES:
        if online.public_key.keyid not in root.roles[role].keyids:
            hint = "use the controller's key, or rotate it into the root"
            raise PublishingError("online-key-other", "this is not the online key that the root names", hint)


def _damaged(what: str) -> PublishingError:
    return PublishingError("repository-damaged", f"the repository is damaged: {what}", "restore it from a copy")
