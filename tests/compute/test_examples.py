"""The example applications are sound, are bundles, and answer."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import wasmtime

from ringfort.compute.application import load
from ringfort.compute.bundle import verify
from ringfort.compute.folder import pack

EXAMPLES = Path(__file__).parents[2] / "examples" / "applications"


@pytest.mark.parametrize("folder", sorted(EXAMPLES.iterdir()), ids=lambda folder: folder.name)
def test_each_is_a_bundle_of_the_name_of_its_folder(folder: Path) -> None:
    out = io.BytesIO()
    pack(folder, out)
    found = verify(io.BytesIO(out.getvalue()))
    assert found.application.application == folder.name
    assert found.application == load(folder)


def answered(binary: bytes, environment: dict[str, str], fuel: int) -> bytes:
    """What a module writes in one run with nothing but an environment and fuel."""
    config = wasmtime.Config()
    config.consume_fuel = True
    engine = wasmtime.Engine(config)
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    output = bytearray()
    wasi = wasmtime.WasiConfig()
    wasi.env = list(environment.items())
    wasi.stdout_custom = output.extend
    store = wasmtime.Store(engine)
    store.set_fuel(fuel)
    store.set_wasi(wasi)
    start = linker.instantiate(store, wasmtime.Module(engine, binary)).exports(store)["_start"]
    assert isinstance(start, wasmtime.Func)
    start(store)
    return bytes(output)


def test_the_webassembly_one_answers_with_its_setting_and_needs_nothing_else() -> None:
    application = load(EXAMPLES / "hello")
    trust = application.sandbox.partial_trust
    assert trust is not None
    assert (trust.directories, trust.clock, trust.environment) == ([], False, ["GREETING"])
    binary = (EXAMPLES / "hello" / application.module).read_bytes()
    answer = b"Content-Type: text/plain; charset=utf-8\n\ngood day\n"
    assert answered(binary, {"PATH_INFO": "/", "GREETING": "good day"}, trust.fuel) == answer
    many = {**{f"X{n}": "GREETING" for n in range(900)}, "GREETING": "good day"}
    assert answered(binary, many, trust.fuel) == answer
    assert answered(binary, {"LONG": "x" * 300_000}, trust.fuel).endswith(b"hello")


def test_the_python_one_answers_and_keeps_what_visitors_write(tmp_path: Path) -> None:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 8080)) == 0:
            pytest.skip("port 8080 is taken on this machine")
    environment = {**os.environ, "HOME": str(tmp_path), "GREETING": "<b>", "PYTHONPATH": str(EXAMPLES / "guestbook")}
    command = [sys.executable, "-m", load(EXAMPLES / "guestbook").module]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as child:
        try:
            page = fetched("/health")
            assert page == b"ok\n"
            fetched("/", b"hello <script>")
            page = fetched("/")
        finally:
            child.terminate()
    assert b"<h1>&lt;b&gt;</h1>" in page
    assert b"<li>hello &lt;script&gt;" in page


def fetched(path: str, data: bytes | None = None) -> bytes:
    for _ in range(100):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:8080{path}", data, timeout=5) as answer:
                return bytes(answer.read())
        except OSError:
            time.sleep(0.1)
    raise AssertionError("it doesn't answer")
