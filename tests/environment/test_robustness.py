"""Whatever the bytes, loading gives an environment or tells problems, each with a code, a place and a message."""

from __future__ import annotations

from pathlib import Path

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ringfort.environment.load import load_text
from ringfort.environment.model import Environment
from ringfort.errors import DeclarationError
from tests.environment.declare import SOUND

SHOP = "".join(path.read_text() for path in sorted((Path(__file__).parents[2] / "examples" / "shop").glob("*.yaml")))

PIECES = [
    "{", "}", "[", "]", ":", ": ", ",", "- ", "\n", "\n  ", "&a ", "*a", "<<: *a", "!!int ", "!x ", "'", '"', "#",
    "|", ">", "? ", "---\n", "...\n", "%YAML 1.1\n", "\t", "\0", "\ufeff", "\u2028", "no", "1e3", "0o17", "null",
    "12:30", "::", "::/0", "0.0.0.0/0", "10.1.1.0/24", "fd00::/8", "internet", "service:", "host:x", "segment:a/b",
    "count", "include", "ä", "😀", "-1", "99999999999999999999", "web", "north/edge", "edge", "hosts:\n  x: ",
    "flows:\n  - ", "published:\n  - ", "..", "/",
]  # fmt: skip


def check(content: bytes | str) -> None:
    try:
        assert isinstance(load_text(content), Environment)
    except DeclarationError as error:
        problems = error.problems
    else:
        return
    assert problems
    for problem in problems:
        assert problem.code
        assert problem.message
        assert problem.origin.line >= 1
        assert problem.origin.column >= 1
        assert "\n" not in problem.message + problem.excerpt + problem.hint
    assert list(problems) == sorted(problems, key=lambda problem: (problem.origin.line, problem.origin.column))


def spliced(text: str, changes: list[tuple[int, int, str]]) -> str:
    for position, length, piece in changes:
        place = position % (len(text) + 1)
        text = text[:place] + piece + text[place + length :]
    return text


changes = st.lists(
    st.tuples(st.integers(0, 100_000), st.integers(0, 12), st.sampled_from(PIECES) | st.text(max_size=4)),
    min_size=1,
    max_size=6,
)
relaxed = settings(deadline=None, max_examples=250, suppress_health_check=[HealthCheck.too_slow])


@relaxed
@given(st.binary(max_size=200))
@example(b"\xef\xbb\xbf")
@example(b"\xff\xfea\x00")
@example(b"?")
@example(b"? ? ?")
@example(b"- - -")
@example(b"{? a}")
@example(b"&a")
@example(b"a: &a\nb: *a")
@example(b"<<: {}")
@example(b"<<: &a {<<: *a}")
def test_any_bytes(content: bytes) -> None:
    check(content)


@relaxed
@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_any_pieces_of_yaml(text: str) -> None:
    check(text)


@relaxed
@given(changes)
def test_a_sound_file_with_any_changes(edits: list[tuple[int, int, str]]) -> None:
    check(spliced(SOUND, edits))


@settings(relaxed, max_examples=100)
@given(changes)
def test_the_example_with_any_changes(edits: list[tuple[int, int, str]]) -> None:
    check(spliced(SHOP.replace("include: [hosts.yaml, flows.yaml]", ""), edits))


LINES = SOUND.splitlines(keepends=True)


@relaxed
@given(st.lists(st.sampled_from(range(len(LINES))), max_size=len(LINES)))
def test_any_lines_of_a_sound_file_in_any_order(order: list[int]) -> None:
    check("".join(LINES[number] for number in order))


@relaxed
@given(st.sets(st.sampled_from(range(len(LINES))), max_size=4))
def test_a_sound_file_without_some_of_its_lines(gone: set[int]) -> None:
    check("".join(line for number, line in enumerate(LINES) if number not in gone))
