"""`ringfort gateway` serves what a file says, shows what it has, and says what is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ringfort.gateway.edge.document import read, write
from ringfort.gateway.edge.model import EdgeError
from tests.cli.command import run
from tests.gateway.edges import World, ask, world

WWW, SHOP = "www.shop.example", "shop.shop.example"


@pytest.fixture(scope="module")
def edge() -> Iterator[World]:
    with world() as made:
        yield made


def test_what_a_file_says_is_served_shown_and_ended(edge: World) -> None:
    one, two = edge.application("one"), edge.application("two")
    file, directory = edge.directory / "edge.json", ("-d", edge.place.directory)
    edge.edge = replace(edge.edge, endpoints=(edge.endpoint(WWW, one.server("a")),))
    file.write_bytes(write(edge.edge))
    assert run("gateway", "apply", file, *directory) == (0, "started\n", "")
    with edge.visit(WWW) as connection:
        assert ask(connection, WWW)[2] == b"one 0\n"
        shown = run("gateway", "show", file, *directory)
        assert shown.out == f"{WWW}/a  {one.server().place}  up  0 visits\nas the file says\n"
        edge.edge = replace(edge.edge, endpoints=(replace(edge.edge.endpoints[0], servers=(two.server("a"),)),))
        file.write_bytes(write(edge.edge))
        shown = run("gateway", "show", file, *directory, "--format", "json")
        assert (shown.code, json.loads(shown.out)["current"]) == (1, False)
        assert run("gateway", "apply", file, *directory).out == f"kept\nreplaced {WWW}/a\n"
        assert ask(connection, WWW)[2] == b"two 0\n"
    broken = edge.endpoint(SHOP, one.server())
    Path(broken.certificate).write_text("nonsense")
    file.write_bytes(write(replace(edge.edge, endpoints=(*edge.edge.endpoints, broken))))
    applied = run("gateway", "apply", file, *directory)
    assert (applied.code, applied.out) == (1, "restarted\n")
    assert f"{SHOP} gets no TLS" in applied.err
    assert run("gateway", "stop", *directory).out == "ended\n"
    assert run("gateway", "stop", *directory).out == "none ran\n"


def test_a_document_is_read_as_it_was_written_and_nothing_else_is(edge: World) -> None:
    wanted = replace(edge.edge, endpoints=(edge.endpoint(WWW, edge.application("one").server()),))
    text = write(wanted)
    assert read(text) == wanted
    for bad, said in (
        (b"nonsense", "Invalid JSON"),
        (b"{}", "addresses: Field required"),
        (text.replace(b'"hsts"', b'"hst"'), "endpoints.0.hst: Unexpected"),
        (text.replace(b'"tls-port"', b'"tls_port"'), "tls_port: Unexpected"),
        (text.replace(b'"platform"', b'"perhaps"'), "endpoints.0.tls"),
        (text.replace(b"www.shop.example", b"www"), "'www' is not a public name"),
    ):
        with pytest.raises(EdgeError, match=said):
            read(bad)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    found = run("gateway", "apply", tmp_path / "none.json", "-d", tmp_path)
    assert found.code == 2
    assert "none.json can't be read" in found.err.replace("\n", " ")
