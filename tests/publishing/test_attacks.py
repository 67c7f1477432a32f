"""Attacks on what a node believes. Each makes the forged repository and lets a node read it.

The attacker is whoever serves the files. Where a test signs with ``house.online`` it has taken the controller over as
well. It never holds the keys of two approvers.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest
from tuf.api.metadata import Metadata, MetaFile, Snapshot, TargetFile, Targets, Timestamp

from ringfort.publishing import files, good
from ringfort.publishing.fetching import DirectoryFetcher, UnreachableError
from ringfort.publishing.metadata import MOST_BYTES, Rotation, next_root, next_snapshot, next_targets, next_timestamp
from ringfort.publishing.repository import Publication
from ringfort.publishing.trust import Accepted, Code, Refused, Trust
from tests.publishing.house import DAY, HOUR, MINUTE, NOW, House, announce, build, serve, signed, signer, text


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A house at version 2, and a node that believes it. Whatever was tried, version 2 stays in force, and 3 comes."""
    house = build(tmp_path)
    for number in (1, 2):
        house.publish(number)
        assert version_of(house.update()) == number
        shutil.copytree(house.directory, tmp_path / f"state-{number}")
    yield house
    in_force = Trust(house.node.directory).last_good()
    assert in_force is not None
    assert (in_force.version, in_force.data) == (2, text(2))
    put_back(house, 2)
    recover(house)
    house.publish(3, "bob", "carol")
    assert version_of(house.update()) == 3


def recover(house: House) -> None:
    """What is to be done when the controller was taken over: approvers give it another online key."""
    new = signer()
    root = signed(next_root(house.root(), Rotation(online=new.public_key), NOW), *house.of("alice", "carol"))
    house.repository.publish(Publication(root=root), new, NOW)
    house.online = new


def put_back(house: House, version: int) -> None:
    """Serve the repository as it was at that version."""
    shutil.rmtree(house.directory)
    shutil.copytree(house.directory.parent / f"state-{version}", house.directory)


def version_of(answer: Accepted | Refused) -> int:
    assert isinstance(answer, Accepted), answer
    return answer.version


def refused(house: House, *codes: Code, now: datetime = NOW) -> Refused:
    answer = house.update(now)
    assert isinstance(answer, Refused), "the node took it"
    assert answer.code in codes, answer
    return answer


def third(house: House) -> Metadata[Targets]:
    return house.targets(3)


# -- signatures ------------------------------------------------------------------------------------------------------


def test_nobody_has_signed(house: House) -> None:
    serve(house, signed(third(house)), text(3))
    assert refused(house, Code.UNSIGNED).alert


@pytest.mark.parametrize("name", ["alice", "bob", "carol"])
def test_one_approver_alone_has_signed(house: House, name: str) -> None:
    serve(house, signed(third(house), *house.of(name)), text(3))
    assert refused(house, Code.UNDER_SIGNED).alert


def test_the_controller_signs_along(house: House) -> None:
    serve(house, signed(third(house), house.keys["alice"], house.online), text(3))
    refused(house, Code.UNDER_SIGNED)


def test_strangers_have_signed(house: House) -> None:
    serve(house, signed(third(house), signer(), signer(), signer()), text(3))
    refused(house, Code.UNSIGNED)


def test_a_stranger_signs_in_the_name_of_an_approver(house: House) -> None:
    document = json.loads(signed(third(house), house.keys["alice"], signer()))
    document["signatures"][1]["keyid"] = house.keys["bob"].public_key.keyid
    serve(house, json.dumps(document).encode(), text(3))
    refused(house, Code.UNDER_SIGNED)


def test_the_signatures_of_another_version_are_put_under_it(house: House) -> None:
    document = json.loads(signed(third(house)))
    document["signatures"] = json.loads(house.metadata("2.targets.json").read_bytes())["signatures"]
    serve(house, json.dumps(document).encode(), text(3))
    refused(house, Code.UNSIGNED)


def test_one_approver_has_signed_twice(house: House) -> None:
    document = json.loads(signed(third(house), house.keys["alice"]))
    document["signatures"] *= 2
    serve_raw(house, json.dumps(document).encode(), text(3))
    refused(house, Code.MALFORMED)


def serve_raw(house: House, targets: bytes, environment: bytes) -> None:
    """As `serve`, for a document that the library itself would not read."""
    serve(house, signed(third(house)), environment)
    house.metadata("3.targets.json").write_bytes(targets)
    old = Metadata[Snapshot].from_bytes(house.metadata("3.snapshot.json").read_bytes()).signed
    announce(house, next_snapshot(old, targets, 3, NOW))


def test_what_was_signed_is_changed(house: House) -> None:
    document = json.loads(signed(third(house), *house.of("alice", "bob")))
    document["signed"]["targets"]["environment.json"]["custom"]["reason"] = "another"
    serve(house, json.dumps(document).encode(), text(3))
    refused(house, Code.UNSIGNED)


def test_snapshot_and_timestamp_are_signed_by_a_stranger(house: House) -> None:
    targets = signed(third(house), *house.of("alice", "bob"))
    house.metadata("3.targets.json").write_bytes(targets)
    old = Metadata[Snapshot].from_bytes(house.metadata("2.snapshot.json").read_bytes()).signed
    announce(house, next_snapshot(old, targets, 3, NOW), key=signer())
    refused(house, Code.UNSIGNED)


def test_a_snapshot_is_signed_by_a_stranger_under_a_good_timestamp(house: House) -> None:
    old = Metadata[Snapshot].from_bytes(house.metadata("2.snapshot.json").read_bytes()).signed
    snapshot = next_snapshot(old, house.metadata("2.targets.json").read_bytes(), 2, NOW)
    data = signed(snapshot, signer())
    house.metadata("3.snapshot.json").write_bytes(data)
    before = Metadata[Timestamp].from_bytes(house.metadata("timestamp.json").read_bytes()).signed
    house.metadata("timestamp.json").write_bytes(signed(next_timestamp(before, data, 3, NOW), house.online))
    refused(house, Code.UNSIGNED)


# -- roots -----------------------------------------------------------------------------------------------------------


def forged_root(house: House, *keys_of: str, extra: bool = True, version: int = 2) -> None:
    """A root that names the attacker's own key for carol's, signed by these approvers and the attacker."""
    mine = signer()
    document = next_root(house.root(), Rotation({"carol": mine.public_key}), NOW)
    document.signed.version = version
    house.metadata("2.root.json").write_bytes(signed(document, *house.of(*keys_of), *([mine] if extra else [])))


def test_a_root_by_an_attacker_alone(house: House) -> None:
    forged_root(house)
    refused(house, Code.UNSIGNED)


def test_a_root_by_an_attacker_and_one_approver(house: House) -> None:
    """New keys alone are two of three: alice and the attacker. The old ones have to agree as well."""
    forged_root(house, "alice")
    refused(house, Code.UNDER_SIGNED)


def test_a_root_that_skips_a_number(house: House) -> None:
    forged_root(house, "alice", "bob", version=3)
    refused(house, Code.MIXED)


def test_a_root_that_only_its_predecessor_would_believe(house: House) -> None:
    keys = [signer(), signer(), signer()]
    changes = dict(zip(("alice", "bob", "carol"), (key.public_key for key in keys), strict=True))
    document = next_root(house.root(), Rotation(changes), NOW)
    house.metadata("2.root.json").write_bytes(signed(document, *house.of("alice", "bob"), keys[0]))
    refused(house, Code.UNDER_SIGNED)


# -- rollback --------------------------------------------------------------------------------------------------------


def test_the_whole_repository_is_put_back(house: House) -> None:
    put_back(house, 1)
    assert refused(house, Code.ROLLED_BACK).file == "metadata/timestamp.json"


def test_an_old_version_is_announced_anew(house: House) -> None:
    serve(house, house.metadata("1.targets.json").read_bytes())
    refused(house, Code.ROLLED_BACK)


def test_an_old_snapshot_is_announced_anew(house: House) -> None:
    before = Metadata[Timestamp].from_bytes(house.metadata("timestamp.json").read_bytes()).signed
    timestamp = next_timestamp(before, house.metadata("1.snapshot.json").read_bytes(), 1, NOW)
    house.metadata("timestamp.json").write_bytes(signed(timestamp, house.online))
    refused(house, Code.ROLLED_BACK)


def test_an_old_version_is_announced_to_a_node_that_lost_its_cache(house: House) -> None:
    """The library's memory is gone, as after a rotation of the online key; the version in force is remembered apart."""
    shutil.rmtree(house.node.directory / "metadata")
    put_back(house, 1)
    refused(house, Code.ROLLED_BACK)


def test_an_old_version_is_announced_to_a_node_whose_environment_is_damaged(house: House) -> None:
    (path,) = (house.node.directory / "environments").glob("environment-*.json")
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    shutil.rmtree(house.node.directory / "metadata")
    house.node = Trust(house.node.directory)
    assert house.node.last_good() is None
    put_back(house, 1)
    refused(house, Code.ROLLED_BACK)
    path.write_bytes(whole)


def test_two_environments_have_one_version(house: House) -> None:
    """Approvers signed both, one was published; the other is shown to this node."""
    first = Metadata[Targets].from_bytes(house.metadata("1.targets.json").read_bytes()).signed
    serve(house, signed(next_targets(first, text(9), {}, NOW), *house.of("bob", "carol")), text(9))
    refused(house, Code.FORKED)


def test_versions_far_ahead_are_announced_to_shut_out_those_to_come(house: House) -> None:
    """Fast forward. The fixture shows that a new online key, and nothing on the node, brings it back."""
    old = Metadata[Snapshot].from_bytes(house.metadata("2.snapshot.json").read_bytes()).signed
    snapshot = next_snapshot(old, b"", 10**9, NOW)
    snapshot.signed.version = 10**9
    announce(house, snapshot)
    refused(house, Code.MISSING)


# -- freeze ----------------------------------------------------------------------------------------------------------


def test_nothing_newer_is_served_until_it_expires(house: House) -> None:
    assert version_of(house.update(NOW + HOUR - MINUTE)) == 2
    refused(house, Code.FROZEN, now=NOW + HOUR)


def test_an_expired_timestamp_is_served_to_a_node_that_knows_nothing(house: House, tmp_path: Path) -> None:
    house_node = house.node
    house.node = Trust.pin(tmp_path / "fresh", house.metadata("1.root.json").read_bytes())
    refused(house, Code.FROZEN, now=NOW + HOUR)
    assert house.node.last_good() is None
    house.node = house_node


def test_the_controller_freezes_an_old_snapshot_with_new_timestamps(house: House) -> None:
    later = NOW + 8 * DAY
    before = Metadata[Timestamp].from_bytes(house.metadata("timestamp.json").read_bytes()).signed
    timestamp = next_timestamp(before, house.metadata("2.snapshot.json").read_bytes(), 2, later)
    house.metadata("timestamp.json").write_bytes(signed(timestamp, house.online))
    refused(house, Code.FROZEN, now=later)


def test_versions_that_nobody_signed_for_a_year_are_frozen(house: House) -> None:
    later = NOW + 366 * DAY
    before = Metadata[Snapshot].from_bytes(house.metadata("2.snapshot.json").read_bytes()).signed
    announce(house, next_snapshot(before, house.metadata("2.targets.json").read_bytes(), 2, later), now=later)
    refused(house, Code.FROZEN, now=later)


class Silent:
    """Nobody answers."""

    def fetch(self, path: str) -> Iterator[bytes]:
        raise UnreachableError(path)


def test_silence_is_no_alert_while_the_last_word_is_fresh_and_one_after(house: House) -> None:
    answer = house.node.update(Silent(), NOW + MINUTE)
    assert isinstance(answer, Refused)
    assert (answer.code, answer.alert) == (Code.UNREACHABLE, False)
    answer = house.node.update(Silent(), NOW + HOUR)
    assert isinstance(answer, Refused)
    assert (answer.code, answer.alert) == (Code.FROZEN, True)


@pytest.mark.parametrize("name", ["timestamp.json", "3.snapshot.json", "3.targets.json"])
def test_a_file_is_withheld(house: House, name: str) -> None:
    house.publish(3)
    house.metadata(name).unlink()
    refused(house, Code.MISSING)


def test_the_environment_is_withheld(house: House) -> None:
    house.publish(3)
    for path in (house.directory / "targets").iterdir():
        path.unlink()
    refused(house, Code.MISSING)


# -- mix and match ---------------------------------------------------------------------------------------------------


def test_an_old_version_stands_under_the_new_name(house: House) -> None:
    house.publish(3)
    shutil.copy(house.metadata("2.targets.json"), house.metadata("3.targets.json"))
    refused(house, Code.MIXED, Code.OVERSIZED)  # a signature may be a byte longer than the one that was announced


def test_an_old_snapshot_stands_under_the_new_name(house: House) -> None:
    house.publish(3)
    shutil.copy(house.metadata("2.snapshot.json"), house.metadata("3.snapshot.json"))
    refused(house, Code.MIXED, Code.OVERSIZED)  # likewise


def test_a_snapshot_names_a_version_that_is_another(house: House) -> None:
    """Without hashes in it, so that only the numbers can tell."""
    house.publish(3)
    shutil.copy(house.metadata("2.targets.json"), house.metadata("3.targets.json"))
    snapshot = Metadata[Snapshot].from_bytes(house.metadata("3.snapshot.json").read_bytes())
    snapshot.signed.meta["targets.json"] = MetaFile(3)
    snapshot.signed.version = 4
    announce(house, snapshot)
    refused(house, Code.MIXED)


def test_a_timestamp_names_a_snapshot_that_is_another(house: House) -> None:
    shutil.copy(house.metadata("2.snapshot.json"), house.metadata("3.snapshot.json"))
    before = Metadata[Timestamp].from_bytes(house.metadata("timestamp.json").read_bytes()).signed
    timestamp = next_timestamp(before, b"", 3, NOW)
    timestamp.signed.snapshot_meta = MetaFile(3)
    house.metadata("timestamp.json").write_bytes(signed(timestamp, house.online))
    refused(house, Code.MIXED)


def test_another_environment_stands_under_the_signed_name(house: House) -> None:
    house.publish(3)
    two, three = (next((house.directory / "targets").glob(f"{digest(n)}*")) for n in (2, 3))
    assert len(two.read_bytes()) == len(three.read_bytes())
    shutil.copy(two, three)
    refused(house, Code.MIXED)


def digest(number: int) -> str:
    return hashlib.sha256(text(number)).hexdigest()


def test_the_environment_is_cut_off(house: House) -> None:
    house.publish(3)
    path = next((house.directory / "targets").glob(f"{digest(3)}*"))
    path.write_bytes(path.read_bytes()[:-1])
    refused(house, Code.MIXED)


def test_the_repository_of_another_house_is_served(house: House, tmp_path: Path) -> None:
    """Signed by as many approvers, but not by ours; under the same first root's number."""
    other = build(tmp_path / "other")
    for number in (1, 2, 3):
        other.publish(number)
    answer = house.node.update(DirectoryFetcher(other.directory), NOW)
    assert isinstance(answer, Refused)
    assert answer.code is Code.UNSIGNED


# -- size and form ---------------------------------------------------------------------------------------------------

METADATA_FILES = ("2.root.json", "timestamp.json", "3.snapshot.json", "3.targets.json")


class Flood:
    """Serves the repository, but one file never ends."""

    def __init__(self, house: House, name: str) -> None:
        self.behind = DirectoryFetcher(house.directory)
        self.name = name
        self.served = 0

    def fetch(self, path: str) -> Iterator[bytes]:
        if path.endswith(self.name):
            while self.served < 1 << 30:
                self.served += 1 << 16
                yield b" " * (1 << 16)
        yield from self.behind.fetch(path)


@pytest.mark.parametrize("name", [*METADATA_FILES, ".environment.json"])
def test_a_file_that_never_ends_costs_little(house: House, name: str) -> None:
    house.publish(3)
    flood = Flood(house, name)
    tracemalloc.start()
    answer = house.node.update(flood, NOW)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(answer, Refused)
    assert answer.code is Code.OVERSIZED
    assert flood.served < 1 << 20
    assert peak < 4 << 20


def test_a_root_of_a_gigabyte_before_anything_is_known_costs_little(house: House, tmp_path: Path) -> None:
    node = Trust.pin(tmp_path / "fresh", house.metadata("1.root.json").read_bytes())
    answer = node.update(Flood(house, "2.root.json"), NOW)
    assert isinstance(answer, Refused)
    assert answer.code is Code.OVERSIZED


def test_a_signed_environment_beyond_all_measure_is_not_even_fetched(house: House) -> None:
    document = third(house)
    document.signed.targets["environment.json"].length = 1 << 40
    serve(house, signed(document, *house.of("alice", "bob")), text(3))
    refused(house, Code.MALFORMED)


GARBAGE: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"\xff\x00<html>",
    "a number": b"7",
    "a list": b"[]",
    "an empty mapping": b"{}",
    "deep nesting": b"[" * 8000,
    "deep mappings": b'{"a":' * 1300 + b"1" + b"}" * 1300,
    "no signed part": b'{"signatures":[],"signed":{}}',
    "a huge number": b'{"signatures":[],"signed":{"_type":"root","version":' + b"9" * 6000 + b"}}",
    "signatures of another kind": b'{"signatures":[7],"signed":{"_type":"timestamp"}}',
    "brackets": b"[" + b"[]," * 2600 + b"[]]",
}


@pytest.mark.parametrize("kind", GARBAGE)
@pytest.mark.parametrize("name", METADATA_FILES)
def test_garbage_is_refused_and_costs_little(house: House, name: str, kind: str) -> None:
    house.publish(3)
    house.metadata(name).write_bytes(GARBAGE[kind])
    tracemalloc.start()
    answer = house.update()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(answer, Refused)
    assert answer.code in {Code.MALFORMED, Code.MIXED, Code.OVERSIZED}
    assert peak < 4 << 20


def test_the_largest_hostile_document_stays_within_bounds(house: House) -> None:
    """The worst that fits: a targets document full of empty lists, parsed before its signatures are known."""
    size = MOST_BYTES[Targets.type] - 1000
    text_ = b'{"signatures":[],"signed":{"x":[' + b"[]," * (size // 3) + b"[]]}}"
    serve_raw(house, text_, text(3))
    tracemalloc.start()
    refused(house, Code.MALFORMED)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 24 << 20


def test_a_signed_text_that_is_no_environment_is_refused(house: House) -> None:
    for content in (b"{}", b"", text(3) + b" "):
        old = Metadata[Targets].from_bytes(house.metadata("2.targets.json").read_bytes()).signed
        serve(house, signed(next_targets(old, content, {}, NOW), *house.of("alice", "bob")), content)
        refused(house, Code.MALFORMED)


def test_a_second_target_is_refused(house: House) -> None:
    document = third(house)
    document.signed.targets["other"] = TargetFile.from_data("other", b"x")
    serve(house, signed(document, *house.of("alice", "bob")), text(3))
    refused(house, Code.MALFORMED)


# -- the node's own disk ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [0, 1])
def test_a_disk_that_fills_up_in_the_middle_keeps_the_last_good(
    house: House, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the text is written, and between the text and the pointer to it: as kill -9 there would leave it."""
    house.publish(3)
    real, calls = files.replace_file, 0

    def full(path: Path, content: bytes, mode: int) -> None:
        nonlocal calls
        if calls == step:
            raise OSError(28, "No space left on device")
        calls += 1
        real(path, content, mode)

    with monkeypatch.context() as patch:
        patch.setattr(good, "replace_file", full)
        with pytest.raises(OSError, match="No space"):
            house.update()
    in_force = house.node.last_good()
    assert in_force is not None
    assert in_force.version == 2


# -- no attack -------------------------------------------------------------------------------------------------------


class Between(DirectoryFetcher):
    """A repository that is caught between two files of a publication, once."""

    def __init__(self, house: House, act: Callable[[], object]) -> None:
        super().__init__(house.directory)
        self.act: Callable[[], object] | None = act

    def fetch(self, path: str) -> Iterator[bytes]:
        if path.endswith("timestamp.json") and self.act is not None:
            self.act()
            self.act = None
        yield from super().fetch(path)


def test_a_publication_with_new_keys_in_the_middle_of_an_update_is_no_alarm(tmp_path: Path) -> None:
    """The node has asked for a next root, there was none; then root 2 with another online key is published."""
    house, mine = build(tmp_path), signer()
    house.publish(1)
    root = signed(next_root(house.root(), Rotation(online=mine.public_key), NOW), *house.of("alice", "bob"))

    def rotate() -> None:
        house.repository.publish(Publication(root=root), mine, NOW)

    answer = house.node.update(Between(house, rotate), NOW)
    assert version_of(answer) == 1


def test_silence_before_the_first_word_is_no_alert_either(house: House, tmp_path: Path) -> None:
    node = Trust.pin(tmp_path / "fresh", house.metadata("1.root.json").read_bytes())
    answer = node.update(Silent(), NOW)
    assert isinstance(answer, Refused)
    assert (answer.code, answer.alert) == (Code.UNREACHABLE, False)
