"""What is a customer's is readable with that customer's key only, whole, and in its own place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfort.compute.sealing import CHUNK_BYTES, FORMAT, SALT_BYTES, TAG_BYTES, CustomerKey, PlatformKey, SealedError

PLATFORM = PlatformKey(b"p" * 32)
ACME = PLATFORM.unwrap("acme", PLATFORM.new_key("acme"))
HEAD, SIZE = len(FORMAT) + SALT_BYTES, CHUNK_BYTES + TAG_BYTES
LONG = os.urandom(CHUNK_BYTES) + os.urandom(CHUNK_BYTES) + b"the end"


def refused(key: CustomerKey, purpose: str, sealed: bytes) -> str:
    with pytest.raises(SealedError) as found:
        key.open(purpose, sealed)
    return found.value.code


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, 200_000])
def test_what_is_sealed_is_opened(size: int) -> None:
    content = os.urandom(size)
    sealed = ACME.seal("part/1", content)
    assert ACME.open("part/1", sealed) == content
    assert size < 32 or content[:32] not in sealed
    assert ACME.seal("part/1", content) != sealed


@given(st.binary(max_size=300), st.integers(0, 10**6), st.integers(1, 255))
def test_a_changed_byte_is_noticed_wherever_it_is(content: bytes, position: int, change: int) -> None:
    sealed = bytearray(ACME.seal("part/1", content))
    sealed[position % len(sealed)] ^= change
    assert refused(ACME, "part/1", bytes(sealed)) == "sealed-damaged"


@given(st.binary(max_size=300))
def test_any_bytes_are_refused(content: bytes) -> None:
    assert refused(ACME, "part/1", content) == "sealed-damaged"


def chunks(sealed: bytes) -> list[bytes]:
    body = sealed[HEAD:]
    return [body[start : start + SIZE] for start in range(0, len(body), SIZE)]


@pytest.mark.parametrize(
    "order", [[0], [0, 1], [1, 0, 2], [0, 2], [1, 2], [0, 1, 1, 2], [0, 1, 2, 2], [2, 1, 0], [2], []]
)
def test_chunks_left_out_moved_repeated_or_cut_off_are_noticed(order: list[int]) -> None:
    sealed = ACME.seal("part/1", LONG)
    pieces = chunks(sealed)
    assert ACME.open("part/1", sealed[:HEAD] + b"".join(pieces)) == LONG
    assert refused(ACME, "part/1", sealed[:HEAD] + b"".join(pieces[n] for n in order)) == "sealed-damaged"


def test_chunks_of_two_texts_do_not_mix() -> None:
    first, second = ACME.seal("part/1", LONG), ACME.seal("part/1", LONG)
    mixed = first[:HEAD] + chunks(first)[0] + chunks(second)[1] + chunks(first)[2]
    assert refused(ACME, "part/1", mixed) == "sealed-damaged"


def test_what_was_sealed_for_one_purpose_opens_for_no_other() -> None:
    assert refused(ACME, "secret/shop/TOKEN", ACME.seal("secret/shop/OTHER", b"x")) == "sealed-damaged"


def test_another_customers_key_opens_nothing() -> None:
    rival = PLATFORM.unwrap("rival", PLATFORM.new_key("rival"))
    assert refused(rival, "part/1", ACME.seal("part/1", b"x")) == "sealed-damaged"


def test_a_wrapped_key_serves_its_customer_and_its_platform_key_only() -> None:
    wrapped = PLATFORM.new_key("acme")
    for platform, customer in ((PLATFORM, "rival"), (PlatformKey(b"q" * 32), "acme")):
        with pytest.raises(SealedError) as found:
            platform.unwrap(customer, wrapped)
        assert found.value.code == "customer-key-foreign"
    with pytest.raises(SealedError):
        PLATFORM.unwrap("acme", b"")


def test_without_the_customers_key_the_platforms_is_of_no_use() -> None:
    """Deleting the wrapped key is deleting everything: a new one for the same customer is another."""
    sealed = ACME.seal("part/1", b"x")
    assert refused(PLATFORM.unwrap("acme", PLATFORM.new_key("acme")), "part/1", sealed) == "sealed-damaged"
    assert refused(CustomerKey(PLATFORM.secret), "part/1", sealed) == "sealed-damaged"


def test_a_fingerprint_tells_the_same_content_and_needs_the_key() -> None:
    rival = PLATFORM.unwrap("rival", PLATFORM.new_key("rival"))
    assert ACME.fingerprint("value", b"x") == ACME.fingerprint("value", b"x")
    others = {ACME.fingerprint("value", b"y"), ACME.fingerprint("other", b"x"), rival.fingerprint("value", b"x")}
    assert ACME.fingerprint("value", b"x") not in others


def test_keys_for_elsewhere_differ_and_come_back() -> None:
    assert ACME.derived("disk/1") == ACME.derived("disk/1") != ACME.derived("disk/2")
    assert len(ACME.derived("disk/1")) == 32


def test_keys_are_shown_nowhere() -> None:
    assert "pppp" not in repr(PLATFORM)
    assert repr(ACME) == "CustomerKey()"


def test_a_key_file_is_read_only_if_it_is_its_owners(tmp_path: Path) -> None:
    path = tmp_path / "data.key"

    def code() -> str:
        with pytest.raises(SealedError) as found:
            PlatformKey.read(path)
        return found.value.code

    assert code() == "data-key-unreadable"
    path.write_bytes(b"k" * 32)
    path.chmod(0o644)
    assert code() == "data-key-exposed"
    path.chmod(0o640)
    assert PlatformKey.read(path) == PlatformKey(b"k" * 32)
    path.write_bytes(b"k" * 33)
    assert code() == "data-key-malformed"
