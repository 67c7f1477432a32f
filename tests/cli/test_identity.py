"""``ringfort identity``: an authority from nothing to a revoked certificate, by hand."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography import x509

from ringfort.cli.main import ringfort
from ringfort.errors import RingfortError
from ringfort.identity.certificates import new_key
from ringfort.identity.requests import write_request
from ringfort.identity.store import read_credential

WORDS = "correct horse battery staple\n"


def run(*words: str | Path, words_typed: str | None = None) -> Result:
    return CliRunner().invoke(ringfort, ["identity", *map(str, words)], input=words_typed, catch_exceptions=True)


def done(*words: str | Path) -> Result:
    result = run(*words)
    assert result.exit_code == 0, (result.output, result.exception)
    return result


def refused(*words: str | Path) -> RingfortError:
    result = run(*words)
    assert isinstance(result.exception, RingfortError), (result.output, result.exception)
    return result.exception


@pytest.fixture
def passphrase(tmp_path: Path) -> Path:
    file = tmp_path / "passphrase"
    file.write_text(WORDS)
    return file


@pytest.fixture
def authority(tmp_path: Path, passphrase: Path) -> Path:
    where = tmp_path / "authority"
    done("init", "-a", where, "--trust-domain", "shop.example", "--passphrase-file", passphrase)
    done("issuer", "-a", where, "north", "--network", "10.10.0.0/16", "--passphrase-file", passphrase)
    return where


def verdict(*words: str | Path) -> tuple[int, dict[str, Any]]:
    result = run("verify", *words, "--format", "json")
    return result.exit_code, json.loads(result.stdout)[0]


def test_from_nothing_to_a_revoked_certificate(authority: Path, tmp_path: Path) -> None:
    file = tmp_path / "web-1.pem"
    done("issue", "-a", authority, "north", "node/web-1", "--address", "10.10.1.2", "--out", file)
    trusted = ("--bundle", authority / "bundle.pem", "--revoked", authority / "crl" / "north.pem")
    assert verdict(file, *trusted, "--role", "node", "--address", "10.10.1.2") == (
        0,
        {"verdict": "accepted", "identity": "spiffe://shop.example/node/web-1"},
    )
    done("revoke", "-a", authority, file)
    code, told = verdict(file, *trusted)
    assert (code, told["code"]) == (1, "identity-revoked")
    assert "1 revoked" in done("revoke", "-a", authority).stdout, "a fresh list has what the old one had"
    assert read_credential(file).identity.uri in done("show", file).stdout
    assert f"{read_credential(file).leaf.serial_number:x}" in done("show", authority / "crl" / "north.pem").stdout


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--role", "operator"], "identity-wrong-role"),
        (["--address", "10.10.1.3"], "identity-wrong-address"),
        (["--at", "2099-01-01"], "identity-expired"),
        (["--at", "2001-01-01T00:00:00Z"], "identity-not-yet-valid"),
    ],
)
def test_a_refusal_names_its_code_and_its_rule(authority: Path, tmp_path: Path, words: list[str], code: str) -> None:
    file = tmp_path / "web-1.pem"
    done("issue", "-a", authority, "north", "node/web-1", "--address", "10.10.1.2", "--out", file)
    exit_code, told = verdict(file, "--bundle", authority / "bundle.pem", *words)
    assert (exit_code, told["verdict"], told["code"]) == (1, "refused", code)
    assert told["rule"]


def test_a_revoked_issuing_authority_takes_everything_along(authority: Path, tmp_path: Path, passphrase: Path) -> None:
    file = tmp_path / "web-1.pem"
    done("issue", "-a", authority, "north", "node/web-1", "--address", "10.10.1.2", "--out", file)
    done("revoke", "-a", authority, "--issuer", "north", "--passphrase-file", passphrase)
    lists = [word for name in ("north", "root") for word in ("--revoked", authority / "crl" / f"{name}.pem")]
    assert verdict(file, "--bundle", authority / "bundle.pem", *lists)[1]["code"] == "identity-revoked"


def test_the_blocks_of_a_site_come_from_the_environment(authority: Path, passphrase: Path) -> None:
    example = Path(__file__).parents[2] / "examples" / "shop"
    made = done("issuer", "-a", authority, "south", "--environment", example, "--passphrase-file", passphrase)
    assert "10.20.0.0/16" in made.stdout
    error = refused("issuer", "-a", authority, "west", "--environment", example, "--passphrase-file", passphrase)
    assert "north" in error.hint


def test_a_key_that_was_made_elsewhere_stays_there(authority: Path, tmp_path: Path) -> None:
    request, out = tmp_path / "alice.csr", tmp_path / "alice.pem"
    key = new_key()
    request.write_bytes(write_request(key))
    done("issue", "-a", authority, "north", "operator/alice", "--hours", "8", "--request", request, "--out", out)
    assert b"PRIVATE" not in out.read_bytes()
    assert x509.load_pem_x509_certificates(out.read_bytes())[0].public_key() == key.public_key()


def test_secrets_are_their_owners_alone(authority: Path, tmp_path: Path) -> None:
    file = tmp_path / "web-1.pem"
    done("issue", "-a", authority, "north", "node/web-1", "--address", "10.10.1.2", "--out", file)
    for secret in (file, authority / "root.key", authority / "issuers" / "north.key"):
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600, secret
    assert b"ENCRYPTED" in (authority / "root.key").read_bytes()


def test_bad_input_is_told(authority: Path, tmp_path: Path, passphrase: Path) -> None:
    issue = ("issue", "-a", authority, "north")
    out = ("--out", tmp_path / "x.pem")
    assert refused(*issue, "node/web-1", "--address", "10.30.1.2", *out).code == "identity-address-outside-site"
    assert refused(*issue, "node/web-1", *out).code == "identity-no-addresses"
    assert refused(*issue, "node/web 1", "--address", "10.10.1.2", *out).code == "identity-name"
    assert refused(*issue, "node/web-1", "--address", "ten", *out).code == "identity-address"
    assert refused("issue", "-a", authority, "west", "node/x", *out).code == "identity-no-issuer"
    assert refused("show", tmp_path / "missing.pem").code == "identity-unreadable"
    assert refused("show", passphrase).code == "identity-not-certificates"
    again = ("init", "-a", authority, "--trust-domain", "shop.example", "--passphrase-file", passphrase)
    assert refused(*again).code == "identity-root-exists"
    (tmp_path / "wrong").write_text("some other words entirely\n")
    wrong = ("issuer", "-a", authority, "south", "--network", "10.20.0.0/16", "--passphrase-file", tmp_path / "wrong")
    assert refused(*wrong).code == "passphrase-wrong"
    wrong_usage: list[tuple[str | Path, ...]] = [
        (*issue, "web-1", *out),
        (*issue, "king/web-1", *out),
        (*issue, "node/web-1", "--hours", "25", *out),
        ("issuer", "-a", authority, "south"),
        ("issuer", "-a", authority, "south", "--network", "10.20.0.1/16"),
        ("verify", authority / "root.pem", "--bundle", authority / "bundle.pem", "--at", "noon"),
    ]
    for words in wrong_usage:
        assert run(*words).exit_code == 2, words
