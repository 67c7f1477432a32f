"""``ringfort compile``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.command import run
from tests.network.worlds import SMALL


@pytest.fixture
def main(tmp_path: Path) -> Path:
    path = tmp_path / "environment.yaml"
    path.write_text(SMALL)
    return path


def test_one_device_is_printed_ready_for_nft(main: Path) -> None:
    ran = run("compile", main, "--device", "host:web")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("# Ringfort: host web in small\ntable inet ringfort\ndelete table inet ringfort\n")
    assert ran.out.endswith("}\n")


def test_one_device_as_json_is_a_document_for_nft(main: Path) -> None:
    document = json.loads(run("compile", main, "--device", "host:web", "--format", "json").out)
    assert {"table": {"family": "inet", "name": "ringfort"}} in document["nftables"]


def test_all_devices_are_printed_with_their_names(main: Path) -> None:
    names = [line[7:] for line in run("compile", main).out.splitlines() if line.startswith("# ---- ")]
    assert names == [
        "router:r1",
        "router:r2",
        "switch:north/edge",
        "switch:north/inner",
        "host:web",
        "host:app-1",
        "host:app-2",
    ]
    assert list(json.loads(run("compile", main, "--format", "json").out)) == names


def test_a_bare_name_will_do_where_only_one_device_has_it(main: Path) -> None:
    assert run("compile", main, "--device", "web").out == run("compile", main, "--device", "host:web").out


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("router:r3", "did you mean router:r1 or router:r2?"),
        ("north/egde", "did you mean switch:north/edge?"),
        ("host:wbe", "did you mean host:web?"),
        ("zzz", "a device is router:NAME, switch:SITE/SEGMENT, host:NAME or sandbox:NAME"),
    ],
)
def test_an_unknown_device_is_refused_with_what_comes_near(main: Path, given: str, hint: str) -> None:
    ran = run("compile", main, "--device", given)
    assert (ran.code, ran.out) == (2, "")
    assert "[unknown-device]" in ran.err
    assert hint in ran.err.replace("\n", " ")


def test_a_directory_gets_one_file_for_each_device(main: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ran = run("compile", main, "--out", out)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == f"7 devices in {out}: 15 files written, 0 as before, 0 removed\n"
    assert (out / "hosts" / "web.nft").read_text() == run("compile", main, "--device", "host:web").out
    assert (out / "switches" / "north" / "edge.sysctl.conf").exists()
    assert "| router:r1 | `routers/r1.nft`" in (out / "README.md").read_text()


def test_only_what_differs_is_written_again_and_what_is_gone_is_removed(main: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("compile", main, "--out", out)
    before = (out / "hosts" / "app-1.nft").stat().st_ino
    main.write_text(
        SMALL.replace(" count: 2,", "")
        .replace("app: {site", "app-1: {site")
        .replace("reason: visitors", "reason: guests")
    )
    ran = run("compile", main, "--out", out)
    assert ran.out == f"6 devices in {out}: 5 files written, 8 as before, 2 removed\n"
    assert not (out / "hosts" / "app-2.nft").exists()
    assert (out / "hosts" / "app-1.nft").stat().st_ino == before


def test_out_and_device_exclude_each_other(main: Path, tmp_path: Path) -> None:
    ran = run("compile", main, "--out", tmp_path / "out", "--device", "host:web")
    assert ran.code == 2
    assert "leave out --device" in ran.err
    assert not (tmp_path / "out").exists()


def test_a_declaration_that_is_refused_leaves_no_directory(main: Path, tmp_path: Path) -> None:
    main.write_text(SMALL.replace("to: app", "to: ap"))
    assert run("compile", main, "--out", tmp_path / "out").code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["environment.yaml"]
