"""Records: one spelling, nothing personal or secret in it, and erasure that leaves the proofs alone."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfort.audit.canonical import canonical, parse
from ringfort.audit.erasing import commitments_of, erase, opened_beside
from ringfort.audit.errors import AuditError
from ringfort.audit.history import difference, read_entry, versions
from ringfort.audit.keeping import FILE, Keeping
from ringfort.audit.log import Log
from ringfort.audit.personal import Hidden, Personal, Secret
from ringfort.audit.publisher import Pending, Publisher
from ringfort.audit.reading import Directory
from ringfort.audit.records import Action, Record, State, parse_body
from ringfort.audit.sealing import seal, unseal
from ringfort.audit.verify import verify
from tests.audit import logs
from tests.audit.logs import LOG_KEY, NOON, POLICY, LocalWitness, record

SEED = b"s" * 32
BEN = "spiffe://shop.example/operator/ben"

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_canonical_json_is_read_back_by_any_reader(value: object) -> None:
    text = canonical(value)  # type: ignore[arg-type]  # it is JSON
    assert json.loads(text) == value
    assert canonical(parse(text)) == text


def test_names_are_ordered_by_utf_16_as_rfc_8785_asks() -> None:
    """RFC 8785, section 3.2.3: the order of its own example."""
    names = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\x80", "\u00f6"]
    assert list(json.loads(canonical(dict.fromkeys(names, 0)))) == [
        "\r", "1", "\x80", "\u00f6", "\u20ac", "\U0001f600", "\ufb33",
    ]  # fmt: skip


@pytest.mark.parametrize("value", [1.5, float("nan"), 2**53, {1: 2}, b"x", {"a"}, "\ud800"])
def test_what_has_no_one_spelling_is_refused(value: object) -> None:
    with pytest.raises(AuditError) as caught:
        canonical(value)  # type: ignore[arg-type]  # that is what is tried
    assert caught.value.code == "audit-value"


@pytest.mark.parametrize("text", [b'{"a": 1}', b'{"b":1,"a":2}', b"[1,", b'{"a":1,"a":1}', b'"\\u0041"', b"1.0"])
def test_json_in_another_spelling_is_refused(text: bytes) -> None:
    with pytest.raises(AuditError):
        parse(text)


@pytest.mark.parametrize("text", ["control:customer:add", "node:rules:put-back", "a:b2:c"])
def test_actions_have_three_words(text: str) -> None:
    assert str(Action.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "a:b", "a:b:c:d", "A:b:c", "a::c", "a:b:c ", "a:b:-c", "account:create", "a:b:c\n"]
)
def test_what_is_no_action_is_refused(text: str) -> None:
    with pytest.raises(AuditError):
        Action.parse(text)


def test_a_record_says_all_the_issue_asks_for_and_is_read_back() -> None:
    concealed = record(7, request="key-1").conceal(b"")
    written = json.loads(concealed.body)
    assert set(written) == {
        "action", "after", "authenticated", "before", "format", "on", "origin", "request", "when", "who", "why",
    }  # fmt: skip
    assert written["before"]["value"] == {"quota": 7}
    assert written["before"]["digest"].startswith("sha256:")
    again = parse_body(concealed.body)
    assert again.conceal(b"").body == concealed.body
    assert (again.who, again.on, again.when) == (record(7).who, "customer/c0", NOON + timedelta(seconds=7))


def test_times_are_in_utc() -> None:
    elsewhere = datetime(2026, 11, 24, 14, tzinfo=timezone(timedelta(hours=2)))
    assert parse_body(record(1, when=elsewhere).body()).when == datetime(2026, 11, 24, 12, tzinfo=UTC)
    with pytest.raises(AuditError, match="no time zone"):
        record(1, when=datetime(2026, 11, 24)).body()  # noqa: DTZ001  # that is what is tried


def personal_record(number: int = 1) -> Record:
    return record(
        number,
        who=Personal("spiffe://shop.example/operator/anna"),
        origin=Personal("10.10.6.10"),
        before=State({"contact": Personal({"mail": "old@acme.example"}), "token": Secret("hunter2"), "quota": 1}),
        after=State({"contact": Personal({"mail": "new@acme.example"}), "token": Secret("hunter2"), "quota": 2}),
    )


def test_nothing_personal_and_no_secret_is_in_a_leaf() -> None:
    concealed = personal_record().conceal(SEED)
    for word in (b"anna", b"10.10.6.10", b"acme.example", b"hunter2"):
        assert word not in concealed.body
    assert {opening.value if isinstance(opening.value, str) else "mail" for opening in concealed.openings} == {
        "spiffe://shop.example/operator/anna", "10.10.6.10", "mail",
    }  # fmt: skip
    assert all(opening.holds() for opening in concealed.openings)
    assert "hunter2" not in repr(personal_record().before), "nor does a log of the program show it"


def test_a_secret_shows_only_whether_it_changed() -> None:
    read = parse_body(personal_record().conceal(SEED).body)
    assert read.before is not None
    assert read.after is not None
    before, after = read.before.value, read.after.value
    assert isinstance(before, dict)
    assert isinstance(after, dict)
    assert before["token"] == after["token"]
    assert before["contact"] != after["contact"]
    changed = record(1, before=State(Secret("a")), after=State(Secret("b"))).conceal(SEED).body
    other = parse_body(changed)
    assert other.before is not None
    assert other.after is not None
    assert other.before.value != other.after.value


def test_equal_values_have_unequal_commitments() -> None:
    """Otherwise one could count how often somebody acted, and guess values once and for all."""
    first = {opening.commitment for opening in personal_record().conceal(b"1" * 32).openings}
    second = {opening.commitment for opening in personal_record().conceal(b"2" * 32).openings}
    assert not first & second
    assert len(first) == 4


def test_concealing_without_randomness_is_refused() -> None:
    with pytest.raises(AuditError, match="32 random bytes"):
        personal_record().body()


def test_a_plain_value_cannot_pass_for_a_commitment() -> None:
    with pytest.raises(AuditError, match="means a commitment"):
        record(1, after=State({"x": {"personal": "00"}})).body()


def test_a_long_value_is_kept_as_its_hash() -> None:
    read = parse_body(record(1, after=State("x" * 40_000)).body())
    assert read.after is not None
    assert (read.after.value, len(read.after.digest)) == (None, 71)
    assert next(difference(read.before, read.after)).endswith("(only the hash is recorded)")


@given(st.binary(max_size=100))
def test_any_body_is_a_record_or_refused(body: bytes) -> None:
    with contextlib.suppress(AuditError):
        assert parse_body(body).conceal(b"").body == body


@given(st.integers(0, 2**62), st.binary(min_size=32, max_size=32), st.text(max_size=50))
def test_a_seal_is_taken_off_again(index: int, previous: bytes, text: str) -> None:
    body = json.dumps({"x": text}).encode()
    sealed = unseal(seal(index, previous, body))
    assert (sealed.index, sealed.previous, sealed.body) == (index, previous, body)


class Waiting:
    """An outbox in memory."""

    def __init__(self, records: list[Record]) -> None:
        concealed = [item.conceal(bytes([number]) * 32) for number, item in enumerate(records, 1)]
        self.rows = [Pending(item.body, item.openings) for item in concealed]

    def pending(self, first: int, limit: int) -> list[Pending]:
        return self.rows[first : first + limit]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    with Log.create(tmp_path / "log", logs.ORIGIN) as log:
        publisher = Publisher(log, LOG_KEY, [LocalWitness(tmp_path / "south")])
        signed = publisher.run(Waiting([record(0, who=BEN), personal_record(1), personal_record(2)]))
    assert signed is not None
    assert signed.checkpoint.size == 3
    return tmp_path / "log"


def who(place: Path, index: int) -> object:
    with Log(place) as log:
        body = log.bodies(index, index + 1)[0]
    return opened_beside(place, read_entry(seal(index, bytes(32), body))).record.who


def test_erasing_leaves_every_proof_as_it_was(place: Path) -> None:
    anna = "spiffe://shop.example/operator/anna"
    before = {path: path.read_bytes() for path in (place / "public").rglob("*") if path.is_file()}
    assert who(place, 1) == anna
    found = commitments_of(place, [anna], [])
    assert len(found) == 2
    assert erase(place, found, "request 12", NOON) == 2
    assert isinstance(who(place, 1), Hidden)
    assert before == {path: path.read_bytes() for path in (place / "public").rglob("*") if path.is_file()}
    assert verify(Directory(place), POLICY).intact
    assert commitments_of(place, [anna], []) == []
    assert commitments_of(place, [], [2]) != [], "what else is personal stays"


def test_what_is_erased_is_not_left_on_the_disk(place: Path) -> None:
    private = place / "private"
    assert any(b"operator/anna" in path.read_bytes() for path in private.iterdir())
    erase(place, commitments_of(place, ["spiffe://shop.example/operator/anna"], []), "request 12", NOON)
    assert not any(b"operator/anna" in path.read_bytes() for path in private.iterdir())
    note = json.loads((private / "erasures").read_text())
    assert (note["why"], len(note["commitments"])) == ("request 12", 2)


def test_personal_values_are_for_the_log_s_owner_alone(place: Path) -> None:
    assert (place / "private").stat().st_mode & 0o077 == 0
    assert (place / "private" / FILE).stat().st_mode & 0o077 == 0


def test_an_opening_that_opens_nothing_is_not_kept(place: Path) -> None:
    from ringfort.audit.personal import Opening

    with Keeping(place / "private") as keeping, pytest.raises(AuditError, match="does not open"):
        keeping.put([Opening("00" * 32, b"s" * 32, "x")])


def test_a_history_shows_each_version_with_its_author_and_what_changed() -> None:
    records = [
        record(1, before=None, after=State({"quota": 1, "tags": ["a"]})),
        record(2, who=BEN, before=State({"quota": 1, "tags": ["a"]}), after=State({"quota": 5, "tags": ["a", "b"]})),
        record(3, before=State({"quota": 6, "tags": []}), after=None),
    ]  # fmt: skip
    entries = [read_entry(seal(number, bytes(32), item.body())) for number, item in enumerate(records)]
    found = list(versions(entries))
    assert found[0].difference == ("+ quota: 1", '+ tags[0]: "a"')
    assert found[1].difference == ("~ quota: 1 -> 5", '+ tags[1]: "b"')
    assert found[1].entry.record.who == BEN
    assert found[2].difference == ("- quota: 6", "- tags: []")
    assert [version.gap for version in found] == [False, False, True], "between 2 and 3 something changed unrecorded"
