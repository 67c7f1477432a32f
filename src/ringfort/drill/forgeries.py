"""What can be served with a controller's online key and without the approvers': wrong in ways that nodes must notice.

Each one comes with the code of the alert that a node raises about it. Pure: keys and the time are given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from securesystemslib.signer import Signer
from tuf.api.metadata import Metadata, Snapshot, Targets, Timestamp

from ringfort.environment.model import Environment
from ringfort.publishing.metadata import TARGET, next_snapshot, next_targets, next_timestamp
from ringfort.publishing.trust import Code


@dataclass(frozen=True, slots=True)
class InForce:
    """What is really published: files by path, and the documents in force."""

    files: Mapping[str, bytes]
    targets: Metadata[Targets]
    snapshot: Metadata[Snapshot]
    timestamp: Metadata[Timestamp]


@dataclass(frozen=True, slots=True)
class Forgery:
    """Files of a repository, what they are in words, and why a node refuses them."""

    words: str
    code: Code
    files: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Keys:
    """In the hands of whoever took the controller over: its online key, the key of one approver, one of his own."""

    online: Signer
    approver: Signer
    own: Signer


def forgeries(known: InForce, wider: bytes, stolen: Keys, now: datetime) -> Iterator[Forgery]:
    """Each follows the one before: nodes have believed timestamp and snapshot, which the online key may sign.

    Args:
        wider: the text of an environment that opens something.
    """
    steps = _Steps(known, stolen.online, now)
    forged = next_targets(known.targets.signed, wider, {}, now)
    forged.sign(stolen.own)
    yield Forgery("a forged environment, signed by a stranger", Code.UNSIGNED, steps.with_targets(forged, wider))
    single = next_targets(known.targets.signed, wider, {}, now)
    single.sign(stolen.approver)
    yield Forgery("one that a single approver signed", Code.UNDER_SIGNED, steps.with_targets(single, wider))
    yield Forgery("what was in force before", Code.ROLLED_BACK, known.files)
    yield Forgery("a timestamp that has expired", Code.FROZEN, steps.expired())


class _Steps:
    """The online key in wrong hands: it numbers on from what nodes have seen last, or they would not look further."""

    def __init__(self, known: InForce, online: Signer, now: datetime) -> None:
        self._known, self._online, self._now = known, online, now
        self._snapshot, self._timestamp = known.snapshot.signed, known.timestamp.signed

    def with_targets(self, targets: Metadata[Targets], text: bytes) -> dict[str, bytes]:
        version, document = targets.signed.version, targets.to_bytes()
        digest = targets.signed.targets[TARGET].hashes["sha256"]
        files = {f"metadata/{version}.targets.json": document, f"targets/{digest}.{TARGET}": text}
        return {**self._known.files, **files, **self._announced(document, version, self._now)}

    def expired(self) -> dict[str, bytes]:
        """The true environment, announced for a time that is over."""
        version = self._known.targets.signed.version
        document = self._known.files[f"metadata/{version}.targets.json"]
        return {**self._known.files, **self._announced(document, version, self._now - timedelta(days=1))}

    def _announced(self, targets: bytes, version: int, now: datetime) -> dict[str, bytes]:
        snapshot = next_snapshot(self._snapshot, targets, version, self._now)
        snapshot.sign(self._online)
        timestamp = next_timestamp(self._timestamp, snapshot.to_bytes(), snapshot.signed.version, now)
        timestamp.sign(self._online)
        self._snapshot, self._timestamp = snapshot.signed, timestamp.signed
        return {
            f"metadata/{snapshot.signed.version}.snapshot.json": snapshot.to_bytes(),
            "metadata/timestamp.json": timestamp.to_bytes(),
        }


def wider(environment: Environment) -> Environment:
    """The environment with every service open to every host."""
    flow = next(iter(environment.flows.values()))
    callers, identities = tuple(environment.hosts), tuple(host.identity for host in environment.hosts.values())
    opened = {
        f"everything-{name}": replace(
            flow,
            name=f"everything-{name}",
            service=name,
            source="group:all",
            internet=False,
            callers=callers,
            identities=identities,
        )
        for name in environment.services
    }
    return replace(environment, flows={**environment.flows, **opened})
