"""``ringfort environment`` as approvers use it: from keys to a version in force, and every way that is barred."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ringfort.environment.load import load_text
from ringfort.publishing.fetching import DirectoryFetcher
from ringfort.publishing.repository import Repository
from ringfort.publishing.trust import Accepted, Trust
from tests.cli.command import Ran, run
from tests.environment.declare import SOUND

OPEN = ("app: {protocol: tcp, ports: [8443], tls: mutual", "app: {protocol: tcp, ports: [8443], tls: server")
"""An edit that the proof refutes: callers of ``app`` are not asked who they are."""

FLOW = ("- {from: web, to: app}", '- {from: web, to: app}\n  - {from: "group:admins", to: orders, name: shortcut}')


class Desk:
    """A directory with keys, declarations and a repository, and the command run on it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.repository = path / "repo"
        (path / "words").write_text("correct horse battery\n")

    def __call__(self, verb: str, *words: object) -> Ran:
        place = () if verb == "key" else ("-r", self.repository)
        return run("environment", verb, *words, *place)

    def ok(self, verb: str, *words: object) -> Ran:
        ran = self(verb, *words)
        assert ran.code == 0, ran
        return ran

    def declare(self, *edits: tuple[str, str], name: str = "test") -> Path:
        text = SOUND
        for old, new in edits:
            assert old in text
            text = text.replace(old, new)
        directory = self.path / name
        directory.mkdir(exist_ok=True)
        (directory / "environment.yaml").write_text(text)
        return directory

    def key(self, name: str) -> Path:
        return self.path / f"{name}.key"

    def sign(self, *names: str, environment: Path | None = None) -> Ran:
        ran = Ran(0, "", "")
        for name in names:
            words = [] if environment is None else [environment]
            ran = self.ok("sign", *words, "--key", self.key(name), "--passphrase-file", self.path / "words", "--yes")
        return ran

    def publish(self) -> Ran:
        return self.ok("publish", "--online-key", self.key("online"))

    def release(self, environment: Path, *words: object) -> None:
        self.ok("propose", environment, *words)
        self.sign("alice", "bob", environment=environment)
        self.publish()


@pytest.fixture(scope="module", autouse=True)
def memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where this person remembers what was seen of repositories."""
    with pytest.MonkeyPatch.context() as patch:
        path = tmp_path_factory.mktemp("state")
        patch.setenv("XDG_STATE_HOME", str(path))
        yield path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """A desk at version 1."""
    desk = Desk(tmp_path_factory.mktemp("desk"))
    for name in ("alice", "bob", "carol"):
        desk.ok("key", desk.key(name), "--passphrase-file", desk.path / "words")
    desk.ok("key", desk.key("online"), "--kind", "p-256", "--clear")
    approvers = [f"--approver={name}={desk.key(name)}.pub" for name in ("alice", "bob", "carol")]
    desk.ok("init", *approvers, "--online", f"{desk.key('online')}.pub")
    desk.sign("alice", "carol")
    desk.publish()
    desk.release(desk.declare(), "--message", "the beginning")
    return desk


@pytest.fixture
def desk(finished: Desk, tmp_path: Path) -> Desk:
    """A copy of it."""
    shutil.copytree(finished.path, tmp_path / "desk")
    return Desk(tmp_path / "desk")


@pytest.fixture(scope="module")
def proposed(finished: Desk, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """A desk where version 2 waits for signatures: one flow more."""
    path = tmp_path_factory.mktemp("proposed") / "desk"
    shutil.copytree(finished.path, path)
    desk = Desk(path)
    desk.ok("propose", desk.declare(FLOW))
    return desk


@pytest.fixture
def waiting(proposed: Desk, tmp_path: Path) -> Desk:
    """A copy of it."""
    shutil.copytree(proposed.path, tmp_path / "waiting")
    return Desk(tmp_path / "waiting")


def in_force(desk: Desk) -> int:
    return Repository(desk.repository).published().version


def test_what_was_proposed_signed_and_published_is_what_a_node_believes(desk: Desk, tmp_path: Path) -> None:
    from datetime import UTC, datetime

    node = Trust.pin(tmp_path / "node", (desk.repository / "metadata" / "1.root.json").read_bytes())
    answer = node.update(DirectoryFetcher(desk.repository), datetime.now(UTC))
    assert isinstance(answer, Accepted)
    assert (answer.version, answer.signers) == (1, ("alice", "bob"))
    assert answer.environment == load_text(SOUND)


def test_a_proposal_tells_flows_rules_by_device_and_the_proof(desk: Desk) -> None:
    ran = desk.ok("propose", desk.declare(FLOW), "--message", "fewer hops")
    assert "opened  flow shortcut: group:admins -> orders" in ran.out
    assert re.search(r"router:north-r1: \d+ added, 0 removed", ran.out)
    assert re.search(r"^    \+ map \w+ of table inet ringfort: 10\.1\.5\.2 \. 10\.1\.3\.2 ", ran.out, re.MULTILINE)
    assert "identity:orders-south-back: 1 added, 0 removed" in ran.out
    assert "orders: accepts spiffe://test.example/node/admin" in ran.out
    assert "proved  the proof holds" in ran.out
    assert "version 2 waits: signed by nobody; 2 of alice, bob, carol to sign" in ran.err


def test_the_same_as_json_and_nothing_else_on_stdout(desk: Desk) -> None:
    found = json.loads(desk.ok("propose", desk.declare(FLOW), "--format", "json").out)
    assert found["version"] == 2
    assert [flow["flow"] for flow in found["difference"]["opened"]] == ["shortcut"]
    assert "router:north-r1" in {change["device"] for change in found["rules"]}
    assert found["proof"] == {"outcome": "proved", "exposures": []}


def test_a_difference_proposes_nothing(desk: Desk) -> None:
    assert desk("diff", desk.declare()).code == 0
    assert desk("diff", desk.declare(FLOW)).code == 1
    assert "waits" not in desk.ok("log").out


def exposures(ran: Ran) -> list[str]:
    return re.findall(r"^  ([a-z-]+-[a-z2-7]{8})$", ran.out, re.MULTILINE)


def test_a_version_that_is_refuted_is_not_proposed(desk: Desk) -> None:
    ran = desk("propose", desk.declare(OPEN))
    assert ran.code == 1
    assert "refuted  the proof does not hold" in ran.out
    assert "[exposures-open]" in ran.err
    assert "waits" not in desk.ok("log").out
    assert len(exposures(ran)) >= 2
    some = [word for name in exposures(ran)[1:] for word in ("--accept-exposure", name, "--reason", "x")]
    again = desk("propose", desk.declare(OPEN), *some)
    assert again.code == 1, "all but one were named"
    assert exposures(again) == exposures(ran), "ids are the same in every run"


def test_a_version_whose_every_exposure_is_accepted_by_name_is_signed_along_with_them(desk: Desk) -> None:
    declared = desk.declare(OPEN)
    names = exposures(desk("propose", declared))
    words = [word for name in names for word in ("--accept-exposure", name, "--reason", f"because of {name}")]
    desk.release(declared, *words)
    version = json.loads(desk.ok("log", "--version", "2", "--format", "json").out)
    assert version["record"]["proof"] == "refuted"
    assert {item["id"]: item["reason"] for item in version["record"]["accepted"]} == {
        n: f"because of {n}" for n in names
    }
    target = Repository(desk.repository).published().targets
    assert target is not None
    assert [item["id"] for item in target.signed.targets["environment.json"].custom["accepted"]] == names
    assert f"accepted {names[0]}" in desk.ok("log").out


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--accept-exposure", "no-such-aaaaaaaa", "--reason", "x"), 2, "there is no exposure"),
        (("--accept-exposure", "a"), 2, "one --reason for each"),
        (("--reason", "a"), 2, "one --reason for each"),
        (
            ("--accept-exposure", "a", "--reason", "x", "--accept-exposure", "a", "--reason", "y"),
            2,
            "each exposure once",
        ),
        (("--renew",), 2, "renewal-other"),
    ],
)
def test_what_cannot_be_accepted(desk: Desk, words: tuple[str, ...], code: int, told: str) -> None:
    ran = desk("propose", desk.declare(OPEN), *words)
    assert (ran.code, told in ran.err) == (code, True), ran.err


def test_an_exposure_needs_a_reason(desk: Desk) -> None:
    declared = desk.declare(OPEN)
    names = exposures(desk("propose", declared))
    words = [word for name in names for word in ("--accept-exposure", name, "--reason", " ")]
    assert "[reason-missing]" in desk("propose", declared, *words).err


# -- signing ---------------------------------------------------------------------------------------------------------


def test_an_approvers_own_copy_has_to_be_what_was_proposed(waiting: Desk) -> None:
    own = waiting.declare(name="own")
    ran = waiting("sign", own, "--key", waiting.key("alice"), "--passphrase-file", waiting.path / "words", "--yes")
    assert ran.code == 2
    assert "[pending-other]" in ran.err
    assert "signed by nobody" in waiting.ok("log").out
    assert "signed version 2" in waiting.sign("alice", environment=waiting.declare(FLOW, name="own")).out


def test_what_is_signed_is_shown_and_asked_for(waiting: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def confirm(text: str, **_: object) -> None:
        asked.append(text)
        raise KeyboardInterrupt

    monkeypatch.setattr("click.confirm", confirm)
    ran = waiting("sign", "--key", waiting.key("alice"), "--passphrase-file", waiting.path / "words")
    assert ran.code == 130
    assert asked == ["Sign this?"]
    assert "flow shortcut" in ran.out
    assert "signed by nobody" in waiting.ok("log").out


def forge(desk: Desk, edit: Callable[[Any], None]) -> None:
    """Change the waiting document, as somebody could where it lies."""
    path = desk.repository / "pending" / "targets.json"
    document = json.loads(path.read_bytes())
    edit(document["signed"])
    path.write_text(json.dumps(document))


def custom(document: Any) -> Any:  # noqa: ANN401
    return document["targets"]["environment.json"]["custom"]


@pytest.mark.parametrize(
    "edit",
    [
        lambda d: custom(d).update(proof="proved", accepted=[{"id": "x", "claim": "", "summary": "", "reason": "y"}]),
        lambda d: custom(d).update(told=["nothing of importance"]),
        lambda d: custom(d).update(counts={}),
        lambda d: custom(d).update(environment="other"),
        lambda d: custom(d).update(more="words"),
        lambda d: d.update(version=7),
        lambda d: d.update(expires="2099-01-01T00:00:00Z"),
        lambda d: d.update(expires="2020-01-01T00:00:00Z"),
        lambda d: d["targets"].update(other=d["targets"]["environment.json"]),
        lambda d: d.update(extra=1),
        lambda d: d.update(
            delegations={
                "keys": {},
                "roles": [{"name": "r", "keyids": [], "threshold": 1, "terminating": False, "paths": ["*"]}],
            }
        ),
    ],
)  # fmt: skip
def test_a_proposal_that_says_what_does_not_follow_is_not_signed(waiting: Desk, edit: Callable[[Any], None]) -> None:
    declared = waiting.declare(FLOW)
    forge(waiting, edit)
    for words in ([declared], []):
        ran = waiting(
            "sign", *words, "--key", waiting.key("alice"), "--passphrase-file", waiting.path / "words", "--yes"
        )
        assert ran.code != 0, ran.out
        assert "Traceback" not in ran.err
    assert json.loads((waiting.repository / "pending" / "targets.json").read_text())["signatures"] == []


def test_a_proposal_of_a_refuted_version_behind_the_tools_back_is_not_signed(desk: Desk) -> None:
    """Made with the library, saying that the proof holds."""
    from datetime import UTC, datetime

    from ringfort.environment.serialise import to_bytes
    from ringfort.publishing.metadata import next_targets
    from ringfort.publishing.pending import Pending
    from ringfort.publishing.proposal import Meaning, Proof, record, to_custom

    now = datetime.now(UTC)
    text = to_bytes(load_text(SOUND.replace(*OPEN)))
    old = Repository(desk.repository).published().targets
    assert old is not None
    said = to_custom(record("test", "", now, Meaning(None, (), Proof("proved")), ()))
    Pending(desk.repository / "pending").propose(targets=next_targets(old.signed, text, said, now), environment=text)
    ran = desk("sign", "--key", desk.key("alice"), "--passphrase-file", desk.path / "words", "--yes")
    assert ran.code == 1
    assert "[exposures-open]" in ran.err


def test_a_base_that_is_older_or_anothers_than_this_person_has_seen_is_not_signed_over(
    waiting: Desk, finished: Desk
) -> None:
    """Whoever serves an outdated or a made-up repository could make a change look small that is not."""
    ran = waiting("diff", waiting.declare(FLOW))
    assert "first seen here: root 1 with SHA-256" in ran.err
    waiting.sign("alice", "bob")
    waiting.publish()
    assert "first seen here" not in waiting("diff", waiting.declare()).err
    shutil.rmtree(waiting.repository)
    shutil.copytree(finished.repository, waiting.repository)
    for verb in ("diff", "propose"):
        assert "[rolled-back]" in waiting(verb, waiting.declare(OPEN)).err
    (waiting.repository / "metadata" / "1.root.json").write_bytes(
        (waiting.repository / "metadata" / "1.root.json").read_bytes() + b" "
    )
    ran = waiting("sign", "--key", waiting.key("online"), "--yes")
    assert "[root-pinned]" in ran.err
    assert "do not sign" in ran.err


def test_one_signature_does_not_publish(waiting: Desk) -> None:
    waiting.sign("carol")
    ran = waiting("publish", "--online-key", waiting.key("online"))
    assert ran.code == 2
    assert "[under-signed]" in ran.err
    assert in_force(waiting) == 1
    waiting.sign("carol")
    assert waiting("publish", "--online-key", waiting.key("online")).code == 2, "twice by one is not two"
    waiting.sign("bob")
    assert "version 2 is in force" in waiting.publish().out


def test_a_key_that_the_root_does_not_name_signs_nothing(waiting: Desk) -> None:
    assert "[key-unknown]" in waiting("sign", "--key", waiting.key("online"), "--yes").err


def test_a_proposal_that_takes_the_place_of_another_says_so(waiting: Desk) -> None:
    waiting.sign("alice")
    ran = waiting.ok("rotate")
    assert "replaces what waited here: version 2" in ran.err
    assert "replaces what waited here: root 2" in waiting.ok("propose", waiting.declare(FLOW)).err


def test_nothing_waits_after_publishing(desk: Desk) -> None:
    for words in (("sign", "--key", desk.key("online"), "--yes"), ("publish", "--online-key", desk.key("online"))):
        assert "[nothing-pending]" in desk(*words).err


def test_what_is_in_force_is_not_proposed_again_but_for_another_year(desk: Desk) -> None:
    ran = desk("propose", desk.declare())
    assert "[nothing-changed]" in ran.err
    desk.ok("propose", desk.declare(), "--renew")
    assert "the environment of version 1, signed anew" in desk.sign("bob", "carol").out
    desk.publish()
    assert in_force(desk) == 2


def test_a_proposal_is_outdated_by_a_publication(waiting: Desk) -> None:
    shutil.copytree(waiting.repository / "pending", waiting.path / "old")
    waiting.sign("alice", "bob")
    waiting.publish()
    shutil.rmtree(waiting.repository / "pending")
    shutil.copytree(waiting.path / "old", waiting.repository / "pending")
    ran = waiting("sign", "--key", waiting.key("alice"), "--passphrase-file", waiting.path / "words", "--yes")
    assert ran.code == 2
    assert "[pending-outdated]" in ran.err or "[pending-other]" in ran.err


# -- log and keys ----------------------------------------------------------------------------------------------------


def test_the_log_tells_who_when_what_and_why(desk: Desk) -> None:
    desk.release(desk.declare(FLOW), "--message", "fewer hops")
    out = desk.ok("log").out
    assert out.index("version 2") < out.index("version 1")
    assert re.search(r"version 2  \d{4}-\d\d-\d\d \d\d:\d\d UTC, signed by alice, bob", out)
    assert "1 flows opened" in out
    assert "fewer hops" in out
    assert "root 1  2 of alice, bob, carol; signed by alice, carol" in out
    one = desk.ok("log", "--version", "2").out
    assert "flow shortcut" in one
    assert "message: fewer hops" in one
    assert "[version-unknown]" in desk("log", "--version", "3").err


def test_an_approvers_key_is_rotated(desk: Desk) -> None:
    desk.ok("key", desk.key("carol-2"), "--passphrase-file", desk.path / "words")
    ran = desk.ok("rotate", "--approver", f"carol={desk.key('carol-2')}.pub")
    assert "root 2 waits" in ran.err
    assert "version" not in ran.err, "alice's and bob's signatures are still good"
    shown = desk.sign("alice", "bob").out
    assert re.search(r"carol +[0-9a-f]{64}  new key", shown)
    assert "version 1 is in force, under root 2" in desk.publish().out
    desk.ok("propose", desk.declare(FLOW))
    assert desk("sign", "--key", desk.key("carol"), "--passphrase-file", desk.path / "words", "--yes").code == 2
    desk.sign("carol-2", "bob")
    desk.publish()


def test_a_rotation_that_takes_a_signature_away_has_the_version_signed_again(desk: Desk) -> None:
    desk.ok("key", desk.key("bob-2"), "--passphrase-file", desk.path / "words")
    ran = desk.ok("rotate", "--approver", f"bob={desk.key('bob-2')}.pub")
    assert "root 2 waits" in ran.err
    assert "version 2 waits" in ran.err
    desk.sign("alice", "carol")
    assert "version 2 is in force, under root 2" in desk.publish().out


def test_a_new_online_key_needs_the_approvers_only(desk: Desk) -> None:
    desk.ok("key", desk.key("online-2"), "--clear")
    desk.ok("rotate", "--online", f"{desk.key('online-2')}.pub")
    desk.sign("alice", "carol")
    assert "[online-key-other]" in desk("publish", "--online-key", desk.key("online")).err
    assert "under root 2" in desk.ok("publish", "--online-key", desk.key("online-2")).out


def test_refreshing_by_hand(desk: Desk) -> None:
    assert desk.ok("publish", "--online-key", desk.key("online"), "--refresh").out == "still fresh\n"


def test_a_wrong_passphrase_and_other_slips_are_told_in_words(waiting: Desk, tmp_path: Path) -> None:
    (tmp_path / "wrong").write_text("incorrect horse\n")
    for words, code in (
        (("sign", "--key", waiting.key("alice"), "--passphrase-file", tmp_path / "wrong", "--yes"), "passphrase-wrong"),
        (
            ("sign", "--key", waiting.key("alice"), "--passphrase-file", tmp_path / "none", "--yes"),
            "passphrase-unreadable",
        ),
        (("sign", "--key", tmp_path / "none", "--yes"), "key-unreadable"),
        (
            ("init", "--approver", f"a={waiting.key('bob')}.pub", "--online", f"{waiting.key('online')}.pub"),
            "repository-exists",
        ),
        (("rotate", "--remove", "zoe"), "approver-unknown"),
        (("rotate", "--threshold", "1"), "threshold-too-low"),
    ):
        ran = waiting(*words)
        assert ran.code == 2
        assert f"[{code}]" in ran.err, ran.err
    assert "[file-exists]" in run("environment", "key", waiting.key("alice"), "--clear").err
    assert "[repository-missing]" in run("environment", "log", "-r", tmp_path / "nowhere").err
