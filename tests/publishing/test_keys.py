"""Keys in files: for their owner alone, under a passphrase that is dear to guess, readable by other tools."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from ringfort.publishing.errors import PublishingError
from ringfort.publishing.keys import (
    KINDS,
    generate,
    named,
    needs_passphrase,
    read_public,
    read_signer,
    write_private,
    write_public,
)

SECRET = b"correct horse battery"


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_comes_back_with_its_passphrase_and_signs_for_its_public_half(kind: str, tmp_path: Path) -> None:
    key = generate(kind)
    write_private(tmp_path / "key", key, SECRET)
    write_public(tmp_path / "key.pub", key)
    signer, public = read_signer(tmp_path / "key", SECRET), read_public(tmp_path / "key.pub")
    assert signer.public_key.keyid == public.keyid
    public.verify_signature(signer.sign(b"words"), b"words")
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert needs_passphrase(tmp_path / "key")


def test_a_key_in_clear_needs_no_passphrase(tmp_path: Path) -> None:
    write_private(tmp_path / "key", generate("p-256"), None)
    assert not needs_passphrase(tmp_path / "key")
    read_signer(tmp_path / "key", None)
    with pytest.raises(PublishingError, match="is not under a passphrase"):
        read_signer(tmp_path / "key", SECRET)


@settings(max_examples=5, deadline=None)
@given(st.binary(min_size=12, max_size=80), st.binary(max_size=80))
def test_only_its_passphrase_opens_a_key(tmp_path_factory: pytest.TempPathFactory, right: bytes, wrong: bytes) -> None:
    path = tmp_path_factory.mktemp("keys") / "key"
    write_private(path, generate(), right)
    read_signer(path, right)
    if right != wrong:
        with pytest.raises(PublishingError, match="does not open"):
            read_signer(path, wrong)
    with pytest.raises(PublishingError, match="under a passphrase"):
        read_signer(path, None)


@pytest.mark.parametrize("kind", KINDS)
def test_openssl_reads_the_file_and_finds_scrypt_in_it(kind: str, tmp_path: Path) -> None:
    key, path = generate(kind), tmp_path / "key"
    write_private(path, key, SECRET)
    words = ["openssl", "pkey", "-in", str(path), "-passin", f"pass:{SECRET.decode()}", "-pubout"]
    public = subprocess.run(words, capture_output=True, check=True).stdout
    assert public == key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    form = subprocess.run(["openssl", "asn1parse", "-in", str(path)], capture_output=True, check=True, text=True).stdout
    assert "PBES2" in form
    assert "scrypt" in form
    assert "INTEGER           :4000" in form, "2**14"


def test_what_is_no_key_of_ours_is_refused_in_words(tmp_path: Path) -> None:
    rsa = generate_private_key(65537, 2048)
    (tmp_path / "rsa").write_bytes(rsa.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = rsa.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "rsa.pub").write_bytes(public)
    (tmp_path / "text").write_text("hello")
    write_private(tmp_path / "key", generate(), None)
    for read, name, code in (
        (lambda path: read_signer(path, None), "rsa", "key-kind"),
        (lambda path: read_signer(path, None), "text", "key-unreadable"),
        (lambda path: read_signer(path, None), "nothing", "key-unreadable"),
        (lambda path: read_signer(path, None), "rsa.pub", "key-unreadable"),
        (read_public, "rsa.pub", "key-kind"),
        (read_public, "text", "key-unreadable"),
        (read_public, "key", "key-unreadable"),
    ):
        with pytest.raises(PublishingError) as error:
            read(tmp_path / name)
        assert error.value.code == code, name


def test_no_key_is_overwritten_and_no_passphrase_is_short(tmp_path: Path) -> None:
    write_private(tmp_path / "key", generate(), None)
    before = (tmp_path / "key").read_bytes()
    with pytest.raises(PublishingError, match="is not overwritten"):
        write_private(tmp_path / "key", generate(), None)
    assert (tmp_path / "key").read_bytes() == before
    with pytest.raises(PublishingError, match="at least 12"):
        write_private(tmp_path / "other", generate(), b"short")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("name", ["", "Alice", "a b", "-a", "a" * 64, "ä"])
def test_a_name_is_a_plain_word(name: str, tmp_path: Path) -> None:
    write_public(tmp_path / "key.pub", generate())
    with pytest.raises(PublishingError, match="is no name"):
        named(read_public(tmp_path / "key.pub"), name)
