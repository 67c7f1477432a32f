"""`ringfort acme` makes an authority once, serves until it is told to stop, and says what is wrong with its options."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ringfort.cli.main import ringfort
from ringfort.gateway.acme import files
from tests.gateway.edges import free_port

PASSPHRASE = "a few good words"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("public")
    (directory / "passphrase").write_text(PASSPHRASE)
    made = init(directory / "authority", directory / "passphrase")
    assert made.exit_code == 0, made.output
    assert "issuer for shop.example, until" in made.output
    return directory / "authority"


def init(directory: Path, passphrase: Path, domain: str = "shop.example") -> Result:
    words = ["acme", "init", "-a", str(directory), "--owner", "Tests", "--domain", domain]
    return CliRunner().invoke(ringfort, [*words, "--passphrase-file", str(passphrase)])


def test_an_authority_is_made_once_and_its_keys_are_its_owners(authority: Path) -> None:
    again = init(authority, authority.parent / "passphrase")
    assert getattr(again.exception, "code", "") == "acme-authority-exists"
    assert {path.name: path.stat().st_mode & 0o777 for path in authority.iterdir()} == {
        "public-root.pem": 0o644, "public-root.key": 0o600, "public-issuer.pem": 0o644, "public-issuer.key": 0o600,
    }  # fmt: skip
    assert "ENCRYPTED" in (authority / "public-root.key").read_text()


def test_another_issuer_takes_the_place_of_the_old_one(authority: Path, tmp_path: Path) -> None:
    other = tmp_path / "authority"
    shutil.copytree(authority, other)
    words = ["acme", "issuer", "-a", str(other), "--domain", "zeta.example", "--passphrase-file"]
    made = CliRunner().invoke(ringfort, [*words, str(authority.parent / "passphrase")])
    assert made.exit_code == 0, made.output
    assert files.read(other).domains == ("zeta.example",)
    (tmp_path / "wrong").write_text("other words, not these")
    wrong = CliRunner().invoke(ringfort, [*words, str(tmp_path / "wrong")])
    assert getattr(wrong.exception, "code", "") == "passphrase-wrong"


def test_it_serves_until_it_is_told_to_stop(authority: Path, tmp_path: Path) -> None:
    (tmp_path / "names.json").write_text(json.dumps({"www.shop.example": "acme"}))
    port = free_port()
    words = [sys.executable, "-m", "ringfort", "acme", "serve", "-a", str(authority)]
    words += ["--names", str(tmp_path / "names.json"), "--database", f"sqlite:///{tmp_path / 'acme.db'}"]
    words += ["--url", "https://acme.shop.example", "--gateway", "127.0.0.1", "--listen", f"127.0.0.1:{port}"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as server:
        try:
            deadline = time.monotonic() + 30
            while True:
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/directory") as answer:
                        directory = json.load(answer)
                    break
                except OSError:
                    assert server.poll() is None
                    assert time.monotonic() < deadline
                    time.sleep(0.1)
            assert directory["newOrder"] == "https://acme.shop.example/new-order"
        finally:
            os.kill(server.pid, signal.SIGTERM)
        assert server.wait(10) == 0


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--url", "http://acme.shop.example", "begins with https://"),
        ("--gateway", "gateway.example", "is not ADDRESS"),
        ("--listen", "127.0.0.1", "is not ADDRESS:PORT"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    authority: Path, tmp_path: Path, option: str, value: str, said: str
) -> None:
    good = {
        "--names": "n", "--database": "sqlite://", "--url": "https://acme.shop.example", "--gateway": "127.0.0.1",
        "--listen": "127.0.0.1:1",
    }  # fmt: skip
    words = [word for pair in (good | {option: value}).items() for word in pair]
    result = CliRunner().invoke(ringfort, ["acme", "serve", "-a", str(authority), *words])
    assert result.exit_code == 2
    assert said in result.output
