"""Documentation that is wrong is worse than none: links lead somewhere, commands exist, help is quoted as it is."""

from __future__ import annotations

import importlib
import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from ringfort.cli.main import VERBS, ringfort
from ringfort.environment.load import load
from ringfort.report import picture_svg
from tests.house.tree import ROOT, files, name_of, pages

NOT_LINKS = ("http://", "https://", "mailto:")


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def code_blocks(text: str) -> list[str]:
    return re.findall(r"^```[a-z]*\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def anchor(heading: str) -> str:
    """The anchor of a heading, as code hosts make it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(path: Path) -> set[str]:
    return {anchor(heading) for heading in re.findall(r"^#+ (.*)$", without_code(path.read_text()), re.MULTILINE)}


def links() -> Iterator[tuple[Path, str, Path, str]]:
    """Each link to a file: page, link as written, its target, its anchor."""
    for page, text in pages():
        for link in re.findall(r"\]\(([^)\s]+)\)", without_code(text)):
            if not link.startswith(NOT_LINKS):
                place, _, fragment = link.partition("#")
                yield page, link, (page.parent / place).resolve() if place else page, fragment


def test_every_link_leads_somewhere() -> None:
    dead = [f"{name_of(page)}: {link}" for page, link, target, _ in links() if not target.exists()]
    dead += [
        f"{name_of(page)}: {link}"
        for page, link, target, fragment in links()
        if fragment and target.suffix == ".md" and target.exists() and fragment not in anchors(target)
    ]
    assert dead == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, waiting = set(), [ROOT / "README.md"]
    targets: dict[Path, list[Path]] = {}
    for page, _, target, _ in links():
        targets.setdefault(page, []).append(target)
    while waiting:
        page = waiting.pop()
        if page not in reached:
            reached.add(page)
            waiting += targets.get(page, [])
    assert [name_of(page) for page, _ in pages() if page not in reached] == []


def test_the_picture_of_the_example_is_the_one_that_is_drawn_today() -> None:
    drawn = picture_svg(load(ROOT / "examples" / "shop"))
    assert (ROOT / "docs" / "shop.svg").read_text().strip() == drawn.strip(), "draw it again: make picture"


def commands_shown() -> Iterator[tuple[str, list[str]]]:
    """Each ``ringfort`` command in a code block or in backticks: the page, and the words after ``ringfort``."""
    for page, text in pages():
        spans = [*code_blocks(text), *re.findall(r"`([^`\n]+)`", without_code(text))]
        for line in "\n".join(spans).replace("\\\n", " ").splitlines():
            match = re.match(r"(?:[$#] )?(?:sudo )?(?:\.venv/bin/|python -m )?ringfort(?: (.*))?$", line.strip())
            if match:
                words = shlex.split(match.group(1) or "", comments=True)
                yield name_of(page), list(itertools.takewhile(lambda word: word not in {"|", ">", "&&", ";"}, words))


def unknown_words(words: list[str]) -> list[str]:
    """The verb or the options that the command does not have."""
    if not words or words[0].isupper():  # a placeholder
        return []
    if words[0] in {"--help", "-h", "--version"}:
        return words[1:]
    if words[0] not in VERBS:
        return words[:1]
    command = importlib.import_module(VERBS[words[0]]).command
    while isinstance(command, click.Group) and len(words) > 1 and not words[1].startswith("-"):
        words = words[1:]
        if words[0].isupper() or "|" in words[0]:  # a placeholder, or several verbs at once
            return []
        if words[0] not in command.commands:
            return words[:1]
        command = command.commands[words[0]]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    known |= {"--help", "-h"}
    shown = [word.partition("=")[0] for word in words[1:] if re.match(r"--?[a-z]", word)]
    return [option for option in shown if option not in known]


def test_every_command_shown_exists_with_its_options() -> None:
    found = [(page, words, unknown_words(words)) for page, words in commands_shown()]
    assert found, "no command is shown anywhere"
    assert [entry for entry in found if entry[2]] == []


def test_an_unknown_verb_or_option_is_noticed() -> None:
    assert unknown_words(["frobnicate", "x"]) == ["frobnicate"]
    assert unknown_words(["check", "x.yaml", "--nonsense=3"]) == ["--nonsense"]
    assert unknown_words(["environment", "frobnicate"]) == ["frobnicate"]
    assert unknown_words(["environment", "log", "--nonsense"]) == ["--nonsense"]
    assert unknown_words(["environment", "log", "--version", "3"]) == []


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_with_an_example(verb: str) -> None:
    result = CliRunner().invoke(ringfort, [verb, "--help"], prog_name="ringfort")
    assert result.exit_code == 0, result.output
    assert f"ringfort {verb}" in result.output.partition("\n\n")[2], "no example"


def test_help_is_quoted_as_it_is() -> None:
    for page, text in pages():
        for block in code_blocks(text):
            match = re.match(r"\$ (?:\.venv/bin/)?ringfort (.*--help)\n", block)
            if match:
                result = CliRunner().invoke(ringfort, match.group(1).split(), prog_name="ringfort", terminal_width=80)
                assert block[match.end() :].strip() == result.output.strip(), name_of(page)


def test_every_verb_is_a_click_command() -> None:
    for verb, module in VERBS.items():
        assert isinstance(importlib.import_module(module).command, click.Command), verb


def test_nothing_says_where_it_was_made() -> None:
    """Paths of a developer's machine and hosts of package registries have no place in a published tree."""
    forbidden = re.compile(
        "|".join(["/wo" + "rk/", "/ro" + "ot/", "/ho" + r"me/\w", "py" + r"pi\.org", "pythonho" + "sted"])
    )
    found = []
    for path in files():
        try:
            lines = path.read_text().splitlines()
        except UnicodeDecodeError:
            continue
        found += [f"{name_of(path)}:{number}" for number, line in enumerate(lines, 1) if forbidden.search(line)]
    assert found == []


def test_nothing_is_left_to_do_in_a_comment() -> None:
    """What is not done stands in an issue or in a page's limits, where people look."""
    marker = re.compile(r"#\s*(?:TO" + "DO|FIX" + "ME|XX" + "X)")
    found = [
        f"{name_of(path)}:{number}"
        for path in files()
        if path.suffix == ".py"
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if marker.search(line)
    ]
    assert found == []
