"""A lab for an ordinary user: it outlives the command that made it, is found again, and leaves nothing."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ringfort.errors import RingfortError
from ringfort.kernel import processes
from ringfort.lab import netns, rootless
from tests.lab import worlds

pytestmark = pytest.mark.lab

NOBODY = 65534


def _hidden() -> list[Path]:
    """Directories on the way to this Python that an ordinary user can't enter (a home directory of root's)."""
    base = Path(sys.base_prefix).resolve()
    return [where for where in (base, *base.parents) if not where.stat().st_mode & 0o001]


def _as_nobody(*words: str) -> list[str]:
    """A command run by an ordinary user; where Python lives in root's home, with that Python alone made visible."""
    drop = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *words]
    hidden = _hidden()
    if not hidden:
        return drop
    base, home = (shlex.quote(str(where)) for where in (Path(sys.base_prefix).resolve(), hidden[-1]))
    show = (
        f"mount --bind {base} /mnt && mount -t tmpfs -o mode=755 ringfort {home}"
        f" && mkdir -p {base} && mount --move /mnt {base} && exec {shlex.join(drop)}"
    )
    return ["unshare", "--mount", "sh", "-c", show]


def _why_not() -> str:
    check = ["unshare", "--user", "--map-root-user", "--mount", "--net", "--", "true"]
    result = subprocess.run(_as_nobody(*check), capture_output=True, text=True)
    return result.stderr.strip() if result.returncode else ""


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory of the ordinary user's own, with an environment in it."""
    if reason := _why_not():
        pytest.skip(f"no user namespaces here: {reason}")
    with tempfile.TemporaryDirectory() as directory:  # pytest's own are closed to others
        mine = Path(directory)
        worlds.write(mine, worlds.SMALL.replace("  - {from: app, to: names}\n", ""), "rootless")
        for path in (mine, *mine.iterdir()):
            os.chown(path, NOBODY, NOBODY)
        yield mine
        ringfort(mine, "down", "environment.yaml")


def ringfort(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(home),
        "NUMBA_CACHE_DIR": str(home),
    }
    command = _as_nobody(sys.executable, "-m", "ringfort", *words)
    return subprocess.run(command, cwd=home, env=environ, capture_output=True, text=True)


def test_an_ordinary_user_builds_attacks_and_removes_a_lab(home: Path) -> None:
    name = worlds.name_of("rootless")
    up = ringfort(home, "up", "environment.yaml", "--rootless", "--no-drill")
    assert up.returncode == 0, up.stdout + up.stderr
    assert f"{name}: 12 devices changed" in up.stdout
    assert netns.names(f"rf-{name}.") == []  # nothing of it is the machine's
    pid = int((home / "ringfort" / f"{name}.holder").read_text().split()[0])
    assert Path(f"/proc/{pid}").stat().st_uid == NOBODY

    again = ringfort(home, "up", "environment.yaml", "--rootless")
    assert f"{name}: 0 devices changed" in again.stdout
    assert "all work" in again.stdout
    assert again.returncode == 0, again.stdout + again.stderr

    down = ringfort(home, "down", "environment.yaml")
    assert down.stdout == f"{name}: 12 namespaces removed, services stopped\n"
    assert not processes.started(pid)
    assert list((home / "ringfort").iterdir()) == []
    assert ringfort(home, "down", "environment.yaml").stdout == f"{name}: 0 namespaces removed\n"


def test_without_root_and_without_rootless_it_says_what_to_do(home: Path) -> None:
    result = ringfort(home, "up", "environment.yaml")
    assert result.returncode == 2
    assert "ringfort up --rootless" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_dry_run_leaves_no_holder(home: Path) -> None:
    result = ringfort(home, "up", "environment.yaml", "--rootless", "--dry-run")
    assert result.returncode == 0, result.stderr
    assert "12 devices would change" in result.stdout
    assert list((home / "ringfort").iterdir()) == []


def test_where_the_kernel_forbids_it_there_is_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "unshare").write_text(
        "#!/bin/sh\necho 'unshare: unshare failed: Operation not permitted' >&2\nexit 1\n"
    )
    (tmp_path / "unshare").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with pytest.raises(RingfortError, match="Operation not permitted") as refused:
        rootless.hold("shop")
    assert "run as root" in refused.value.hint
    assert rootless.find("shop") is None


def test_a_runtime_directory_of_somebody_else_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "ringfort").mkdir()
    os.chown(tmp_path / "ringfort", NOBODY, NOBODY)
    with pytest.raises(RingfortError, match="not a directory of this user alone"):
        rootless.runtime_directory()
    os.chown(tmp_path / "ringfort", 0, 0)
    (tmp_path / "ringfort").chmod(0o777)
    with pytest.raises(RingfortError, match="not a directory of this user alone"):
        rootless.runtime_directory()


def test_a_record_of_a_process_that_is_gone_is_no_holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (rootless.runtime_directory() / "shop.holder").write_text(f"{os.getpid()} 1\n")
    assert rootless.find("shop") is None
