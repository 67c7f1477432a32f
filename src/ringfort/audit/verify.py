"""Is a log what was signed and cosigned? Offline, from its files alone, and if not: what exactly was touched.

(1) The checkpoint is the log's, and its witnesses cosigned it. (2) Checkpoints kept from earlier are not contradicted.
(3) Every record is read and hashed up to the root. (4) Every tile's file holds these hashes. (5) Each record has its
index and the hash of the one before it. What fails is looked at by `ringfort.audit.diagnosis`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ringfort.audit.authentic import AuthenticTiles, read_tile
from ringfort.audit.checkpoint import SignedCheckpoint, parse_checkpoint, signed_by
from ringfort.audit.diagnosis import Finding, by_hashes, by_records
from ringfort.audit.errors import AuditError
from ringfort.audit.notes import LONGEST_NOTE
from ringfort.audit.policy import NONE, Accepted, Policy
from ringfort.audit.reading import Files, read_bundle
from ringfort.audit.scanning import Scan, scan
from ringfort.audit.tiles import (
    WIDTH,
    TileHashes,
    checkpoint_path,
    full_tile_hash,
    hashes_of,
    rows_over,
    tile_path,
    width_at,
)
from ringfort.audit.tree import EMPTY_ROOT, Hash, leaf_hash, root

MOST_FINDINGS = 1000
"""Findings that are told; beyond, only how many."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What verification found: nothing, if the log is what was signed."""

    accepted: Accepted
    findings: tuple[Finding, ...]

    @property
    def intact(self) -> bool:
        """Whether the log is what was signed."""
        return not self.findings


def verify(files: Files, policy: Policy, since: Sequence[SignedCheckpoint] = (), processes: int = 1) -> Verdict:
    """Verify a whole log.

    Args:
        files: of the log.
        policy: whom to believe; it has to name witnesses.
        since: checkpoints of the same log kept from earlier, or got from others.
        processes: how many may work.

    Raises:
        AuditError: there is no checkpoint, or the policy doesn't accept it.
    """
    if policy.quorum == NONE:
        raise AuditError("audit-policy", "the policy asks for no witness; without one a log can show many histories")
    accepted = policy.accept(parse_checkpoint(files.read("checkpoint", LONGEST_NOTE)))
    for kept in since:
        check_kept(kept, policy, accepted)
    scanned = _Scanned(files, accepted, list(scan(files, accepted.checkpoint.size, processes)))
    findings = scanned.findings()
    whole = scanned.root_at(accepted.checkpoint.size) == accepted.checkpoint.root
    findings += _forks(accepted, since, scanned if whole else None)
    if not whole:
        findings += _rewritten(scanned, policy, findings)
    return Verdict(accepted, tuple(sorted(set(findings))[:MOST_FINDINGS]))


def check_kept(kept: SignedCheckpoint, policy: Policy, accepted: Accepted) -> None:
    """Refuse a kept checkpoint that isn't one of this log: it would prove nothing.

    Raises:
        AuditError: it is another log's, or not signed by it.
    """
    origin = accepted.checkpoint.origin
    if kept.checkpoint.origin != origin:
        raise AuditError("audit-since", f"the checkpoint to compare with is of {kept.checkpoint.origin}, not {origin}")
    if not any(signed_by(kept.note, key) for key in policy.logs if key.name == origin):
        raise AuditError("audit-since", f"the checkpoint to compare with carries no signature of {origin}")


def _forks(accepted: Accepted, since: Sequence[SignedCheckpoint], scanned: _Scanned | None) -> list[Finding]:
    """What earlier checkpoints say against the log; roots of its past are known only if its records are as signed."""
    findings = []
    now = accepted.checkpoint
    for kept in since:
        then = kept.checkpoint
        if then.size > now.size:
            message = f"the log shows {now.size} records, and signed {then.size} before: it was rolled back, or forked"
            findings.append(Finding(-1, "rolled-back", message))
        elif (then.size == now.size and then.root != now.root) or (
            scanned is not None and scanned.root_at(then.size) != then.root
        ):
            message = f"the log forked: it signed two histories that differ among the first {then.size} records"
            findings.append(Finding(-1, "forked", message))
    return findings


def _rewritten(scanned: _Scanned, policy: Policy, findings: Sequence[Finding]) -> list[Finding]:
    """If nothing tells which record was touched, earlier checkpoints tell from where on the log was written anew."""
    if any(finding.index >= 0 for finding in findings):
        return []
    good, bad = 0, scanned.size
    for kept in _history(scanned.files, scanned.size, policy):
        size = kept.checkpoint.size
        if size <= scanned.size:
            if scanned.root_at(size) == kept.checkpoint.root:
                good = max(good, size)
            else:
                bad = min(bad, size)
    message = f"a record from {good} to {bad - 1} was changed, removed or inserted, and all after it were written anew"
    return [Finding(good, "rewritten", message)]


def _history(files: Files, size: int, policy: Policy) -> list[SignedCheckpoint]:
    """Earlier checkpoints beside the log, those that the policy accepts."""
    found = []
    for end in range(WIDTH, size + 1, WIDTH):
        try:
            signed = parse_checkpoint(files.read(checkpoint_path(end), LONGEST_NOTE))
            found.append(policy.accept(signed).signed)
        except AuditError:
            continue  # none is kept after this tile, or one that proves nothing; it isn't needed either
    return found


class _Scanned:
    """A log whose every record has been read and hashed."""

    def __init__(self, files: Files, accepted: Accepted, scans: list[Scan]) -> None:
        self.files = files
        self.size = accepted.checkpoint.size
        self._checkpoint = accepted.checkpoint
        self._scans = scans
        self._levels = self._above()

    def root_at(self, size: int) -> Hash | None:
        """The root over the first ``size`` records as they are served; none if some are not."""
        if size == 0:
            return EMPTY_ROOT
        if not all(it.complete for it in self._scans[: -(-size // WIDTH)]):
            return None
        try:
            return root(size, TileHashes(size, lambda *tile: rows_over(self._row(*tile))))
        except (AuditError, IndexError):
            return None

    def findings(self) -> list[Finding]:
        """Everything that is wrong with files and records."""
        found = [Finding(-1, "damaged", it.fault) for it in self._scans if it.fault]
        if self.root_at(self.size) == self._checkpoint.root:
            found += [Finding(-1, "damaged", it.tile_fault) for it in self._scans if it.tile_fault]
            return found + self._damaged_above() + self._badly_sealed()
        return found + self._touched()

    def _above(self) -> list[list[Hash]]:
        """The hashes of each level above 0, from the records."""
        levels = [[it.subtree or bytes(32) for it in self._scans if width_at(self.size, 0, it.number) == WIDTH]]
        while len(levels[-1]) >= WIDTH:
            row = levels[-1]
            levels.append([full_tile_hash(row[at : at + WIDTH]) for at in range(0, len(row) // WIDTH * WIDTH, WIDTH)])
        return levels

    def _row(self, level: int, number: int, width: int) -> Sequence[Hash]:
        if level:
            return self._levels[level - 1][number * WIDTH : number * WIDTH + width]
        kept = self._scans[number].hashes
        return hashes_of(kept) if kept else [leaf_hash(leaf) for leaf in read_bundle(self.files, number, width)]

    def _damaged_above(self) -> list[Finding]:
        """Tiles above level 0 whose files are not what they should be."""
        found = []
        for level, row in enumerate(self._levels, 1):
            for number in range(-(-len(row) // WIDTH)):
                hashes = row[number * WIDTH : (number + 1) * WIDTH]
                path = tile_path(level, number, len(hashes))
                try:
                    if read_tile(self.files, level, number, len(hashes)) != hashes:
                        found.append(
                            Finding(-1, "damaged", f"{path} holds other hashes than those of the records below")
                        )
                except AuditError as error:
                    found.append(Finding(-1, "damaged", error.message))
        return found

    def _badly_sealed(self) -> list[Finding]:
        """Records as they were signed, but without their index or the hash before: the log itself went wrong."""
        found = []
        for it, before in zip(self._scans, [None, *self._scans], strict=False):
            wanted = bytes(32).hex() if before is None else before.last.hex()
            if not it.chained or it.first_previous != wanted.encode():
                first = it.number * WIDTH
                message = f"records from {first} on were signed without their index or the hash of the one before"
                found.append(Finding(first, "changed", message))
        return found

    def _touched(self) -> list[Finding]:
        """Compare what is served with true hashes where there are any, and else with itself."""
        tiles = self._true_tiles()
        expected: list[tuple[int, Hash]] = []
        known: list[tuple[int, Hash]] = []
        doubtful: list[int] = []
        found = []
        for it in self._scans:
            if it.fault:
                continue
            true = self._true_hashes(tiles, it)
            if true is None:
                doubtful.append(it.number)
                if it.tile_fault and tiles is not None:
                    found.append(Finding(-1, "damaged", it.tile_fault))
            elif true:
                start = it.number * WIDTH
                expected += list(enumerate(true, start))
                known += list(enumerate(hashes_of(it.hashes), start))
        return found + by_hashes(expected, known) + self._compare(doubtful)

    def _true_tiles(self) -> AuthenticTiles | None:
        try:
            return AuthenticTiles(self.files, self._checkpoint)
        except AuditError:
            return None

    def _true_hashes(self, tiles: AuthenticTiles | None, it: Scan) -> Sequence[Hash] | None:
        """The true hashes of a tile, if they are known; empty if they are what is served."""
        if tiles is None:
            return None
        try:
            if it.subtree is not None and it.subtree == tiles.hash_of(0, it.number):
                return []
            true = tiles.tile(0, it.number)
        except AuditError:
            return None
        return [] if b"".join(true) == it.hashes else true

    def _compare(self, doubtful: Sequence[int]) -> list[Finding]:
        found = []
        for first, last in _runs(doubtful):
            served = []
            for number in range(first, last + 1):
                leaves = read_bundle(self.files, number, width_at(self.size, 0, number))
                served += list(enumerate(leaves, number * WIDTH))
            before = self._scans[first - 1].last if first and not self._scans[first - 1].fault else None
            end = min((last + 1) * WIDTH, self.size)
            found += by_records(first * WIDTH, end, before, served)
            found += self._seam(last, served)
        return found

    def _seam(self, last: int, served: Sequence[tuple[int, bytes]]) -> list[Finding]:
        """The record after a doubtful run remembers the run's last one."""
        after = self._scans[last + 1] if last + 1 < len(self._scans) else None
        if after is None or not after.first_previous or not served:
            return []
        position, leaf = served[-1]
        if after.first_previous == leaf_hash(leaf).hex().encode():
            return []
        message = f"record {position} was changed: record {position + 1} remembers another one before it"
        return [Finding(position, "changed", message)]


def _runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Neighbouring numbers, as first and last."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs
