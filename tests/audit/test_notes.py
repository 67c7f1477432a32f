"""Signed notes, keys, checkpoints, cosignatures and policies, against the examples of their specifications."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfort.audit.checkpoint import cosign, cosigned_by, parse_checkpoint, signed_by
from ringfort.audit.errors import AuditError
from ringfort.audit.notes import (
    COSIGNATURE,
    ED25519,
    Note,
    SignerKey,
    good_name,
    parse_note,
    parse_signer_key,
    parse_verifier_key,
    sign_note,
)
from ringfort.audit.policy import parse_policy
from tests.audit.logs import LOG_KEY, NOON, SOUTH_KEY, WEST_KEY

# signed-note, "Example".
EXAMPLE_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLE_NOTE = """This is an example message.

— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
"""

# tlog-cosignature: an example of a checkpoint that contains a cosignature.
EXAMPLE_CHECKPOINT = """example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
"""  # noqa: E501

# The introduction of signed-note: a text with an empty line in it.
POEM = """Ognuno sta solo sul cuor della terra
trafitto da un raggio di sole:

ed è subito sera.

— quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=
"""  # noqa: E501


def test_the_example_of_signed_note_verifies() -> None:
    key = parse_verifier_key(EXAMPLE_KEY)
    note = parse_note(EXAMPLE_NOTE.encode())
    assert str(key) == EXAMPLE_KEY
    assert str(note) == EXAMPLE_NOTE
    assert key.signed(note.signatures[0])
    assert key.verifies(note.text.encode(), note.signatures[0].data)
    assert not key.verifies(note.text.replace("example", "other").encode(), note.signatures[0].data)


def test_a_text_may_have_empty_lines() -> None:
    note = parse_note(POEM.encode())
    assert note.text.endswith("\n\ned è subito sera.\n")
    assert note.signatures[0].name == "quasimodo.example/salvatore"


def test_the_example_of_a_cosigned_checkpoint_is_read() -> None:
    signed = parse_checkpoint(EXAMPLE_CHECKPOINT.encode())
    assert signed.checkpoint.origin == "example.com/behind-the-sofa"
    assert signed.checkpoint.size == 20852163
    assert str(signed) == EXAMPLE_CHECKPOINT
    witness = signed.note.signatures[1]
    assert int.from_bytes(witness.data[:8], "big") == 1679315147, "the time in the specification's signed message"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text\n",
        b"text\n\n",
        b"text\n\n- name AAAAAAAA\n",
        "text\n\n— name AAAA\n".encode(),
        "text\n\n— na+me AAAAAAAA\n".encode(),
        "text\n\n— name AAAAAAB=\n".encode(),
        "text\n\n— name  AAAAAAAA\n".encode(),
        "text\n\n— name AAAAAAAA".encode(),
        "te\txt\n\n— name AAAAAAAA\n".encode(),
        b"\xff\n\n\xe2\x80\x94 name AAAAAAAA\n",
        b"x\n\n" + "— name AAAAAAAA\n".encode() * 65,
    ],
)
def test_what_is_no_note_is_refused(data: bytes) -> None:
    with pytest.raises(AuditError) as caught:
        parse_note(data)
    assert caught.value.code == "audit-note"


@given(st.binary(max_size=200))
def test_any_bytes_are_a_note_or_refused(data: bytes) -> None:
    try:
        note = parse_note(data)
    except AuditError:
        return
    assert str(note).encode() == data


@given(st.binary(min_size=32, max_size=32), st.sampled_from([ED25519, COSIGNATURE]))
def test_keys_are_read_back(seed: bytes, kind: int) -> None:
    key = SignerKey("log.example/a", kind, seed)
    assert parse_signer_key(key.secret_text()) == key
    assert parse_verifier_key(str(key.public())) == key.public()
    assert seed.hex() not in repr(key)


@pytest.mark.parametrize(
    "text", ["", "name", "name+00000000+AAAA", EXAMPLE_KEY.replace("530d903a", "530d903b"), EXAMPLE_KEY + "A"]
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(AuditError) as caught:
        parse_verifier_key(text)
    assert caught.value.code == "audit-key"


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u00a0b", "a\nb"])
def test_names_that_keys_must_not_have(name: str) -> None:
    assert not good_name(name)


def checkpoint_note() -> Note:
    return sign_note("shop.example/audit\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n", LOG_KEY)


def test_a_cosignature_carries_its_time_and_is_bound_to_it() -> None:
    note = checkpoint_note()
    signature = cosign(note, SOUTH_KEY, NOON)
    assert cosigned_by(note.with_signatures([signature]), SOUTH_KEY.public()) == NOON
    later = type(signature)(signature.name, signature.key_id, b"\0" * 7 + b"\1" + signature.data[8:])
    with pytest.raises(AuditError, match="is not its own"):
        cosigned_by(note.with_signatures([later]), SOUTH_KEY.public())
    assert cosigned_by(note, SOUTH_KEY.public()) is None


def test_a_false_signature_of_a_known_key_spoils_the_note() -> None:
    note = checkpoint_note()
    false = type(note.signatures[0])(LOG_KEY.name, LOG_KEY.public().key_id, bytes(64))
    with pytest.raises(AuditError, match="is not its own"):
        signed_by(Note(note.text, (*note.signatures, false)), LOG_KEY.public())


@pytest.mark.parametrize(
    "text",
    ["a\n1\n", "a\n01\nx\n", "a\n-1\nx\n", "a\n1\nAAAA\n", "a\n1\n\n", "\n1\nx\n", "a\n99999999999999999999\nx\n"],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(AuditError):
        parse_checkpoint(str(sign_note(text, LOG_KEY)).encode())


POLICY = f"""
# the example of tlog-policy, smaller
log {LOG_KEY.public()}
witness X1 {SOUTH_KEY.public()}
\twitness   X2 {WEST_KEY.public()} https://west.example/witness
witness Y1 {SignerKey("y", COSIGNATURE, b"y" * 32).public()}
group X all X1 X2
group all-of-them 1 X Y1
quorum all-of-them
"""


def test_a_policy_counts_by_groups() -> None:
    policy = parse_policy(POLICY.encode())
    assert policy.witnesses["X2"].url == "https://west.example/witness"
    assert policy.agreed({"Y1"})
    assert policy.agreed({"X1", "X2"})
    assert not policy.agreed({"X1"})
    assert not policy.agreed(set())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("quorum all-of-them", ""), "has no line 'quorum'"),
        (("quorum all-of-them", "quorum nobody"), "nobody is not defined before"),
        (("group X all X1 X2", "group X 3 X1 X2"), "no threshold of 2"),
        (("group X all X1 X2", "group X 0 X1 X2"), "no threshold of 2"),
        (("group X all X1 X2", "group X1 all X1 X2"), "the name X1 is taken"),
        (("1 X Y1", "1 X X1"), "X1 is a member twice"),
        (("witness X1", "witness none"), "the name none is taken"),
        (("group X all", "gruop X all"), "says nothing that is known"),
        ((str(WEST_KEY.public()), str(SOUTH_KEY.public())), "is there twice"),
        ((str(WEST_KEY.public()), str(LOG_KEY.public())), "is of type 01"),
    ],
)
def test_a_policy_that_is_wrong_is_refused_with_its_line(change: tuple[str, str], message: str) -> None:
    with pytest.raises(AuditError, match=message):
        parse_policy(POLICY.replace(*change).encode())
