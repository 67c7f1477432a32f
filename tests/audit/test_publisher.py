"""From records to cosigned checkpoints, whatever is interrupted."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ringfort.audit.publisher as publishing
from ringfort.audit.authentic import AuthenticLog, UnauthenticError
from ringfort.audit.errors import AuditError
from ringfort.audit.log import Log
from ringfort.audit.notes import Note, Signature, SignerKey
from ringfort.audit.proof import parse_proof, prove
from ringfort.audit.publisher import Pending, Publisher
from ringfort.audit.reading import Directory
from ringfort.audit.tiles import bundle_path, tile_path
from ringfort.audit.tree import Frontier, leaf_hash
from ringfort.audit.verify import verify
from tests.audit import logs
from tests.audit.logs import LOG_KEY, NOON, ORIGIN, POLICY, LocalWitness, bodies


class Outbox:
    def __init__(self, texts: Sequence[bytes]) -> None:
        self.texts = list(texts)

    def pending(self, first: int, limit: int) -> list[Pending]:
        return [Pending(text) for text in self.texts[first : first + limit]]


class Absent(LocalWitness):
    """A witness that can't be reached."""

    def cosign(self, old: int, proof: Sequence[bytes], note: Note) -> Signature:
        raise AuditError("audit-unreachable", "the witness can't be reached")


def test_records_of_the_control_plane_are_published_in_order(tmp_path: Path) -> None:
    outbox = Outbox(bodies(0, 700))
    with Log.create(tmp_path / "log", ORIGIN) as log:
        publisher = Publisher(log, LOG_KEY, [LocalWitness(tmp_path / "south")])
        assert publisher.publish() is None
        first = publisher.run(outbox)
        assert first is not None
        assert first.checkpoint.size == 700
        assert publisher.run(outbox) == first, "nothing new: nothing is signed anew"
        outbox.texts += bodies(700, 1300)
        second = publisher.run(outbox)
        assert second is not None
        assert second.checkpoint.size == 1300
        assert log.bodies(690, 710) == bodies(690, 710), "published and waiting records read alike"
    assert verify(Directory(tmp_path / "log"), POLICY, [first]).intact


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, 600), min_size=1, max_size=6))
def test_however_it_grew_it_is_the_same_tree(tmp_path: Path, steps: list[int]) -> None:
    shutil.rmtree(tmp_path / "grown", ignore_errors=True)
    sizes = [sum(steps[: number + 1]) for number in range(len(steps))]
    place = logs.make(tmp_path / "grown", *sizes)
    frontier = Frontier()
    for leaf in logs.served(place, sizes[-1]):
        frontier.append(leaf_hash(leaf))
    verdict = verify(Directory(place), POLICY)
    assert verdict.intact
    assert verdict.accepted.checkpoint.root == frontier.root()


def test_partial_files_go_when_the_full_ones_are_there(tmp_path: Path) -> None:
    place = logs.make(tmp_path, 10, 300)
    public = place / "public"
    assert not (public / tile_path(0, 0, 10)).exists()
    assert not (public / bundle_path(0, 10)).exists()
    assert (public / bundle_path(0)).exists()
    assert (public / bundle_path(1, 44)).exists()


def test_without_its_witness_nothing_is_published_and_nothing_is_lost(tmp_path: Path) -> None:
    with Log.create(tmp_path / "log", ORIGIN) as log:
        log.append(bodies(0, 5))
        before = Publisher(log, LOG_KEY, [LocalWitness(tmp_path / "south")]).publish()
        log.append(bodies(5, 9))
        with pytest.raises(AuditError, match="0 of 1 witnesses cosigned: the witness can't be reached") as caught:
            Publisher(log, LOG_KEY, [Absent(tmp_path / "south")]).publish()
        assert caught.value.code == "audit-unwitnessed"
        assert log.checkpoint() == before
        assert verify(Directory(tmp_path / "log"), POLICY).intact, "what was published before is still served whole"
        after = Publisher(log, LOG_KEY, [LocalWitness(tmp_path / "south")]).publish()
    assert after is not None
    assert after.checkpoint.size == 9


def test_two_of_three_witnesses_are_enough_when_two_are_asked_for(tmp_path: Path) -> None:
    witnesses = [
        LocalWitness(tmp_path / "south"),
        Absent(tmp_path / "x"),
        LocalWitness(tmp_path / "west", logs.WEST_KEY),
    ]
    with Log.create(tmp_path / "log", ORIGIN) as log:
        log.append(bodies(0, 5))
        signed = Publisher(log, LOG_KEY, witnesses, needed=2).publish()
    assert signed is not None
    assert len(signed.note.signatures) == 3


@pytest.mark.lab
def test_a_full_disk_stops_publishing_and_spoils_nothing(small_disk: Path, tmp_path: Path) -> None:
    with Log.create(small_disk / "log", ORIGIN) as log:
        publisher = Publisher(log, LOG_KEY, [LocalWitness(tmp_path / "south")])
        log.append(bodies(0, 20))
        before = publisher.publish()
        log.append(bodies(20, 250))
        with pytest.raises(AuditError, match="No space left on device") as caught:
            publisher.publish()
        assert caught.value.code == "audit-log-full"
        assert log.checkpoint() == before
        assert verify(Directory(small_disk / "log"), POLICY).intact
        subprocess.run(["mount", "-o", "remount,size=2m", str(small_disk)], check=True)
        after = publisher.publish()
    assert after is not None
    assert after.checkpoint.size == 250
    assert verify(Directory(small_disk / "log"), POLICY).intact


def test_a_log_without_a_witness_cannot_be_set_up(tmp_path: Path) -> None:
    with Log.create(tmp_path / "log", ORIGIN) as log:
        with pytest.raises(AuditError, match="at least one has to"):
            Publisher(log, LOG_KEY, [], needed=0)
        with pytest.raises(AuditError, match="the key is of"):
            Publisher(log, SignerKey("other", 1, b"x" * 32), [LocalWitness(tmp_path / "south")])


STEPS = ("extend", "replace_file", "drop_partials", "ask")


class PowerCutError(BaseException):
    """Nothing after this happens."""


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("after", [False, True])
def test_publishing_may_stop_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, after: bool) -> None:
    """Cut before and after each step that changes something; what is served verifies, and the next run goes on."""
    with Log.create(tmp_path / "log", ORIGIN) as log:
        publisher = Publisher(log, LOG_KEY, [LocalWitness(tmp_path / "south")])
        log.append(bodies(0, 250))
        publisher.publish()
        log.append(bodies(250, 600))
        whole = getattr(publishing, step)

        def cut(*arguments: object) -> None:
            if after:
                whole(*arguments)
            raise PowerCutError

        monkeypatch.setattr(publishing, step, cut)
        with pytest.raises(PowerCutError):
            publisher.publish()
        monkeypatch.undo()
    assert verify(Directory(tmp_path / "log"), POLICY).intact
    with Log(tmp_path / "log") as log:
        signed = Publisher(log, LOG_KEY, [LocalWitness(tmp_path / "south")]).publish()
    assert signed is not None
    assert signed.checkpoint.size == 600
    assert verify(Directory(tmp_path / "log"), POLICY).intact


def test_nothing_is_built_upon_files_that_somebody_changed(tmp_path: Path) -> None:
    place = logs.make(tmp_path, 300)
    leaves = logs.served(place, 300)
    leaves[280] = logs.changed(leaves[280])
    logs.serve_instead(place, 300, leaves)
    logs.rewrite_tiles(place, 300, leaves)
    with Log(place) as log:
        log.append(bodies(300, 301))
        with pytest.raises(UnauthenticError, match="don't lead to the root"):
            Publisher(log, LOG_KEY, [LocalWitness(tmp_path / "south")]).publish()


def test_a_log_put_back_from_an_old_copy_signs_no_second_history(tmp_path: Path) -> None:
    """Its own notes went back too; the witness remembers."""
    place = logs.make(tmp_path, 20)
    old = logs.copy(place, tmp_path / "old")
    with Log(place) as log:
        log.append(bodies(20, 30))
        Publisher(log, LOG_KEY, [LocalWitness(tmp_path / "south")]).publish()
    with Log(old) as log:
        log.append(bodies(500, 510))
        with pytest.raises(AuditError, match="422"):
            Publisher(log, LOG_KEY, [LocalWitness(tmp_path / "south")]).publish()


def test_a_checkpoint_that_contradicts_one_signed_before_is_not_signed(tmp_path: Path) -> None:
    place = logs.make(tmp_path, 20)
    signed = (place / "private" / "signed").read_bytes()
    old = logs.make(tmp_path / "other", 10)
    (old / "private" / "signed").write_bytes(signed)
    with Log(old) as log:
        log.append(bodies(100, 110))
        with pytest.raises(AuditError) as caught:
            Publisher(log, LOG_KEY, [LocalWitness(tmp_path / "fresh")]).publish()
    assert caught.value.code == "audit-own-fork"


def test_a_new_journal_is_begun_and_others_follow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "LARGEST_JOURNAL", 10_000)
    with Log.create(tmp_path / "log", ORIGIN) as log, Log(tmp_path / "log") as other:
        publisher = Publisher(log, LOG_KEY, [LocalWitness(tmp_path / "south")])
        for start in range(0, 500, 50):
            log.append(bodies(start, start + 25))
            other.append(bodies(start + 25, start + 50))
            publisher.publish()
        assert (tmp_path / "log" / "private" / "journal").stat().st_size < 20_000
        assert other.append(bodies(0, 1), first=0) == range(1), "what is published long since is still known"
        assert other.bodies(0, 500) == bodies(0, 500)
    assert verify(Directory(tmp_path / "log"), POLICY).intact


def test_a_proof_is_verified_with_nothing_but_the_policy(tmp_path: Path) -> None:
    place = logs.make(tmp_path, 600)
    with Log(place) as log:
        signed = log.checkpoint()
    assert signed is not None
    reader = AuthenticLog(Directory(place), signed.checkpoint)
    for index in (0, 255, 256, 599):
        text = str(prove(reader, signed, index)).encode()
        proof = parse_proof(text)
        assert str(proof).encode() == text
        assert proof.verify(POLICY).checkpoint.size == 600
        forged = type(proof)(logs.changed(proof.leaf), proof.index, proof.hashes, proof.signed)
        with pytest.raises(AuditError, match="is not number"):
            forged.verify(POLICY)


@pytest.mark.parametrize(
    "data", [b"", b"c2sp.org/tlog-proof@v1\nindex 1\n\nx", b"c2sp.org/tlog-proof@v1\nextra AA\nindex 01\n\nx"]
)
def test_what_is_no_proof_is_refused(data: bytes) -> None:
    with pytest.raises(AuditError) as caught:
        parse_proof(data)
    assert caught.value.code == "audit-proof"


def test_what_is_served_is_readable_by_whoever_serves_it(tmp_path: Path) -> None:
    place = logs.make(tmp_path, 300)
    for path in (place / "public").rglob("*"):
        assert path.stat().st_mode & 0o444 == 0o444 or os.umask(os.umask(0)) & 0o077


def test_a_checkpoint_is_cosigned_anew_though_nothing_happened(tmp_path: Path) -> None:
    """So that its age says something: whoever shows an old state can't show fresh cosignatures."""
    witness = LocalWitness(tmp_path / "south")
    with Log.create(tmp_path / "log", ORIGIN) as log:
        publisher = Publisher(log, LOG_KEY, [witness])
        assert publisher.publish(refresh=True) is None
        first = publisher.run(Outbox(bodies(0, 300)))
        assert first is not None
        witness.now += timedelta(hours=2)
        assert publisher.publish() == first
        again = publisher.publish(refresh=True)
        assert again is not None
        assert again.checkpoint == first.checkpoint
        late, old, fresh = witness.now + timedelta(minutes=1), POLICY.accept(first), POLICY.accept(again)
        POLICY.check_age(fresh, late, timedelta(hours=1))
        with pytest.raises(AuditError) as stale:
            POLICY.check_age(old, late, timedelta(hours=1))
        assert stale.value.code == "audit-stale"
        with pytest.raises(AuditError):  # a time that has not come is no proof of being fresh
            POLICY.check_age(fresh, NOON, timedelta(hours=1))
        assert verify(Directory(tmp_path / "log"), POLICY, [first]).intact
