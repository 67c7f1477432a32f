"""A directory of generated files is ours or it is left alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ringfort.cli.directory import MANIFEST, Change, replace_directory
from ringfort.errors import RingfortError

FILES = [("README.md", "index\n"), ("hosts/web.nft", "web\n"), ("hosts/app.nft", "app\n")]


def content(target: Path) -> dict[str, str]:
    return {
        path.relative_to(target).as_posix(): path.read_text()
        for path in target.rglob("*")
        if path.is_file() and path.name != MANIFEST
    }


@pytest.fixture
def target(tmp_path: Path) -> Path:
    made = tmp_path / "out"
    replace_directory(made, FILES)
    return made


def test_a_new_directory_holds_exactly_the_files(target: Path) -> None:
    assert content(target) == dict(FILES)
    assert [path.name for path in target.parent.iterdir()] == ["out"], "something was left beside it"


def test_an_empty_directory_may_be_there(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert replace_directory(tmp_path / "out", FILES) == Change(3, 0, 0, ())
    assert content(tmp_path / "out") == dict(FILES)


def test_nothing_is_written_when_nothing_changed(target: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in target.rglob("*.nft")}
    assert replace_directory(target, FILES) == Change(0, 3, 0, ())
    assert {path: path.stat().st_mtime_ns for path in target.rglob("*.nft")} == before


def test_stale_files_and_their_empty_folders_go(target: Path) -> None:
    assert replace_directory(target, [("README.md", "new\n")]) == Change(1, 0, 2, ())
    assert content(target) == {"README.md": "new\n"}
    assert not (target / "hosts").exists()


def test_files_changed_by_hand_are_replaced_and_named(target: Path) -> None:
    (target / "hosts" / "web.nft").write_text("by hand\n")
    assert replace_directory(target, FILES) == Change(1, 2, 0, ("hosts/web.nft",))
    assert content(target) == dict(FILES)


def test_a_file_that_was_removed_by_hand_comes_back(target: Path) -> None:
    (target / "hosts" / "web.nft").unlink()
    assert replace_directory(target, FILES) == Change(1, 2, 0, ())
    assert content(target) == dict(FILES)


def test_a_directory_with_somebody_elses_file_is_left_alone(target: Path) -> None:
    (target / "notes.txt").write_text("mine\n")
    with pytest.raises(RingfortError, match=r"did not write: notes\.txt"):
        replace_directory(target, [("README.md", "new\n")])
    assert content(target) == {**dict(FILES), "notes.txt": "mine\n"}


def test_a_directory_that_never_was_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_text("x")
    with pytest.raises(RingfortError, match=r"photo\.jpg"):
        replace_directory(tmp_path, FILES)
    assert content(tmp_path) == {"photo.jpg": "x"}


def test_a_link_inside_is_somebody_elses(target: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (target / "linked").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RingfortError, match="linked"):
        replace_directory(target, FILES)


def test_a_file_in_the_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("x")
    with pytest.raises(RingfortError, match="is not a directory"):
        replace_directory(tmp_path / "out", FILES)


def test_a_failure_while_compiling_changes_nothing(target: Path) -> None:
    def broken() -> Iterator[tuple[str, str]]:
        yield "README.md", "half\n"
        raise RuntimeError("broken half-way")

    with pytest.raises(RuntimeError):
        replace_directory(target, broken())
    assert content(target) == dict(FILES)
    assert [path.name for path in target.parent.iterdir()] == ["out"]


def test_an_interrupted_replacement_is_finished_by_the_next_one(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, moved = Path.replace, []

    def interrupted(self: Path, other: Path) -> Path:
        if self.suffix == ".nft":
            moved.append(other)
            if len(moved) == 2:
                raise KeyboardInterrupt
        return real(self, other)

    changed = [(path, f"new {text}") for path, text in FILES] + [("hosts/extra.nft", "extra\n")]
    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        replace_directory(target, changed)
    monkeypatch.undo()
    replace_directory(target, changed)
    assert content(target) == dict(changed)


def test_a_manifest_cannot_lead_outside(target: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    manifest = target / MANIFEST
    manifest.write_text(manifest.read_text().replace('"hosts/app.nft"', '"../precious"'))
    with pytest.raises(RingfortError, match=r"hosts/app\.nft"):
        replace_directory(target, [("README.md", "new\n")])
    assert (tmp_path / "precious").exists()


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(RingfortError, match="cannot write"):
        replace_directory(tmp_path / "file" / "out", FILES)
