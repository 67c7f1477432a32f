"""What may be published, by whom, and that readers never see half of it."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tuf.api.metadata import Metadata, Role, Root, Snapshot

from ringfort.errors import RingfortError
from ringfort.publishing import files, storing
from ringfort.publishing.errors import PublishingError
from ringfort.publishing.fetching import DirectoryFetcher
from ringfort.publishing.history import document_of, history, root_history
from ringfort.publishing.keys import named
from ringfort.publishing.metadata import (
    Holders,
    Rotation,
    first_root,
    holders,
    inspected,
    next_root,
    next_targets,
    renewed_targets,
)
from ringfort.publishing.repository import Publication, Repository
from ringfort.publishing.trust import Accepted, Trust
from tests.publishing.house import DAY, HOUR, MINUTE, NOW, House, build, signed, signer, text


@pytest.fixture
def house(tmp_path: Path) -> House:
    return build(tmp_path)


def refused(code: str, publish: Any, *words: Any) -> RingfortError:  # noqa: ANN401
    with pytest.raises(RingfortError) as error:
        publish(*words)
    assert error.value.code == code, error.value.message
    return error.value


# -- versions --------------------------------------------------------------------------------------------------------


def test_two_of_three_approvers_make_a_version(house: House) -> None:
    for number, names in enumerate((("alice", "bob"), ("carol", "alice"), ("alice", "bob", "carol")), 1):
        assert house.publish(number, *names) == number
        published = house.repository.published()
        assert (published.version, published.environment) == (number, text(number))


@pytest.mark.parametrize("names", [("alice",), ("bob",), ("carol",), ("alice", "alice")])
def test_one_does_not(house: House, names: tuple[str, ...]) -> None:
    error = refused("under-signed", house.publish, 1, *names)
    assert "needs 1 more signature" in error.message
    assert house.repository.published().version == 0


def test_nor_do_the_controller_and_a_stranger(house: House) -> None:
    document = signed(house.targets(1), house.keys["alice"], house.online, signer())
    refused(
        "under-signed", house.repository.publish, Publication(targets=document, environment=text(1)), house.online, NOW
    )


def test_publishing_again_changes_nothing(house: House) -> None:
    document = signed(house.targets(1), *house.of("alice", "bob"))
    publication = Publication(targets=document, environment=text(1))
    assert house.repository.publish(publication, house.online, NOW) == 1
    before = house.metadata("1.targets.json").read_bytes()
    assert house.repository.publish(publication, house.online, NOW + HOUR) == 1
    assert house.metadata("1.targets.json").read_bytes() == before
    assert house.repository.published().version == 1


@pytest.mark.parametrize("version", [1, 3])
def test_a_version_follows_the_one_before(house: House, version: int) -> None:
    house.publish(1)
    document = house.targets(2)
    document.signed.version = version
    data = signed(document, *house.of("alice", "bob"))
    refused(
        "version-not-next", house.repository.publish, Publication(targets=data, environment=text(2)), house.online, NOW
    )


def test_the_text_is_the_one_that_was_signed(house: House) -> None:
    data = signed(house.targets(1), *house.of("alice", "bob"))
    for other in (text(2), text(1) + b" ", b""):
        publication = Publication(targets=data, environment=other)
        refused("environment-other", house.repository.publish, publication, house.online, NOW)
    refused("repository-damaged", house.repository.publish, Publication(targets=data), house.online, NOW)


def test_what_is_no_environment_is_not_published_whoever_signed_it(house: House) -> None:
    data = signed(next_targets(None, b"{}", {}, NOW), *house.of("alice", "bob"))
    refused(
        "environment-form", house.repository.publish, Publication(targets=data, environment=b"{}"), house.online, NOW
    )
    assert not (house.directory / "targets").exists()


def test_an_expired_version_is_not_published(house: House) -> None:
    data = signed(house.targets(1), *house.of("alice", "bob"))
    publication = Publication(targets=data, environment=text(1))
    refused("version-expired", house.repository.publish, publication, house.online, NOW + 400 * DAY)


def test_only_the_online_key_of_the_root_publishes(house: House) -> None:
    data = signed(house.targets(1), *house.of("alice", "bob"))
    for key in (signer(), house.keys["alice"]):
        publication = Publication(targets=data, environment=text(1))
        refused("online-key-other", house.repository.publish, publication, key, NOW)
    assert not house.metadata("timestamp.json").exists()


@pytest.mark.parametrize("data", [b"", b"{}", b"[" * 200_000, b"x" * 300_000])
def test_what_is_no_document_is_refused_in_words(house: House, data: bytes) -> None:
    for publication in (Publication(targets=data), Publication(root=data)):
        with pytest.raises(PublishingError, match=r"no (root|targets) document|bytes"):
            house.repository.publish(publication, house.online, NOW)


# -- freshness -------------------------------------------------------------------------------------------------------


def test_refreshing_for_weeks_keeps_the_version_and_its_day(house: House) -> None:
    house.publish(1)
    now = NOW
    for _ in range(60):
        now += timedelta(hours=6)
        assert house.repository.refresh(house.online, now)
        assert not house.repository.refresh(house.online, now + MINUTE)
        answer = house.update(now + MINUTE)
        assert isinstance(answer, Accepted), answer
    (entry,) = history(house.repository)
    assert (entry.version, entry.published) == (1, NOW)


def test_nothing_can_be_refreshed_before_the_first_version(house: House) -> None:
    refused("nothing-published", house.repository.refresh, house.online, NOW)


# -- readers and writers at once -------------------------------------------------------------------------------------


def test_a_reader_finds_a_whole_repository_after_each_single_file_is_written(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also what a publication leaves that was killed there: the next one goes through."""
    house.publish(1)
    states: list[Path] = []
    real = files.replace_file

    def kept(path: Path, content: bytes, mode: int = 0o644) -> None:
        real(path, content, mode)
        states.append(tmp_path / f"state-{len(states)}")
        shutil.copytree(house.directory, states[-1])

    with monkeypatch.context() as patch:
        patch.setattr(storing, "replace_file", kept)
        house.publish(2)
    assert len(states) == 4, "text, version, snapshot, timestamp"
    root = house.metadata("1.root.json").read_bytes()
    for number, state in enumerate(states, 1):
        node = Trust.pin(tmp_path / f"node-{number}", root)
        answer = node.update(DirectoryFetcher(state), NOW)
        assert isinstance(answer, Accepted), answer
        assert answer.version == (2 if number == len(states) else 1)
        killed = House(state, house.keys, house.online, node)
        assert killed.publish(2 if answer.version == 1 else 3, "bob", "carol") == answer.version + 1
        after = killed.update()
        assert isinstance(after, Accepted), after


def test_of_several_who_publish_the_same_number_at_once_one_wins(house: House) -> None:
    house.publish(1)
    documents = [(signed(house.targets(number), *house.of("alice", "bob")), text(number)) for number in range(2, 8)]

    def publish(document: tuple[bytes, bytes]) -> str:
        try:
            house.repository.publish(Publication(targets=document[0], environment=document[1]), house.online, NOW)
        except PublishingError as error:
            return error.code
        return "published"

    with ThreadPoolExecutor(6) as pool:
        outcomes = list(pool.map(publish, documents))
    assert sorted(outcomes) == ["published"] + ["version-not-next"] * 5
    winner = documents[outcomes.index("published")]
    assert house.repository.published().environment == winner[1]
    assert isinstance(house.update(), Accepted)


@pytest.mark.parametrize("name", ["../metadata/1.root.json", "", ".lock", "a/b", "x" * 200, "1.root.json\n", ".."])
def test_no_name_leads_out_of_the_repository(house: House, name: str) -> None:
    assert house.repository.store.read("metadata", name) is None
    assert house.repository.store.read("..", "1.root.json") is None
    assert house.repository.store.read("metadata", "1.root.json") is not None


# -- damage ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["1.snapshot.json", "1.targets.json"])
def test_a_damaged_repository_says_so(house: House, name: str) -> None:
    house.publish(1)
    house.metadata(name).unlink()
    refused("repository-damaged", house.repository.published)


def test_a_changed_version_is_not_taken_for_published(house: House) -> None:
    house.publish(1)
    path = house.metadata("1.targets.json")
    path.write_bytes(path.read_bytes().replace(b"number 1", b"number 2"))
    refused("under-signed", house.repository.published)


def test_there_is_no_repository_in_an_empty_directory(tmp_path: Path) -> None:
    refused("repository-missing", Repository(tmp_path).published)


# -- roots -----------------------------------------------------------------------------------------------------------


def rotate(house: House, rotation: Rotation, *keys: Any, again: bool = True, online: Any = None) -> int:  # noqa: ANN401
    """Publish the next root with the signatures of ``keys``, and the version in force signed by them anew."""
    published = house.repository.published()
    root = signed(next_root(published.root.signed, rotation, NOW), *keys)
    targets = published.targets
    renewed = signed(renewed_targets(targets.signed, NOW), *keys) if targets and again else None
    return house.repository.publish(Publication(root=root, targets=renewed), online or house.online, NOW)


def test_an_approvers_key_is_replaced_and_nodes_follow(house: House) -> None:
    house.publish(1)
    house.update()
    old, new = house.keys["carol"], signer()
    rotate(house, Rotation({"carol": new.public_key}), *house.of("alice", "bob"), again=False)
    answer = house.update()
    assert isinstance(answer, Accepted)
    assert answer.version == 1
    house.keys["carol"] = old
    refused("under-signed", house.publish, 2, "alice", "carol")
    house.keys["carol"] = new
    assert house.publish(2, "alice", "carol") == 2
    answer = house.update()
    assert isinstance(answer, Accepted)
    assert (answer.version, answer.signers) == (2, ("alice", "carol"))


def test_a_version_that_would_lose_a_signature_is_signed_again_along_with_the_root(house: House) -> None:
    house.publish(1, "alice", "carol")
    house.update()
    new = signer()
    change = Rotation({"carol": new.public_key})
    error = refused("under-signed", lambda: rotate(house, change, *house.of("alice", "bob"), again=False))
    assert "signed again" in error.hint
    assert house.root().version == 1
    assert rotate(house, change, *house.of("alice", "bob")) == 2
    answer = house.update()
    assert isinstance(answer, Accepted)
    assert (answer.version, answer.data, answer.signers) == (2, text(1), ("alice", "bob"))


def test_all_keys_are_replaced_one_root_after_the_other_while_a_node_sleeps(house: House) -> None:
    house.publish(1)
    house.update()
    for name in ("alice", "bob", "carol"):
        new = signer("p-256")
        others = [key for other, key in house.keys.items() if other != name]
        rotate(house, Rotation({name: new.public_key}), *others)
        house.keys[name] = new
    online = signer()
    rotate(house, Rotation(online=online.public_key), *house.of("bob", "carol"), again=False, online=online)
    house.online = online
    house.publish(2, "bob", "carol")
    answer = house.update()
    assert isinstance(answer, Accepted)
    assert (answer.data, answer.signers) == (text(2), ("bob", "carol"))
    assert [entry.version for entry in root_history(house.repository)] == [5, 4, 3, 2, 1]
    assert house.node.root_version() == 5


@pytest.mark.parametrize("names", [(), ("alice",), ("new",), ("new", "alice")])
def test_a_root_needs_enough_of_the_old_and_of_the_new(house: House, names: tuple[str, ...]) -> None:
    house.publish(1)
    new = signer()
    keys = [new if name == "new" else house.keys[name] for name in names]
    refused("under-signed", lambda: rotate(house, Rotation({"carol": new.public_key}), *keys))
    assert house.root().version == 1


def test_the_old_ones_alone_cannot_install_strangers(house: House) -> None:
    """Alice and bob replace themselves by keys that nobody holds: those have to sign too."""
    house.publish(1)
    change = Rotation({"alice": signer().public_key, "bob": signer().public_key})
    refused("under-signed", lambda: rotate(house, change, *house.of("alice", "bob")))


def test_the_threshold_and_the_approvers_can_change(house: House) -> None:
    house.publish(1)
    dave = signer()
    change = Rotation({"dave": dave.public_key, "carol": None}, threshold=3)
    house.keys["dave"] = dave
    rotate(house, change, *house.of("alice", "bob", "dave"))
    who = holders(house.root())
    assert (sorted(who.approvers), who.threshold) == (["alice", "bob", "dave"], 3)
    refused("under-signed", house.publish, 2, "alice", "bob")
    assert house.publish(2, "alice", "bob", "dave") == 3


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda _: Rotation({"nobody": None}), "approver-unknown"),
        (lambda _: Rotation({"alice": None, "bob": None}), "approvers-too-few"),
        (lambda _: Rotation(threshold=1), "threshold-too-low"),
        (lambda _: Rotation(threshold=4), "approvers-too-few"),
        (lambda h: Rotation({"bob": h.keys["alice"].public_key}), "key-twice"),
        (lambda h: Rotation({"bob": h.online.public_key}), "key-twice"),
        (lambda h: Rotation(online=h.keys["bob"].public_key), "key-twice"),
        (lambda _: Rotation({"Bob": signer().public_key}), "approver-name"),
    ],
)
def test_a_root_that_would_let_one_count_for_two_is_not_made(house: House, change: Any, code: str) -> None:  # noqa: ANN401
    refused(code, next_root, house.root(), change(house), NOW)


def odd_same_key(root: Root, house: House) -> None:
    """Alice's key once more, under another id: TUF counts ids, not keys."""
    alice = house.keys["alice"].public_key
    twin = named(type(alice)("f" * 64, alice.keytype, alice.scheme, dict(alice.keyval)), "dave")
    root.keys[twin.keyid] = twin
    for role in ("root", "targets"):
        root.roles[role].keyids.append(twin.keyid)


def odd_threshold(root: Root, house: House) -> None:
    root.roles["targets"] = Role(root.roles["targets"].keyids, 1)


def odd_online(root: Root, house: House) -> None:
    key = named(signer().public_key, "spare")
    root.add_key(key, "timestamp")


def odd_name(root: Root, house: House) -> None:
    root.add_key(named(signer().public_key, "alice"), "root")
    root.roles["targets"].keyids = list(root.roles["root"].keyids)


def odd_snapshot(root: Root, house: House) -> None:
    root.consistent_snapshot = False


@pytest.mark.parametrize("odd", [odd_same_key, odd_threshold, odd_online, odd_name, odd_snapshot])
def test_a_root_made_by_other_hands_is_inspected_before_it_is_signed_or_published(house: House, odd: Any) -> None:  # noqa: ANN401
    root = next_root(house.root(), Rotation(), NOW)
    inspected(root.signed)
    odd(root.signed, house)
    refused("root-odd", inspected, root.signed)
    data = signed(root, *house.of("alice", "bob"))
    refused("root-odd", house.repository.publish, Publication(root=data), house.online, NOW)


def test_the_first_root_needs_enough_of_its_own(tmp_path: Path) -> None:
    keys, online = {name: signer() for name in ("alice", "bob", "carol")}, signer()
    who = Holders({name: key.public_key for name, key in keys.items()}, 2, online.public_key)
    one = signed(first_root(who, NOW), keys["bob"])
    refused("under-signed", Repository(tmp_path).publish, Publication(root=one), online, NOW)
    with pytest.raises(PublishingError, match="not signed by those whom it names"):
        Trust.pin(tmp_path / "node", one)


# -- history ---------------------------------------------------------------------------------------------------------


def test_history_tells_who_signed_each_version_and_when_through_rotations(house: House) -> None:
    house.publish(1, "alice", "carol")
    new = signer()
    rotate(house, Rotation({"carol": new.public_key}), *house.of("alice", "bob"))
    house.keys["carol"] = new
    house.publish(2, "bob", "carol", now=NOW + DAY)
    entries = history(house.repository)
    assert [(entry.version, entry.signers, entry.root, entry.published) for entry in entries] == [
        (3, ("bob", "carol"), 2, NOW + DAY),
        (2, ("alice", "bob"), 2, NOW),
        (1, ("alice", "carol"), 1, NOW),
    ]
    assert [(entry.version, entry.signers) for entry in root_history(house.repository)] == [
        (2, ("alice", "bob")),
        (1, ("alice", "carol")),
    ]
    assert house.repository.environment(document_of(house.repository, 1).signed) == text(1)
    refused("version-unknown", document_of, house.repository, 9)


def test_history_does_not_take_a_forged_version(house: House) -> None:
    house.publish(1)
    house.publish(2)
    house.metadata("1.targets.json").write_bytes(signed(next_targets(None, text(9), {}, NOW), signer(), signer()))
    refused("under-signed", history, house.repository)


def test_each_snapshot_says_when_its_version_was_published(house: House) -> None:
    house.publish(1)
    found = Metadata[Snapshot].from_bytes(house.metadata("1.snapshot.json").read_bytes())
    assert found.signed.unrecognized_fields["x-ringfort-published"] == {"version": 1, "at": "2026-01-01T12:00:00Z"}
