"""An environment spread over files, and files that must not be read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ringfort.environment import limits
from ringfort.environment.load import load, load_text
from ringfort.errors import DeclarationError, Problem
from tests.environment.declare import SOUND, problems_of


def split(*sections: str) -> tuple[str, str]:
    """`SOUND` in two: what stays, and the sections that go to another file."""
    stays: list[str] = []
    goes: list[str] = []
    current = ""
    for line in SOUND.splitlines(keepends=True):
        if not line.startswith(" "):
            current = line.partition(":")[0]
        (goes if current in sections else stays).append(line)
    return "".join(stays), "".join(goes)


def test_it_means_the_same_in_one_file_or_in_several() -> None:
    main, flows = split("flows", "published", "services")
    spread = load_text(f"{main}include: [rest.yaml]\n", rest=flows)
    whole = load_text(SOUND)
    assert list(spread.flows) == list(whole.flows)
    assert spread.hosts.keys() == whole.hosts.keys()
    assert spread.services.keys() == whole.services.keys()


def test_mappings_and_lists_are_merged_the_including_file_first() -> None:
    more = "hosts: {zz: {site: north, segment: admin}}\nflows: [{from: host:zz, to: database, name: late}]\n"
    environment = load_text(SOUND + "include: [more.yaml]\n", more=more)
    assert list(environment.hosts)[-1] == "zz"
    assert list(environment.flows)[-1] == "late"


def test_a_site_may_be_spread_over_files() -> None:
    more = "sites: {south: {segments: {vault: {tier: data, networks: [10.2.9.0/24]}}}}\n"
    environment = load_text(SOUND + "include: more.yaml\n", more=more)
    assert environment.sites["south"].segments == ("south/back", "south/vault")


def test_a_place_in_an_included_file_is_told_with_its_name() -> None:
    (problem,) = problems_of(SOUND + "include: [more.yaml]\n", more="hosts:\n  zz: {site: nort, segment: admin}\n")
    assert str(problem.origin) == "more.yaml:2:14"
    assert problem.excerpt == "zz: {site: nort, segment: admin}"


@pytest.mark.parametrize(
    ("more", "name", "place"),
    [
        ("hosts:\n  app: {site: north, segment: admin}\n", "'app'", "environment.yaml:27:3"),
        ("sites: {south: {routers: [x]}}\n", "'routers'", "environment.yaml:22:5"),
        ("sites: {south: {segments: {back: {tier: data}}}}\n", "'back'", "environment.yaml:24:7"),
        ("environment: other\n", "'environment'", "environment.yaml:1:1"),
        ("groups: []\n", "'groups'", "environment.yaml:32:1"),
    ],
)
def test_what_stands_in_two_files_is_refused_with_both_places(more: str, name: str, place: str) -> None:
    problems = problems_of(SOUND + "include: [more.yaml]\n", more=more)
    assert [problem.code for problem in problems] == ["duplicate-key"]
    assert name in problems[0].message
    assert place in problems[0].message


@pytest.mark.parametrize(
    ("include", "code"),
    [
        ("[/etc/passwd]", "include-outside"),
        ("[../other.yaml]", "include-outside"),
        ("[a/../../other.yaml]", "include-outside"),
        ("[missing.yaml]", "file-missing"),
        ("[environment.yaml]", "include-cycle"),
        ("[more.yaml, more.yaml]", "included-twice"),
        ("[more.yaml, ./more.yaml]", "included-twice"),
        ("[a/../more.yaml, more.yaml]", "included-twice"),
        ("[12]", "not-a-file-name"),
        ("{a: b}", "not-a-file-name"),
        ("[]", ""),
    ],
)
def test_includes_that_must_not_be_followed(include: str, code: str) -> None:
    text = f"{SOUND}include: {include}\n"
    if not code:
        load_text(text, more="groups: {}\n")
        return
    (problem,) = problems_of(text, more="groups: {}\n")
    assert problem.code == code
    assert problem.origin.line == SOUND.count("\n") + 1
    assert problem.hint or code == "file-missing"


def test_a_cycle_names_the_files_in_it() -> None:
    (problem,) = problems_of("include: [a.yaml]\n", a="include: [b.yaml]\n", b="include: [a.yaml]\n")
    assert problem.code == "include-cycle"
    assert "a.yaml -> b.yaml -> a.yaml" in problem.message


def test_a_long_chain_is_refused() -> None:
    files = {f"f{n}": f"include: [f{n + 1}.yaml]\n" for n in range(20)}
    (problem,) = problems_of("include: [f0.yaml]\n", **files)
    assert problem.code == "include-too-deep"
    assert problem.origin.file == f"f{limits.INCLUDE_DEPTH - 1}.yaml"


def test_too_many_files_are_refused() -> None:
    names = [f"f{n}" for n in range(limits.INCLUDED_FILES)]
    include = ", ".join(f"{name}.yaml" for name in names)
    (problem,) = problems_of(f"include: [{include}]\n", **dict.fromkeys(names, "groups: {}\n"))
    assert problem.code == "too-many-files"


def test_all_files_that_cannot_be_read_are_told_at_once_and_nothing_else() -> None:
    problems = problems_of(SOUND + "include: [a.yaml, b.yaml, c.yaml]\n", a="x: [", b=b"\xff", c="")
    assert [(problem.code, problem.origin.file) for problem in problems] == [
        ("not-yaml", "a.yaml"),
        ("not-utf-8", "b.yaml"),
        ("empty-file", "c.yaml"),
    ]


# on disk


def refused(path: Path) -> Problem:
    with pytest.raises(DeclarationError) as error:
        load(path)
    (problem,) = error.value.problems
    return problem


def write(directory: Path, **files: str) -> Path:
    for name, text in files.items():
        (directory / f"{name}.yaml").write_text(text)
    return directory / "environment.yaml"


def test_a_directory_stands_for_its_environment_file(tmp_path: Path) -> None:
    main = write(tmp_path, environment=SOUND)
    assert load(tmp_path) == load(str(main))


def test_includes_are_relative_to_the_file_they_stand_in(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    write(tmp_path, environment=SOUND + "include: [parts/a.yaml]\n")
    write(tmp_path / "parts", a="include: [b.yaml]\n", b="hosts: {zz: {site: north, segment: admin}}\n")
    environment = load(tmp_path)
    assert environment.hosts["zz"].origin.file == str(tmp_path / "parts" / "b.yaml")


def test_a_missing_file_is_told_with_those_that_are_there(tmp_path: Path) -> None:
    write(tmp_path, other=SOUND)
    problem = refused(tmp_path / "environment.yaml")
    assert problem.code == "file-missing"
    assert problem.hint == "YAML files there: other.yaml"


@pytest.mark.parametrize(
    "name", ["no-such-directory/environment.yaml", "x" * 300 + ".yaml", "a\0b.yaml", "a\0b/x.yaml"]
)
def test_impossible_paths_are_refused(tmp_path: Path, name: str) -> None:
    assert refused(tmp_path / name).code in {"file-missing", "file-unreadable"}


def test_a_link_out_of_the_directory_is_refused(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "secret.yaml").write_text("groups: {}\n")
    (inside / "link.yaml").symlink_to(tmp_path / "secret.yaml")
    write(inside, environment=SOUND + "include: [link.yaml]\n")
    assert refused(inside).code == "include-outside"


def test_a_link_that_leads_in_circles_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link.yaml").symlink_to(tmp_path / "link.yaml")
    assert refused(tmp_path / "link.yaml").code == "file-unreadable"


def test_what_is_no_file_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "folder.yaml").mkdir()
    write(tmp_path, environment=SOUND + "include: [folder.yaml]\n")
    assert refused(tmp_path / "pipe.yaml").code == "not-a-file"
    assert refused(Path("/dev/zero")).code == "not-a-file"
    assert refused(tmp_path).code == "not-a-file"


def test_fifty_megabytes_are_refused_without_reading_them_all(tmp_path: Path) -> None:
    main = tmp_path / "environment.yaml"
    with main.open("wb") as stream:
        stream.truncate(50 * 1024 * 1024)
    problem = refused(main)
    assert problem.code == "file-too-large"
    assert f"{limits.TOTAL_BYTES:,} bytes" in problem.message


def test_the_limit_counts_all_files_together(tmp_path: Path) -> None:
    write(
        tmp_path,
        environment="include: [a.yaml, b.yaml]\n",
        a="#" * (limits.TOTAL_BYTES * 2 // 3),
        b="#" * (limits.TOTAL_BYTES * 2 // 3),
    )
    with pytest.raises(DeclarationError) as error:
        load(tmp_path)
    assert "file-too-large" in [problem.code for problem in error.value.problems]
