"""``ringfort environment`` with a running controller, which serves, and publishes with its own key."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ringfort.cli.repositories import ControllerFetcher
from ringfort.identity.names import Role
from ringfort.identity.store import write_bundle, write_credential
from ringfort.publishing.keys import read_signer
from ringfort.publishing.trust import Accepted, Trust
from tests.cli.command import Ran, run
from tests.control.running import Ground, Running, running
from tests.environment.declare import SOUND


@pytest.fixture
def ground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ground:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return Ground(tmp_path)


@pytest.fixture
def controller(ground: Ground) -> Iterator[Running]:
    with running(ground) as controller:
        yield controller


def test_two_approvers_publish_through_a_controller(ground: Ground, controller: Running, tmp_path: Path) -> None:
    write_bundle(tmp_path / "bundle.pem", ground.store.bundle())
    for name in ("nora", "aude"):
        write_credential(tmp_path / f"{name}.pem", ground.credential(Role.OPERATOR, name))
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "environment.yaml").write_text(SOUND)
    (tmp_path / "words").write_text("correct horse battery\n")
    at = f"{controller.platform.host}:{controller.platform.port}"

    def ringfort(verb: str, *words: object, who: str = "nora") -> Ran:
        place = ["-r", tmp_path / "work", "--controller", at, "--bundle", tmp_path / "bundle.pem"]
        return run("environment", verb, *words, *place, "--credential", tmp_path / f"{who}.pem")

    def ok(verb: str, *words: object) -> Ran:
        ran = ringfort(verb, *words)
        assert ran.code == 0, ran
        return ran

    def sign(*names: str) -> None:
        for name in names:
            ok("sign", "--key", tmp_path / f"{name}.key", "--passphrase-file", tmp_path / "words", "--yes")

    for name in ("alice", "bob", "carol"):
        run("environment", "key", tmp_path / f"{name}.key", "--passphrase-file", tmp_path / "words")
    (tmp_path / "online.pub").write_bytes(public_half(tmp_path / "online.key"))
    approvers = [f"--approver={name}={tmp_path / name}.key.pub" for name in ("alice", "bob", "carol")]
    ok("init", *approvers, "--online", tmp_path / "online.pub")
    sign("alice", "bob")
    assert ok("publish", "--ticket", "T-1").out == "root 1 is in force\n"
    ok("propose", tmp_path / "shop", "--message", "T-2: the beginning")
    sign("bob")
    assert "[under-signed]" in ringfort("publish").err
    sign("carol")
    shutil.copytree(tmp_path / "work", tmp_path / "copy")
    assert ringfort("publish", who="aude").code == 1, "an auditor publishes nothing"
    assert ok("publish").out == "version 1 is in force, under root 1\n"
    log = ok("log").out
    assert "signed by bob, carol" in log
    assert "T-2: the beginning" in log
    assert f"version 1  {datetime.now(UTC):%Y-%m-%d}" in log

    node = Trust.pin(tmp_path / "node", controller.operator("nora").fetch("/v1/environment/metadata/1.root.json"))
    answer = node.update(ControllerFetcher(controller.operator("nora")), datetime.now(UTC))
    assert isinstance(answer, Accepted)
    assert (answer.version, answer.signers) == (1, ("bob", "carol"))


def public_half(path: Path) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    read_signer(path, None)
    key = load_pem_private_key(path.read_bytes(), None)
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def test_a_controller_that_is_not_there_is_told_in_words(ground: Ground, tmp_path: Path) -> None:
    write_bundle(tmp_path / "bundle.pem", ground.store.bundle())
    write_credential(tmp_path / "nora.pem", ground.credential(Role.OPERATOR, "nora"))
    words = ["-r", tmp_path, "--controller", "127.0.0.1:1"]
    ran = run("environment", "log", *words, "--bundle", tmp_path / "bundle.pem", "--credential", tmp_path / "nora.pem")
    assert ran.code == 2
    assert "[repository-unreachable]" in ran.err
    assert run("environment", "log", *words).code == 2
