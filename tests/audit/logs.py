"""Logs to try things on: their keys, a witness in this process, and what somebody who has the disk can do to them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ringfort.audit.errors import AuditError
from ringfort.audit.fetching import WitnessConflictError
from ringfort.audit.log import Log
from ringfort.audit.notes import COSIGNATURE, ED25519, Note, Signature, SignerKey, VerifierKey, parse_signatures
from ringfort.audit.policy import Policy, parse_policy
from ringfort.audit.policy import Witness as Named
from ringfort.audit.publisher import Publisher
from ringfort.audit.records import Action, Record, State
from ringfort.audit.sealing import NO_PREVIOUS, seal, unseal
from ringfort.audit.tiles import WIDTH, bundle, bundle_path, entries_of, full_tile_hash, tile_path, tiles_of, width_at
from ringfort.audit.tree import leaf_hash
from ringfort.audit.witness import Witness
from ringfort.audit.witnessing import Refusal, write_request

ORIGIN = "shop.example/audit"
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
LOG_KEY = SignerKey(ORIGIN, ED25519, b"L" * 32)
SOUTH_KEY = SignerKey("shop.example/witness/south", COSIGNATURE, b"S" * 32)
WEST_KEY = SignerKey("shop.example/witness/west", COSIGNATURE, b"W" * 32)

POLICY = parse_policy(f"log {LOG_KEY.public()}\nwitness south {SOUTH_KEY.public()}\nquorum south\n".encode())


class LocalWitness:
    """A witness without a network in between; a `Cosigner`."""

    def __init__(self, directory: Path, key: SignerKey = SOUTH_KEY, now: datetime = NOON) -> None:
        self.now = now
        self.witness = Witness(directory, key, [LOG_KEY.public()])
        self._key = key.public()

    @property
    def key(self) -> VerifierKey:
        return self._key

    def cosign(self, old: int, proof: Sequence[bytes], note: Note) -> Signature:
        answer = self.witness.add_checkpoint(write_request(old, proof, note), self.now)
        match answer:
            case Refusal(status=409):
                raise WitnessConflictError(self._key.name, int(answer.text))
            case Refusal():
                raise AuditError("audit-witness-refused", f"{answer.status}: {answer.text}")
            case _:
                return parse_signatures(answer.encode())[0]


def record(number: int, **changes: object) -> Record:
    """The change with that number."""
    fields: dict[str, object] = {
        "when": NOON + timedelta(seconds=number),
        "who": "spiffe://shop.example/operator/anna",
        "authenticated": "mutual-tls",
        "action": Action.parse("control:customer:change"),
        "on": f"customer/c{number % 7}",
        "before": State({"quota": number}),
        "after": State({"quota": number + 1}),
        "why": f"T-{number}",
        "origin": "10.10.6.10",
    }
    return Record(**{**fields, **changes})  # type: ignore[arg-type]


def bodies(start: int, end: int) -> list[bytes]:
    """The bodies of changes ``start`` to ``end``."""
    return [record(number).body() for number in range(start, end)]


def make(directory: Path, *sizes: int) -> Path:
    """A log that published a checkpoint at each of ``sizes``; its directory."""
    place = directory / "log"
    with Log.create(place, ORIGIN) as log:
        publisher = Publisher(log, LOG_KEY, [LocalWitness(directory / "south")])
        start = 0
        for size in sizes:
            log.append(bodies(start, size))
            publisher.publish()
            start = size
    return place


def served(place: Path, size: int) -> list[bytes]:
    """The leaves in a log's bundles."""
    leaves: list[bytes] = []
    for number in range(-(-size // WIDTH)):
        leaves += entries_of((place / "public" / bundle_path(number, width_at(size, 0, number))).read_bytes())
    return leaves


def serve_instead(place: Path, size: int, leaves: Sequence[bytes]) -> None:
    """Put other leaves into the bundles of a log whose checkpoint is of ``size`` records."""
    for number in range(-(-size // WIDTH)):
        last = number == (size - 1) // WIDTH
        part = leaves[number * WIDTH : None if last else (number + 1) * WIDTH]
        (place / "public" / bundle_path(number, width_at(size, 0, number))).write_bytes(bundle(part))


def rewrite_tiles(place: Path, size: int, leaves: Sequence[bytes], levels: int = 64) -> None:
    """Put the hashes of ``leaves`` into the tiles of the lowest ``levels`` levels."""
    rows = [[leaf_hash(leaf) for leaf in leaves[:size]]]
    while len(rows[-1]) >= WIDTH:
        rows.append(
            [full_tile_hash(rows[-1][at : at + WIDTH]) for at in range(0, len(rows[-1]) // WIDTH * WIDTH, WIDTH)]
        )
    for level, number, width in tiles_of(size):
        if level < levels:
            tile = b"".join(rows[level][number * WIDTH : number * WIDTH + width])
            (place / "public" / tile_path(level, number, width)).write_bytes(tile)


def sealed_anew(leaves: Sequence[bytes]) -> list[bytes]:
    """The same bodies, with fresh indexes and hashes of the one before."""
    fresh: list[bytes] = []
    previous = NO_PREVIOUS
    for index, leaf in enumerate(leaves):
        fresh.append(seal(index, previous, unseal(leaf).body))
        previous = leaf_hash(fresh[-1])
    return fresh


def changed(leaf: bytes) -> bytes:
    """A leaf whose ticket is another one; its seal is the old one."""
    sealed = unseal(leaf)
    other = sealed.body.replace(b'"why":"T-', b'"why":"X-')
    assert other != sealed.body
    return seal(sealed.index, sealed.previous, other)


def copy(place: Path, to: Path) -> Path:
    """A copy of a log."""
    shutil.copytree(place, to)
    return to


Attack = Callable[[list[bytes]], list[bytes]]

__all__ = ["Attack", "Named", "Policy"]
