"""A small house that publishes: three approvers, a controller, a repository, a node; and what a forger can do."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

from ringfort.environment.serialise import to_bytes
from ringfort.publishing.fetching import DirectoryFetcher
from ringfort.publishing.keys import generate
from ringfort.publishing.metadata import Holders, first_root, next_snapshot, next_targets, next_timestamp
from ringfort.publishing.repository import Publication, Repository
from ringfort.publishing.trust import Accepted, Refused, Trust
from tests.environment.declare import sound

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
NAMES = ("alice", "bob", "carol")


@functools.cache
def text(number: int = 0) -> bytes:
    """The text of an environment; a different one for each number."""
    return to_bytes(replace(sound(), name=f"test-{number}"))


def signer(kind: str = "ed25519") -> CryptoSigner:
    return CryptoSigner(generate(kind))


def signed(document: Metadata[Any], *keys: CryptoSigner) -> bytes:
    """The document with the signatures of ``keys``, and no others."""
    document.signatures.clear()
    for key in keys:
        document.sign(key, append=True)
    return document.to_bytes()


@dataclass
class House:
    """``keys`` are the approvers', by name."""

    directory: Path
    keys: dict[str, CryptoSigner]
    online: CryptoSigner
    node: Trust

    @property
    def repository(self) -> Repository:
        return Repository(self.directory)

    def of(self, *names: str) -> list[CryptoSigner]:
        return [self.keys[name] for name in names]

    def publish(self, number: int, *names: str, now: datetime = NOW) -> int:
        """Publish environment ``number`` as the next version, signed by these (alice and bob if nobody is named)."""
        document = self.targets(number, now)
        return self.repository.publish(
            Publication(targets=signed(document, *self.of(*(names or NAMES[:2]))), environment=text(number)),
            self.online,
            now,
        )

    def targets(self, number: int, now: datetime = NOW) -> Metadata[Targets]:
        old = self.repository.published().targets
        return next_targets(old.signed if old else None, text(number), {"reason": f"number {number}"}, now)

    def root(self) -> Root:
        return self.repository.published().root.signed

    def update(self, now: datetime = NOW) -> Accepted | Refused:
        return self.node.update(DirectoryFetcher(self.directory), now)

    def metadata(self, name: str) -> Path:
        return self.directory / "metadata" / name


def build(path: Path) -> House:
    """A house with a first root and nothing published yet."""
    keys = dict(zip(NAMES, (signer(), signer("p-256"), signer()), strict=True))
    online = signer("p-256")
    holders = Holders({name: key.public_key for name, key in keys.items()}, 2, online.public_key)
    root = signed(first_root(holders, NOW), keys["alice"], keys["carol"])
    repository = path / "repository"
    Repository(repository).publish(Publication(root=root), online, NOW)
    return House(repository, keys, online, Trust.pin(path / "node", root))


def serve(house: House, targets: bytes, environment: bytes | None = None, *, now: datetime = NOW) -> None:
    """What a controller that was taken over can do: announce any targets document, with the online key it holds."""
    document = Metadata[Targets].from_bytes(targets)
    version = document.signed.version
    house.metadata(f"{version}.targets.json").write_bytes(targets)
    if environment is not None:
        digest = hashlib.sha256(environment).hexdigest()
        (house.directory / "targets" / f"{digest}.environment.json").write_bytes(environment)
    timestamp = Metadata[Timestamp].from_bytes(house.metadata("timestamp.json").read_bytes()).signed
    old = house.metadata(f"{timestamp.snapshot_meta.version}.snapshot.json").read_bytes()
    snapshot = next_snapshot(Metadata[Snapshot].from_bytes(old).signed, targets, version, now)
    announce(house, snapshot, now=now)


def announce(
    house: House, snapshot: Metadata[Snapshot], *, now: datetime = NOW, key: CryptoSigner | None = None
) -> None:
    """Write a snapshot and a timestamp for it, signed with ``key`` or the online key."""
    signer_ = key or house.online
    data = signed(snapshot, signer_)
    house.metadata(f"{snapshot.signed.version}.snapshot.json").write_bytes(data)
    old = Metadata[Timestamp].from_bytes(house.metadata("timestamp.json").read_bytes()).signed
    timestamp = next_timestamp(old, data, snapshot.signed.version, now)
    house.metadata("timestamp.json").write_bytes(signed(timestamp, signer_))
