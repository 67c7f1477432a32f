"""``ringfort init``."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringfort.environment.load import load
from tests.cli.command import run


def test_what_it_writes_is_sound_and_commented(tmp_path: Path) -> None:
    ran = run("init", tmp_path)
    target = tmp_path / "environment.yaml"
    assert ran == (0, f"{target}\n", f"next: ringfort check {target}\n")
    environment = load(target)
    assert environment.name == "starter"
    assert {segment.tier for segment in environment.segments.values()} >= {"edge", "front-end", "back-end", "data"}
    assert target.read_text().count("#") > 10


def test_a_file_or_a_new_directory_may_be_named(tmp_path: Path) -> None:
    assert run("init", tmp_path / "office.yaml").code == 0
    assert run("init", tmp_path / "a" / "b").code == 0
    assert (tmp_path / "office.yaml").read_text() == (tmp_path / "a" / "b" / "environment.yaml").read_text()


def test_the_current_directory_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("init").out == "environment.yaml\n"
    assert run("check", ".").code == 0


def test_name_and_trust_domain_may_be_given(tmp_path: Path) -> None:
    run("init", tmp_path, "--name", "office", "--trust-domain", "office.example")
    environment = load(tmp_path)
    assert (environment.name, environment.trust_domain) == ("office", "office.example")
    assert environment.services["app"].identity == "spiffe://office.example/service/app"


def test_a_file_is_never_overwritten(tmp_path: Path) -> None:
    target = tmp_path / "environment.yaml"
    target.write_text("mine\n")
    ran = run("init", tmp_path)
    assert ran.code == 2
    assert f"'{target}' exists and is not overwritten [file-exists]" in ran.err
    assert target.read_text() == "mine\n"


def test_not_even_through_a_link_that_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "environment.yaml").symlink_to(tmp_path / "elsewhere.yaml")
    assert run("init", tmp_path).code == 2
    assert not (tmp_path / "elsewhere.yaml").exists()


@pytest.mark.parametrize(("option", "value"), [("--name", "Not A Name"), ("--trust-domain", "x y")])
def test_bad_names_are_refused_before_anything_is_written(tmp_path: Path, option: str, value: str) -> None:
    ran = run("init", tmp_path / "x", option, value)
    assert ran.code == 2
    assert value in ran.err
    assert not (tmp_path / "x").exists()


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ran = run("init", tmp_path / "file" / "below")
    assert ran.code == 2
    assert "cannot be written" in ran.err
    assert "Traceback" not in ran.err
