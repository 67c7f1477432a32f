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

from ringfort.compute.application import load
from ringfort.compute.bundle import verify
from ringfort.compute.folder import pack
from ringfort.compute.guest.partial_trust import Grants, Program
from ringfort.compute.launching import launch

EXAMPLES = Path(__file__).parents[2] / "examples" / "applications"


@pytest.mark.parametrize("folder", sorted(EXAMPLES.iterdir()), ids=lambda folder: folder.name)
def test_each_is_a_bundle_of_the_name_of_its_folder(folder: Path) -> None:
    out = io.BytesIO()
    pack(folder, out)
    found = verify(io.BytesIO(out.getvalue()))
    assert found.application.application == folder.name
    assert found.application == load(folder)


def test_the_webassembly_one_answers_with_its_setting_and_needs_nothing_else() -> None:
    application = load(EXAMPLES / "hello")
    options = launch(application, {"GREETING": "good day", "OTHER": "not granted"}).options
    binary = (EXAMPLES / "hello" / application.module).read_bytes()
    program = Program(binary, Grants({}, options["environment"], options["clock"], options["fuel"]))
    answer = b"Content-Type: text/plain; charset=utf-8\n\ngood day\n"
    assert program.run(b"", {"PATH_INFO": "/"}).output == answer
    assert program.run(b"", {f"X{n}": "GREETING" for n in range(900)}).output == answer
    assert program.run(b"", {"LONG": "x" * 300_000}).output.endswith(b"hello")


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
