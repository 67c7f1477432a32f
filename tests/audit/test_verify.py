"""Whoever has the disk changes something; `verify` says what."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ringfort.audit.checkpoint import Checkpoint, SignedCheckpoint, cosign, parse_checkpoint, sign
from ringfort.audit.errors import AuditError
from ringfort.audit.log import Log
from ringfort.audit.policy import parse_policy
from ringfort.audit.publisher import Publisher
from ringfort.audit.reading import Directory
from ringfort.audit.sealing import seal
from ringfort.audit.tiles import bundle_path, checkpoint_path, tile_path
from ringfort.audit.tree import Frontier, leaf_hash
from ringfort.audit.verify import Verdict, verify
from tests.audit import logs
from tests.audit.logs import LOG_KEY, NOON, POLICY, SOUTH_KEY, WEST_KEY, Attack, LocalWitness, changed

SIZES = (300, 900, 1100)
SIZE = SIZES[-1]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return logs.make(tmp_path_factory.mktemp("pristine"), *SIZES)


@pytest.fixture
def place(pristine: Path, tmp_path: Path) -> Path:
    return logs.copy(pristine, tmp_path / "log")


def judged(place: Path, *since: SignedCheckpoint, processes: int = 1) -> Verdict:
    return verify(Directory(place), POLICY, since, processes)


def told(place: Path) -> set[tuple[str, int]]:
    return {(finding.kind, finding.index) for finding in judged(place).findings}


def test_a_log_as_it_was_signed_is_intact(place: Path) -> None:
    verdict = judged(place)
    assert verdict.intact
    assert verdict.accepted.checkpoint.size == SIZE
    assert dict(verdict.accepted.witnesses) == {"south": NOON}


def swap(leaves: list[bytes], one: int, other: int) -> list[bytes]:
    leaves[one], leaves[other] = leaves[other], leaves[one]
    return leaves


def foreign(index: int) -> bytes:
    return seal(index, b"f" * 32, logs.record(5_000).body())


ATTACKS: dict[str, tuple[Attack, set[tuple[str, int]]]] = {
    "one record is changed": (lambda x: [*x[:700], changed(x[700]), *x[701:]], {("changed", 700)}),
    "the first record is changed": (lambda x: [changed(x[0]), *x[1:]], {("changed", 0)}),
    "one record is removed": (lambda x: [*x[:400], *x[401:]], {("removed", 400)}),
    "the last record is removed": (lambda x: x[:-1], {("removed", SIZE - 1)}),
    "two records are removed": (lambda x: [*x[:255], *x[257:]], {("removed", 255), ("removed", 256)}),
    "a record is inserted": (lambda x: [*x[:256], foreign(256), *x[256:]], {("inserted", 256)}),
    "a record is there twice": (lambda x: [*x[:301], *x[300:]], {("inserted", 301)}),
    "a record is moved": (lambda x: [*x[:10], *x[11:600], x[10], *x[600:]], {("reordered", 10)}),
    "two neighbours are swapped": (lambda x: swap(x, 800, 801), {("reordered", 800)}),
    "a change, a removal": (lambda x: [*x[:9], changed(x[9]), *x[10:90], *x[91:]], {("changed", 9), ("removed", 90)}),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_it_says_which_record_was_touched(place: Path, name: str) -> None:
    attack, expected = ATTACKS[name]
    logs.serve_instead(place, SIZE, attack(logs.served(place, SIZE)))
    assert told(place) == expected or name == "two neighbours are swapped"
    if name == "two neighbours are swapped":  # either of them was moved past the other
        assert told(place) in ({("reordered", 800)}, {("reordered", 801)})


@pytest.mark.parametrize("name", [name for name in ATTACKS if "swapped" not in name and "last record" not in name])
def test_it_says_so_too_when_the_tiles_are_rewritten_to_fit(place: Path, name: str) -> None:
    attack, expected = ATTACKS[name]
    leaves = attack(logs.served(place, SIZE))
    logs.serve_instead(place, SIZE, leaves)
    logs.rewrite_tiles(place, SIZE, leaves)
    found = {finding for finding in told(place) if finding[1] >= 0}
    assert found >= expected
    assert {kind for kind, _ in found} <= {kind for kind, _ in expected} | {"changed"}


def test_a_history_written_anew_is_narrowed_down_by_earlier_checkpoints(place: Path) -> None:
    leaves = logs.served(place, SIZE)
    leaves[1000] = changed(leaves[1000])
    anew = logs.sealed_anew(leaves)
    logs.serve_instead(place, SIZE, anew)
    logs.rewrite_tiles(place, SIZE, anew)
    (finding,) = judged(place).findings
    assert (finding.kind, finding.index) == ("rewritten", 900)
    assert finding.message.startswith("a record from 900 to 1099 was changed")


def test_a_rewritten_tile_below_a_true_one_is_named_with_its_record(place: Path) -> None:
    leaves = logs.served(place, SIZE)
    leaves[300] = changed(leaves[300])
    logs.serve_instead(place, SIZE, leaves)
    logs.rewrite_tiles(place, SIZE, leaves, levels=1)
    assert ("changed", 300) in told(place)


FILES = {
    "a tile of hashes": tile_path(0, 1),
    "a partial tile": tile_path(0, 4, 76),
    "a tile above": tile_path(1, 0, 4),
    "a bundle": bundle_path(2),
    "a partial bundle": bundle_path(4, 76),
}


@pytest.mark.parametrize("what", FILES)
@pytest.mark.parametrize("how", ["truncated", "missing", "empty"])
def test_a_damaged_file_is_named(place: Path, what: str, how: str) -> None:
    path = place / "public" / FILES[what]
    data = path.read_bytes()
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(data[:-5] if how == "truncated" else b"")
    verdict = judged(place)
    assert not verdict.intact
    if how == "empty" and "bundle" in what:
        assert {finding.kind for finding in verdict.findings} == {"removed"}
    else:
        assert any(FILES[what] in finding.message or "bundle ends" in finding.message for finding in verdict.findings)


def test_every_flipped_bit_is_found(place: Path) -> None:
    for number, name in enumerate(FILES.values()):
        path = place / "public" / name
        data = bytearray(path.read_bytes())
        for at in (0, 1, 5, len(data) // 2, len(data) - 1):
            flipped = data[:]
            flipped[at] ^= 1 << (number + at) % 8
            path.write_bytes(flipped)
            assert not judged(place).intact, (name, at)
        path.write_bytes(data)
    assert judged(place).intact


def test_a_flipped_bit_in_a_record_names_it(place: Path) -> None:
    path = place / "public" / bundle_path(1)
    data = path.read_bytes()
    at = data.index(b"T-299")
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    assert told(place) == {("changed", 299)}


def forge(place: Path, key_of_witness: bool) -> None:
    """The controller itself is taken over: it has the log's key, and writes another history with it."""
    leaves = logs.served(place, SIZE)
    leaves[700] = changed(leaves[700])
    anew = logs.sealed_anew(leaves)
    logs.serve_instead(place, SIZE, anew)
    logs.rewrite_tiles(place, SIZE, anew)
    frontier = Frontier()
    for leaf in anew:
        frontier.append(leaf_hash(leaf))
    signed = sign(Checkpoint(logs.ORIGIN, SIZE, frontier.root()), LOG_KEY)
    note = signed.note.with_signatures([cosign(signed.note, SOUTH_KEY, NOON)] if key_of_witness else [])
    (place / "public" / "checkpoint").write_text(str(note))


def test_a_checkpoint_without_its_witness_is_not_accepted(place: Path) -> None:
    forge(place, key_of_witness=False)
    with pytest.raises(AuditError, match="cosigned by no known witness") as caught:
        judged(place)
    assert caught.value.code == "audit-unwitnessed"


def test_a_policy_without_a_witness_is_not_accepted(place: Path) -> None:
    careless = parse_policy(f"log {LOG_KEY.public()}\nquorum none\n".encode())
    with pytest.raises(AuditError, match="asks for no witness"):
        verify(Directory(place), careless)


def test_a_checkpoint_signed_by_somebody_else_is_not_accepted(place: Path) -> None:
    signed = parse_checkpoint((place / "public" / "checkpoint").read_bytes())
    other = SOUTH_KEY.public()
    assert signed.note.signatures[1].name == other.name
    (place / "public" / "checkpoint").write_text(str(type(signed.note)(signed.note.text, signed.note.signatures[1:])))
    with pytest.raises(AuditError, match=r"carries no signature of shop\.example/audit"):
        judged(place)


def test_a_fork_shows_against_a_kept_checkpoint_even_when_the_witness_plays_along(pristine: Path, place: Path) -> None:
    forge(place, key_of_witness=True)
    assert judged(place).intact, "nothing in this history is wrong by itself"
    kept = parse_checkpoint((pristine / "public" / "checkpoint").read_bytes())
    (finding,) = judged(place, kept).findings
    assert (finding.kind, finding.message.split(":")[0]) == ("forked", "the log forked")
    assert judged(pristine, kept).intact


def test_earlier_checkpoints_of_an_honest_log_are_no_fork(pristine: Path) -> None:
    kept = parse_checkpoint((pristine / "public" / checkpoint_path(300)).read_bytes())
    assert kept.checkpoint.size == 300
    assert judged(pristine, kept).intact


def test_a_log_rolled_back_is_told(pristine: Path, tmp_path: Path) -> None:
    younger = logs.make(tmp_path / "younger", 300)
    kept = parse_checkpoint((pristine / "public" / "checkpoint").read_bytes())
    assert [finding.kind for finding in judged(younger, kept).findings] == ["rolled-back"]


def test_a_fork_shown_to_two_witnesses_is_told_by_comparing_their_checkpoints(tmp_path: Path) -> None:
    """Each witness cosigns the history it is shown; what one of them serves convicts the log before the other's."""
    places = []
    for name, key, start in (("one", SOUTH_KEY, 0), ("two", WEST_KEY, 10_000)):
        with Log.create(tmp_path / name, logs.ORIGIN) as log:
            log.append(logs.bodies(start, start + 20))
            Publisher(log, LOG_KEY, [LocalWitness(tmp_path / f"witness-{name}", key)]).publish()
        places.append(tmp_path / name)
    of_west = LocalWitness(tmp_path / "witness-two", WEST_KEY).witness
    import hashlib

    kept = of_west.latest(hashlib.sha256(logs.ORIGIN.encode()).hexdigest())
    assert kept is not None
    verdict = judged(places[0], parse_checkpoint(kept))
    assert [finding.kind for finding in verdict.findings] == ["forked"]


def test_a_kept_checkpoint_of_another_log_proves_nothing(place: Path) -> None:
    other = sign(Checkpoint("elsewhere.example", 5, bytes(32)), LOG_KEY)
    with pytest.raises(AuditError, match=r"is of elsewhere\.example"):
        judged(place, other)


def test_two_processes_find_what_one_finds(tmp_path: Path) -> None:
    size = 256 * 70 + 3
    place = logs.make(tmp_path, size)
    assert judged(place, processes=2).intact
    leaves = logs.served(place, size)
    logs.serve_instead(place, size, [*leaves[:9_999], *leaves[10_000:]])
    assert {(it.kind, it.index) for it in judged(place, processes=2).findings} == {("removed", 9_999)}


def test_without_any_file_it_says_what_is_missing(tmp_path: Path) -> None:
    shutil.rmtree(tmp_path)
    with pytest.raises(AuditError, match="checkpoint is missing"):
        judged(tmp_path)
