"""The configuration file: what is not understood is refused, with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringfort.control.errors import ControlError
from ringfort.control.settings import endpoint, read_settings

SOUND = """
database = "sqlite:////var/lib/x.db"
credential = "controller.pem"
authority = "/etc/authority"

[listen]
platform = ["10.0.0.1:8443", "[fd00::1]:8443"]

[operators.anna]
roles = ["auditor"]
"""


def test_paths_start_at_the_files_directory(tmp_path: Path) -> None:
    path = tmp_path / "controller.toml"
    path.write_text(SOUND)
    settings = read_settings(path)
    assert settings.credential == tmp_path / "controller.pem"
    assert settings.authority == Path("/etc/authority")
    assert [endpoint(text) for text in settings.listen.platform] == [("10.0.0.1", 8443), ("fd00::1", 8443)]


def test_the_file_in_the_documentation_is_sound(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "controller.md").read_text()
    path = tmp_path / "controller.toml"
    path.write_text(page.partition("```toml\n")[2].partition("```")[0])
    settings = read_settings(path)
    assert settings.operators["sam"].sites == ["north"]
    assert settings.audit is not None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("database", "data-base"), "database"),
        (('roles = ["auditor"]', 'roles = ["emperor"]'), "operators.anna.roles"),
        (('"10.0.0.1:8443"', '"everywhere"'), "listen.platform"),
        (("[listen]", "[listen"), "controller.toml"),
        (("platform = [", "colour = ["), "listen"),
    ],
)
def test_what_is_not_understood_is_refused_with_its_place(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    path = tmp_path / "controller.toml"
    path.write_text(SOUND.replace(*change))
    with pytest.raises(ControlError) as refused:
        read_settings(path)
    assert refused.value.code == "settings-invalid"
    assert said in refused.value.message


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ControlError) as refused:
        read_settings(tmp_path / "nothing.toml")
    assert refused.value.code == "settings-unreadable"
