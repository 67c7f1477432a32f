"""``ringfort audit`` and ``ringfort witness``: transcripts."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ringfort.audit.checkpoint import Checkpoint, sign
from ringfort.audit.errors import AuditError
from ringfort.audit.fetching import RemoteWitness
from ringfort.audit.keys import read
from ringfort.audit.log import Log
from ringfort.audit.notes import COSIGNATURE, SignerKey, parse_verifier_key
from ringfort.audit.personal import Personal
from ringfort.audit.publisher import Pending, Publisher
from ringfort.audit.records import State
from ringfort.audit.tree import EMPTY_ROOT
from ringfort.cli.main import ringfort
from ringfort.errors import RingfortError
from ringfort.identity.credential import Credential
from ringfort.identity.names import Role
from ringfort.identity.store import write_bundle, write_credential
from ringfort.identity.tls import client_context
from tests.audit import logs
from tests.audit.logs import LOG_KEY, ORIGIN, SOUTH_KEY, LocalWitness, record
from tests.identity import parties


class Outbox:
    def __init__(self, *records: object) -> None:
        concealed = [item.conceal(bytes([number]) * 32) for number, item in enumerate(records, 1)]  # type: ignore[attr-defined]
        self._rows = [Pending(item.body, item.openings) for item in concealed]

    def pending(self, first: int, limit: int) -> list[Pending]:
        return self._rows[first : first + limit]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Three records on customer/acme, the second with something personal; and the policy beside it."""
    acme = "customer/acme"
    with Log.create(tmp_path / "log", ORIGIN) as log:
        outbox = Outbox(
            record(0, on=acme, before=None, after=State({"quota": 1})),
            record(1, on=acme, who=Personal("spiffe://shop.example/operator/clara"), before=State({"quota": 1}),
                   after=State({"quota": 5, "mail": Personal("clara@acme.example")})),
            record(2, on="customer/other", why="[red]T-2\x1b[2J"),
        )  # fmt: skip
        Publisher(log, LOG_KEY, [LocalWitness(tmp_path / "south")]).run(outbox)
    policy = f"log {LOG_KEY.public()}\nwitness south {SOUTH_KEY.public()}\nquorum south\n"
    (tmp_path / "policy").write_text(policy)
    return tmp_path / "log"


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(ringfort, [str(word) for word in ("audit", *words)], env={"NO_COLOR": "1"})


def test_list_shows_who_did_what_to_what_and_why(place: Path) -> None:
    result = run("list", "--log", place, "--policy", place.parent / "policy")
    assert result.exit_code == 0, result.output
    first, second, third = result.stdout.splitlines()
    assert first.split() == [
        "0", "2026-11-24", "12:00:00", "operator/anna", "control:customer:change", "customer/acme", "T-0",
    ]  # fmt: skip
    assert "<personal " in second
    assert third.endswith("[red]T-2\ufffd[2J"), "a record can't steer the terminal"
    assert run("list", "--log", place, "--who", "anna", "--format", "json").exit_code == 0


def test_history_shows_versions_with_author_and_difference(place: Path) -> None:
    result = run("history", "customer/acme", "--log", place, "--personal")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[:2] == ["0  2026-11-24 12:00:00  operator/anna  control:customer:change  T-0", "    + quota: 1"]
    assert lines[2].startswith("1  2026-11-24 12:00:01  operator/clara")
    assert lines[3:] == ['    + mail: "clara@acme.example"', "    ~ quota: 1 -> 5"]
    unknown = run("history", "customer/nobody", "--log", place)
    assert isinstance(unknown.exception, RingfortError)
    assert unknown.exception.code == "audit-no-such-object"


def test_show_shows_a_record_whole(place: Path) -> None:
    result = run("show", "1", "--log", place)
    assert "<personal" in result.stdout
    assert "~ quota: 1 -> 5" in result.stdout
    shown = json.loads(run("show", "1", "--log", place, "--format", "json").stdout)
    assert set(shown["who"]) == {"personal"}
    assert shown["after"]["value"]["quota"] == 5


def test_verify_says_intact_or_exactly_what_is_not(place: Path) -> None:
    policy = place.parent / "policy"
    kept = place.parent / "kept"
    good = run("verify", place / "public", "--policy", policy, "--keep", kept)
    assert (good.exit_code, good.stdout.split()[0]) == (0, "intact"), good.output
    assert "cosigned by south at 2026-11-24 12:00:00 UTC" in good.stdout
    assert run("verify", place, "--policy", policy, "--since", kept).exit_code == 0
    leaves = logs.served(place, 3)
    logs.serve_instead(place, 3, [leaves[0], logs.changed(leaves[1]), leaves[2]])
    bad = run("verify", place, "--policy", policy)
    assert bad.exit_code == 1
    assert "changed  record 1 was changed" in bad.stdout
    document = json.loads(run("verify", place, "--policy", policy, "--format", "json").stdout)
    assert [(it["kind"], it["index"]) for it in document["findings"]] == [("changed", 1)]


def test_verify_limits_the_age_of_cosignatures_on_request(place: Path) -> None:
    words = ("verify", place, "--policy", place.parent / "policy")
    old = datetime.now(UTC) - logs.NOON
    assert run(*words, "--max-age", f"{abs(old).days + 2}d").exit_code == 0
    stale = run(*words, "--max-age", "1s", "--format", "json")
    assert stale.exit_code == 1
    assert json.loads(stale.stdout)["code"] == "audit-stale"
    proof = place.parent / "1.tlog-proof"
    proof.write_text(run("prove", "1", "--log", place).stdout)
    assert run("verify", proof, "--policy", place.parent / "policy", "--max-age", "1s").exit_code == 1
    assert run(*words, "--max-age", "soon").exit_code == 2


def test_verify_does_not_accept_a_checkpoint_without_its_witness(place: Path) -> None:
    checkpoint = place / "public" / "checkpoint"
    checkpoint.write_text("".join(checkpoint.read_text().splitlines(keepends=True)[:-1]))
    result = run("verify", place, "--policy", place.parent / "policy")
    assert result.exit_code == 1
    assert result.stdout.startswith("not accepted  the checkpoint of 3 records is cosigned by no known witness")


def test_whatever_a_checkpoint_says_is_printed_as_text(place: Path) -> None:
    forged = sign(Checkpoint("[/red]\x7f[2J", 3, bytes(32)), SignerKey("[/red]", 1, b"x" * 32))
    (place / "public" / "checkpoint").write_text(str(forged))
    result = run("verify", place, "--policy", place.parent / "policy")
    assert result.exit_code == 1
    assert result.stdout.startswith("not accepted  the checkpoint is of [/red]\ufffd[2J, which the policy")


def test_verify_wants_to_know_whom_to_believe(place: Path) -> None:
    result = run("verify", place)
    assert result.exit_code == 2
    assert "--policy FILE" in result.output


def test_a_proof_is_taken_along_and_verified_elsewhere(place: Path) -> None:
    proof = place.parent / "1.tlog-proof"
    proof.write_text(run("prove", "1", "--log", place).stdout)
    result = run("verify", proof, "--policy", place.parent / "policy")
    assert (result.exit_code, result.stdout.split()[0]) == (0, "included"), result.output
    proof.write_text(proof.read_text().replace("index 1", "index 2"))
    assert run("verify", proof, "--policy", place.parent / "policy").exit_code == 1


def test_erase_asks_first_and_leaves_the_log_verifiable(place: Path) -> None:
    words = ("erase", "--log", place, "--value", "clara@acme.example", "--why", "request 12")
    assert "1 personal value would be erased" in run(*words).stderr
    assert 'mail: "clara@acme.example"' in run("history", "customer/acme", "--log", place, "--personal").stdout
    assert run(*words, "--yes").stdout == "1 erased\n"
    assert "mail: <personal " in run("history", "customer/acme", "--log", place, "--personal").stdout
    assert run("verify", place, "--policy", place.parent / "policy").exit_code == 0


def test_a_witness_serves_until_it_is_stopped(tmp_path: Path) -> None:
    key = tmp_path / "south.key"
    made = CliRunner().invoke(ringfort, ["witness", "--make-key", "shop.example/witness/south", "--key", str(key)])
    assert made.exit_code == 0, made.output
    _, name, vkey = made.stdout.split()
    assert (name, parse_verifier_key(vkey)) == ("south", read(key, COSIGNATURE).public())
    assert key.stat().st_mode & 0o077 == 0
    words = ["witness", "--key", str(key), "--log", str(LOG_KEY.public()), "--state", str(tmp_path / "state")]
    process = subprocess.Popen(
        [sys.executable, "-m", "ringfort", *words, "--listen", "127.0.0.1:0", "--clear"], stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        event = json.loads(process.stdout.readline())
        assert event["event"] == "witness:service:listening"
        connection = http.client.HTTPConnection("127.0.0.1", int(event["port"]), timeout=10)
        connection.request("POST", "/add-checkpoint", b"nonsense")
        assert connection.getresponse().status == 400
        connection.close()
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=10)
    assert process.returncode == 0


def test_a_witness_is_not_served_in_clear_elsewhere(tmp_path: Path) -> None:
    words = ["witness", "--key", "k", "--log", "x", "--state", str(tmp_path), "--listen", "10.0.0.1:1"]
    result = CliRunner().invoke(ringfort, [*words, "--clear"])
    assert result.exit_code == 2
    assert "127.0.0.1 or ::1 only" in result.output
    assert "--credential and --bundle" in CliRunner().invoke(ringfort, words).output
    assert os.listdir(tmp_path) == []


def test_a_witness_on_the_platform_speaks_tls_and_takes_checkpoints_from_controllers(tmp_path: Path) -> None:
    """Under TLS 1.3 with the platform's certificates: a controller's checkpoint is cosigned, a node's refused."""
    before = datetime.now(UTC) - timedelta(minutes=1)
    authority = parties.make(now=before)

    def credential(role: Role) -> Credential:
        return authority.credential(role, "south", ["127.0.0.1"], before)

    write_credential(tmp_path / "witness.pem", credential(Role.WITNESS))
    write_bundle(tmp_path / "bundle.pem", authority.bundle)
    (tmp_path / "key").write_text(SOUTH_KEY.secret_text())
    words = ["witness", "--key", tmp_path / "key", "--log", LOG_KEY.public(), "--state", tmp_path / "state"]
    words += ["--credential", tmp_path / "witness.pem", "--bundle", tmp_path / "bundle.pem"]
    command = [sys.executable, "-m", "ringfort", *map(str, words), "--listen", "127.0.0.1:0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        url = f"https://127.0.0.1:{json.loads(process.stdout.readline())['port']}"
        note = sign(Checkpoint(ORIGIN, 0, EMPTY_ROOT), LOG_KEY).note
        controller, node = (client_context(credential(role), authority.bundle) for role in (Role.CONTROLLER, Role.NODE))
        for tls, refusal in ((node, "does not cosign"), (None, "can't be reached")):
            stranger = RemoteWitness(SOUTH_KEY.public(), url, tls)
            with pytest.raises(AuditError, match=refusal):
                stranger.cosign(0, [], note)
            stranger.close()
        remote = RemoteWitness(SOUTH_KEY.public(), url, controller)
        assert remote.cosign(0, [], note).name == SOUTH_KEY.name
        remote.close()
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=10)
