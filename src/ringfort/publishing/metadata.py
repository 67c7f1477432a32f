"""The signed documents of a repository, as values: roots, targets, snapshots, timestamps.

Roles: ``root`` and ``targets`` are the approvers', a threshold of them together; ``snapshot`` and ``timestamp`` are
signed by the online key, which the controller holds. All functions are pure; times are aware and in UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from securesystemslib.signer import SSlibKey
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (
    Metadata,
    MetaFile,
    Role,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
    VerificationResult,
)

from ringfort.publishing.errors import PublishingError
from ringfort.publishing.keys import NAME_FIELD, named
from ringfort.publishing.storing import MOST_ENVIRONMENT_BYTES, MOST_METADATA_BYTES

TARGET = "environment.json"
"""The one target: the resolved environment's text (`ringfort.environment.serialise`)."""

ROOT_LIFE = TARGETS_LIFE = timedelta(days=365)
SNAPSHOT_LIFE = timedelta(days=7)
TIMESTAMP_LIFE = timedelta(hours=1)
"""How long the controller may be silent, or made silent, before nodes say that they are kept from news."""

FEWEST = 2
"""Approvers who have to agree, at the least."""

APPROVED_ROLES = (Root.type, Targets.type)
ONLINE_ROLES = (Snapshot.type, Timestamp.type)

PUBLISHED_FIELD = "x-ringfort-published"
"""When the environment's version was published, in the snapshots that carry it."""

MOST_BYTES = {
    Root.type: 64 * 1024,
    Targets.type: MOST_METADATA_BYTES,
    Snapshot.type: 16 * 1024,
    Timestamp.type: 8 * 1024,
}
"""The largest documents that are taken from anybody, by role; in memory they are some 20 times as large."""

T = TypeVar("T", Root, Targets, Snapshot, Timestamp)


def parse(kind: type[T], data: bytes) -> Metadata[T]:
    """A document of the role ``kind``; nothing about its signatures is known yet.

    Raises:
        PublishingError: it is too large, or no such document.
    """
    role = kind.type
    if len(data) > MOST_BYTES[role]:
        raise PublishingError("metadata-too-large", f"{role} has {len(data):,} bytes; {MOST_BYTES[role]:,} are taken")
    try:
        document = Metadata[T].from_bytes(data)
    except (RepositoryError, RecursionError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise PublishingError("metadata-malformed", f"this is no {role} document of TUF") from error
    if document.signed.type != role:
        raise PublishingError(
            "metadata-malformed", f"this is a document of the role {document.signed.type}, not {role}"
        )
    return document


@dataclass(frozen=True, slots=True)
class Holders:
    """Who may sign what: the approvers by name, how many of them have to agree, and the controller's online key."""

    approvers: Mapping[str, SSlibKey]
    threshold: int
    online: SSlibKey


@dataclass(frozen=True, slots=True)
class Rotation:
    """Changes to who may sign. ``approvers``: name -> the new key, or None for one who leaves."""

    approvers: Mapping[str, SSlibKey | None] = field(default_factory=dict)
    threshold: int | None = None
    online: SSlibKey | None = None


def holders(root: Root) -> Holders:
    """Who may sign, by this root."""
    keys = [root.keys[keyid] for keyid in root.roles[Targets.type].keyids]
    (online,) = (root.keys[keyid] for keyid in root.roles[Timestamp.type].keyids)
    approvers = {name_of(key): key for key in keys if isinstance(key, SSlibKey)}
    assert isinstance(online, SSlibKey)
    return Holders(approvers, root.roles[Targets.type].threshold, online)


def inspected(root: Root) -> Holders:
    """Who may sign, by a root that somebody else wrote: held to the form that `first_root` gives it.

    Raises:
        PublishingError: it is sound for TUF, but could let one person count for two, or somebody else sign.
    """
    approvers = root.roles[Targets.type]
    keys = [root.keys[keyid] for keyid in approvers.keyids if keyid in root.keys]
    online = {keyid for role in ONLINE_ROLES for keyid in root.roles[role].keyids}
    sound = (
        all(isinstance(key, SSlibKey) for key in root.keys.values())
        and all(root.roles[role].to_dict() == approvers.to_dict() for role in APPROVED_ROLES)
        and len({name_of(key) for key in keys}) == len({str(key.keyval) for key in keys}) == len(approvers.keyids)
        and len(online) == 1
        and set(root.keys) == {*approvers.keyids, *online}
        and len({str(key.keyval) for key in root.keys.values()}) == len(root.keys)
        and root.consistent_snapshot is True
        and not root.unrecognized_fields
    )
    if not sound:
        message = "this root gives roles or keys as Ringfort never would; it may let one person count for two"
        raise PublishingError("root-odd", message, "do not sign it; ask who made it")
    who = holders(root)
    _sound(who)
    return who


def name_of(key: Any) -> str:  # noqa: ANN401  # a Key of any library
    """The name of a key's owner; the key's own id if the root names none."""
    return str(key.unrecognized_fields.get(NAME_FIELD) or key.keyid[:16])


def first_root(who: Holders, now: datetime) -> Metadata[Root]:
    """The first root, not signed yet.

    Raises:
        PublishingError: too few approvers, two with one key, or an approver who would hold the online key as well.
    """
    return _root(who, 1, now)


def next_root(old: Root, rotation: Rotation, now: datetime) -> Metadata[Root]:
    """The root that follows, not signed yet: as the old one, with changes, valid from now on.

    Raises:
        PublishingError: as `first_root`; or somebody who is to leave is not there.
    """
    before = holders(old)
    approvers = dict(before.approvers)
    for name, key in rotation.approvers.items():
        if key is not None:
            approvers[name] = key
        elif approvers.pop(name, None) is None:
            raise PublishingError(
                "approver-unknown", f"no approver is called {name!r}", _listed("there are", approvers)
            )
    after = Holders(approvers, rotation.threshold or before.threshold, rotation.online or before.online)
    return _root(after, old.version + 1, now)


def _root(who: Holders, version: int, now: datetime) -> Metadata[Root]:
    _sound(who)
    approvers = [named(key, name) for name, key in sorted(who.approvers.items())]
    online = named(who.online, "online")
    roles = {role: Role([key.keyid for key in approvers], who.threshold) for role in APPROVED_ROLES}
    roles |= {role: Role([online.keyid], 1) for role in ONLINE_ROLES}
    keys = {key.keyid: key for key in (*approvers, online)}
    return Metadata(
        Root(version=version, expires=now + ROOT_LIFE, keys=dict(keys), roles=roles, consistent_snapshot=True)
    )


def _sound(who: Holders) -> None:
    count, threshold = len(who.approvers), who.threshold
    if threshold < FEWEST:
        raise PublishingError("threshold-too-low", f"at least {FEWEST} approvers have to agree, not {threshold}")
    if count < threshold:
        raise PublishingError("approvers-too-few", f"{threshold} of {count} approvers can never agree")
    owners: dict[str, str] = {}
    for name, key in (*who.approvers.items(), ("online", who.online)):
        other = owners.setdefault(key.keyid, name)
        if other != name:
            words = f"{other} and {name} have the same key: one holder would count twice"
            raise PublishingError("key-twice", words, "every approver, and the controller, needs a key of its own")


def _listed(words: str, names: Iterable[str]) -> str:
    return f"{words} {', '.join(sorted(names))}"


def next_targets(
    old: Targets | None, environment: bytes, custom: Mapping[str, Any], now: datetime
) -> Metadata[Targets]:
    """The version that follows, not signed yet. ``custom`` is signed along with it: why, what was accepted."""
    file = TargetFile.from_data(TARGET, environment, ["sha256"])
    file.unrecognized_fields["custom"] = dict(custom)
    version = old.version + 1 if old else 1
    return Metadata(Targets(version=version, expires=now + TARGETS_LIFE, targets={TARGET: file}))


def renewed_targets(old: Targets, now: datetime) -> Metadata[Targets]:
    """The same environment once more, for new keys or for another year: a version of its own, not signed yet."""
    return Metadata(Targets(version=old.version + 1, expires=now + TARGETS_LIFE, targets=dict(old.targets)))


def next_snapshot(old: Snapshot | None, targets: bytes, version: int, now: datetime) -> Metadata[Snapshot]:
    """The snapshot for the targets document ``targets`` of ``version``, not signed yet."""
    meta = {f"{Targets.type}.json": MetaFile.from_data(version, targets, ["sha256"])}
    published = _published(old).get("at") if old and _published(old).get("version") == version else None
    fields = {PUBLISHED_FIELD: {"version": version, "at": published or now.strftime(TIME)}}
    number = old.version + 1 if old else 1
    return Metadata(
        Snapshot(version=number, expires=now + SNAPSHOT_LIFE, meta=meta, unrecognized_fields=fields),
    )


def next_timestamp(old: Timestamp | None, snapshot: bytes, version: int, now: datetime) -> Metadata[Timestamp]:
    """The timestamp for the snapshot document ``snapshot`` of ``version``, not signed yet."""
    meta = MetaFile.from_data(version, snapshot, ["sha256"])
    return Metadata(Timestamp(version=old.version + 1 if old else 1, expires=now + TIMESTAMP_LIFE, snapshot_meta=meta))


TIME = "%Y-%m-%dT%H:%M:%SZ"
"""How times are written in metadata (TUF, 4.2.2)."""


def published_at(snapshot: Snapshot) -> tuple[int, datetime] | None:
    """The environment's version that a snapshot carries, and when it was published."""
    found = _published(snapshot)
    try:
        return int(found["version"]), datetime.strptime(found["at"], TIME).replace(tzinfo=UTC)
    except (KeyError, TypeError, ValueError):
        return None


def _published(snapshot: Snapshot) -> dict[str, Any]:
    found = snapshot.unrecognized_fields.get(PUBLISHED_FIELD)
    return found if isinstance(found, dict) else {}


def signatures(root: Root, document: Metadata[Any]) -> VerificationResult:
    """Whose signatures are good for the document, by the role it is of in ``root``."""
    return root.get_verification_result(document.signed.type, document.signed_bytes, document.signatures)


def signers(root: Root, document: Metadata[Any]) -> tuple[str, ...]:
    """The names of those whose signatures are good."""
    return tuple(sorted(name_of(key) for key in signatures(root, document).signed.values()))


def environment_target(targets: Targets) -> TargetFile:
    """The environment's entry.

    Raises:
        PublishingError: there is none, or something else beside it.
    """
    if set(targets.targets) != {TARGET} or targets.delegations is not None:
        raise PublishingError("targets-other", f"the only target is {TARGET}, and nobody else may sign for it")
    file = targets.targets[TARGET]
    if file.length > MOST_ENVIRONMENT_BYTES or "sha256" not in file.hashes:
        raise PublishingError("targets-other", f"{TARGET} has {file.length:,} bytes, or no SHA-256")
    return file
