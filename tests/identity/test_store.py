"""The authority's files: made once, whole or not at all, and their owner's alone."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from ringfort.identity.certificates import new_key
from ringfort.identity.credential import Credential
from ringfort.identity.errors import IdentityError, IdentityRefused, Refusal
from ringfort.identity.names import Identity, Role
from ringfort.identity.revocation import revoked
from ringfort.identity.store import Store, read_bundle, read_credential, write_bundle, write_credential
from ringfort.identity.verification import anyone, verify
from tests.identity.parties import DOMAIN, NOON, NORTH, SOUTH, authority

WORDS = b"correct horse battery staple"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store.create(tmp_path / "authority", DOMAIN, WORDS, NOON)
    made.add_issuer("north", NORTH, WORDS, NOON)
    return made


def credential(store: Store, now: datetime = NOON) -> Credential:
    key, issuer = new_key(), store.issuer("north")
    leaf = issuer.issue(Identity(DOMAIN, Role.NODE, "a"), [ip_address("10.10.1.2")], key.public_key(), now)
    return Credential(key, (leaf, issuer.certificate))


def test_what_is_issued_from_the_files_is_accepted_by_the_bundle(store: Store) -> None:
    verify(credential(store).leaf, (), store.bundle(), NOON, expected=anyone, revoked=store.revocations())


def test_a_root_is_made_once(store: Store) -> None:
    before = (store.directory / "root.key").read_bytes()
    with pytest.raises(IdentityError) as error:
        Store.create(store.directory, DOMAIN, WORDS, NOON)
    assert error.value.code == "identity-root-exists"
    assert (store.directory / "root.key").read_bytes() == before


def test_the_roots_key_is_encrypted_and_needed_for_nothing_that_runs(store: Store) -> None:
    pem = (store.directory / "root.key").read_bytes()
    assert pem.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    with pytest.raises(TypeError):
        load_pem_private_key(pem, None)
    for words in (b"another passphrase", b""):
        with pytest.raises(IdentityError):
            store.root(words)
    (store.directory / "root.key").unlink()  # it is kept elsewhere
    made = credential(store)
    store.revoke(store.issuer("north"), [revoked(made.leaf, NOON)], NOON)
    with pytest.raises(IdentityRefused) as refused:
        verify(made.leaf, (), store.bundle(), NOON, expected=anyone, revoked=store.revocations())
    assert refused.value.refusal is Refusal.REVOKED


def test_openssl_reads_the_roots_key(store: Store) -> None:
    read = subprocess.run(
        [
            "openssl",
            "pkey",
            "-in",
            store.directory / "root.key",
            "-passin",
            f"pass:{WORDS.decode()}",
            "-noout",
            "-text",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "prime256v1" in read.stdout


def test_secrets_are_their_owners_alone(store: Store) -> None:
    old = os.umask(0)
    try:
        write_credential(store.directory / "node.pem", credential(store))
        Store.create(store.directory / "open", DOMAIN, WORDS, NOON).add_issuer("north", NORTH, WORDS, NOON)
    finally:
        os.umask(old)
    for path in store.directory.rglob("*"):
        if path.is_dir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o700, path
        elif b"PRIVATE" in path.read_bytes():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_what_a_killed_writer_left_behind_lends_nobody_its_mode(tmp_path: Path) -> None:
    (tmp_path / ".node.pem.new").write_bytes(b"half of a key")
    (tmp_path / ".node.pem.new").chmod(0o666)
    write_credential(tmp_path / "node.pem", authority().credential())
    assert stat.S_IMODE((tmp_path / "node.pem").stat().st_mode) == 0o600


def test_short_passphrases_and_strange_sites_are_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(IdentityError) as error:
        Store.create(tmp_path / "x", DOMAIN, b"short", NOON)
    assert error.value.code == "passphrase-too-short"
    for site in ("", "..", "a/b", "root", "north.previous", "-a"):
        with pytest.raises(IdentityError):
            store.add_issuer(site, SOUTH, WORDS, NOON)
        with pytest.raises(IdentityError):
            store.issuer(site)


def test_an_authority_that_is_replaced_stays_good_until_what_it_issued_has_expired(store: Store) -> None:
    old = credential(store)
    later = NOON + timedelta(hours=1)
    store.add_issuer("north", NORTH, WORDS, later)
    new = credential(store, later)
    assert old.chain[1] != new.chain[1]
    for made in (old, new):
        verify(made.leaf, (), store.bundle(), later, expected=anyone, revoked=store.revocations())
    store.revoke(store.issuer_of(old.leaf), [revoked(old.leaf, later)], later)
    with pytest.raises(IdentityRefused) as refused:
        verify(old.leaf, (), store.bundle(), later, expected=anyone, revoked=store.revocations())
    assert refused.value.refusal is Refusal.REVOKED
    assert store.sites() == ("north",)
    verify(new.leaf, (), store.bundle(), later, expected=anyone, revoked=store.revocations())


def test_files_are_read_as_they_were_written(tmp_path: Path) -> None:
    made, trusted = authority().credential(), authority().bundle
    write_credential(tmp_path / "a.pem", made)
    write_bundle(tmp_path / "bundle.pem", trusted)
    assert read_credential(tmp_path / "a.pem").chain == made.chain
    assert read_bundle(tmp_path / "bundle.pem") == trusted
    for content in (b"", b"\0" * 100, b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        (tmp_path / "bad").write_bytes(content)
        for read in (read_credential, read_bundle):
            with pytest.raises(IdentityError):
                read(tmp_path / "bad")
    with pytest.raises(IdentityError):
        read_bundle(tmp_path)
    with pytest.raises(IdentityError):
        write_bundle(tmp_path / "missing" / "bundle.pem", trusted)


KILLED = """
import sys
from datetime import datetime, timedelta
from pathlib import Path
from ringfort.identity.store import write_credential
from tests.identity.parties import authority
made = [authority().credential() for _ in range(20)]
print("ready", flush=True)
while True:
    for one in made:
        write_credential(Path(sys.argv[1]), one)
"""


def test_a_writer_that_is_killed_leaves_a_whole_file(tmp_path: Path) -> None:
    """Whenever it dies, what stands there is a key with its own certificate."""
    file = tmp_path / "node.pem"
    for milliseconds in range(0, 30, 3):
        with subprocess.Popen([sys.executable, "-c", KILLED, str(file)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
            while not file.exists():
                time.sleep(0.001)
            time.sleep(milliseconds / 1000)
            writer.kill()
        assert read_credential(file).identity.name == "web"
