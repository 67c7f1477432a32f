"""A module gets what it is granted. Tests grant one thing and take it away again: what was possible no longer is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from wasmtime import wat2wasm

from ringfort.compute.guest.partial_trust import Grants, Program
from ringfort.compute.guest.serve_wasm import answer_of

NOTHING = Grants({}, {}, False, 10_000_000)
IMPORTS = {
    "fd_write": "i32 i32 i32 i32",
    "clock_time_get": "i32 i64 i32",
    "environ_get": "i32 i32",
    "environ_sizes_get": "i32 i32",
    "path_open": "i32 i32 i32 i32 i32 i64 i64 i32 i32",
    "sock_accept": "i32 i32 i32",
    "random_get": "i32 i32",
}


def binary(text: str) -> bytes:
    return bytes(wat2wasm(text))


def program(body: str, grants: Grants = NOTHING, data: str = "") -> Program:
    """A module that may call these functions of WASI; ``$say`` writes so many bytes from an address."""
    imports = "".join(
        f'(import "wasi_snapshot_preview1" "{name}" (func ${name} (param {kinds}) (result i32)))'
        for name, kinds in IMPORTS.items()
    )
    say = """(func $say (param i32 i32)
        (i32.store (i32.const 0) (local.get 0)) (i32.store (i32.const 4) (local.get 1))
        (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
      (func $digit (param i32) (i32.store8 (i32.const 16) (i32.add (i32.const 48) (local.get 0)))
        (call $say (i32.const 16) (i32.const 1)))"""
    memory = f'(memory (export "memory") 1) (data (i32.const 1024) "{data}")'
    return Program(binary(f'(module {imports} {memory} {say} (func (export "_start") {body}))'), grants)


def errno_of(call: str) -> str:
    """Code that says whether a call works: 0, or 1 when it fails."""
    return f"(call $digit (i32.ne (i32.const 0) {call}))"


def test_it_answers() -> None:
    outcome = program("(call $say (i32.const 1024) (i32.const 5))", data="hello").run(b"", {})
    assert (outcome.output, outcome.failure) == (b"hello", "")


def test_fuel_ends_what_computes_for_ever() -> None:
    outcome = program("(loop $for_ever (br $for_ever))").run(b"", {})
    assert "fuel" in outcome.failure


def test_each_run_has_its_own_fuel_and_its_own_memory() -> None:
    counting = program(
        """(i32.store8 (i32.const 2000) (i32.add (i32.const 1) (i32.load8_u (i32.const 2000))))
        (call $digit (i32.load8_u (i32.const 2000)))"""
    )
    assert [counting.run(b"", {}).output for _ in range(3)] == [b"1"] * 3


def test_memory_ends_where_it_was_granted() -> None:
    growing = "(call $digit (i32.eq (i32.const -1) (memory.grow (i32.const 32))))"
    assert program(growing, replace(NOTHING, memory=1)).run(b"", {}).output == b"1"
    assert program(growing, replace(NOTHING, memory=4)).run(b"", {}).output == b"0"


def test_the_clock_is_there_when_granted() -> None:
    asking = errno_of("(call $clock_time_get (i32.const 0) (i64.const 1) (i32.const 32))")
    assert program(asking, replace(NOTHING, clock=True)).run(b"", {}).output == b"0"
    assert program(asking).run(b"", {}).output == b"1"


def test_the_environment_is_what_is_granted_and_the_request() -> None:
    printing = """(drop (call $environ_sizes_get (i32.const 32) (i32.const 36)))
      (drop (call $environ_get (i32.const 4096) (i32.const 8192)))
      (call $say (i32.const 8192) (i32.load (i32.const 36)))"""
    shown = program(printing, replace(NOTHING, environment={"COLOUR": "green"})).run(b"", {"PATH_INFO": "/x"})
    assert set(shown.output.rstrip(b"\0").split(b"\0")) == {b"COLOUR=green", b"PATH_INFO=/x"}
    assert program(printing).run(b"", {}).output == b""


@pytest.mark.parametrize(
    ("name", "flags", "readable", "writable"),
    [
        ("file", 0, True, True),
        ("new", 1, False, True),  # O_CREAT
        ("../outside", 0, False, False),
        ("link", 0, False, False),
    ],
    ids=["a file in it", "a new file", "a path that leads out", "a link that leads out"],
)
def test_directories_are_those_granted(tmp_path: Path, name: str, flags: int, readable: bool, writable: bool) -> None:
    folder = tmp_path / "granted"
    folder.mkdir()
    (folder / "file").write_text("x")
    (tmp_path / "outside").write_text("secret")
    (folder / "link").symlink_to("../outside")
    follow, rights = 1, 1 << 1  # LOOKUPFLAGS_SYMLINK_FOLLOW, RIGHTS_FD_READ
    opening = errno_of(
        f"(call $path_open (i32.const 3) (i32.const {follow}) (i32.const 1024) (i32.const {len(name)})"
        f" (i32.const {flags}) (i64.const {rights}) (i64.const 0) (i32.const 0) (i32.const 32))"
    )
    for grants, allowed in (
        (replace(NOTHING, directories={"/d": (str(folder), False)}), readable),
        (replace(NOTHING, directories={"/d": (str(folder), True)}), writable),
        (NOTHING, False),
    ):
        assert program(opening, grants, name).run(b"", {}).output == (b"0" if allowed else b"1"), grants


def test_there_is_no_socket_to_take() -> None:
    for descriptor in range(10):
        taking = errno_of(f"(call $sock_accept (i32.const {descriptor}) (i32.const 0) (i32.const 32))")
        assert program(taking).run(b"", {}).output == b"1"


def test_what_it_writes_is_bounded() -> None:
    flooding = "(loop $for_ever (call $say (i32.const 0) (i32.const 60000)) (br $for_ever))"
    outcome = program(flooding, replace(NOTHING, fuel=10**9, seconds=2)).run(b"", {})
    assert outcome.failure == "it took too long"
    assert len(outcome.output) <= 16 << 20


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"\0asm\x01\0\0\0\xff"])
def test_what_is_not_a_module_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="not a module that runs here"):
        Program(content, NOTHING)


def test_a_module_that_wants_more_than_wasi_is_refused() -> None:
    with pytest.raises(ValueError, match="not a module that runs here"):
        Program(binary('(module (import "env" "system" (func)) (func (export "_start")))'), NOTHING)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (b"hello", (200, [("Content-Type", "text/plain; charset=utf-8")], b"hello")),
        (b"Content-Type: text/html\n\n<p>", (200, [("Content-Type", "text/html")], b"<p>")),
        (b"Status: 404 Not Found\nX: y\n\n", (404, [("X", "y")], b"")),
        (b"Status: 99\n\n", (500, [], b"")),
        (b"Content-Length: 5\nTransfer-Encoding: chunked\n\nx", (200, [], b"x")),
    ],
)
def test_an_answer_is_read_by_the_rules_of_cgi(output: bytes, expected: object) -> None:
    assert answer_of(output) == expected
