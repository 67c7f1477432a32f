"""A PostgreSQL of its own for tests: on a socket of loopback, as an ordinary user, gone afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

LONGEST_START = 30.0


def programs() -> Path | None:
    """Where PostgreSQL's programs are; Debian keeps them off the PATH."""
    found = shutil.which("initdb")
    places = (
        [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    )
    return next((place for place in places if (place / "postgres").exists() and (place / "initdb").exists()), None)


def _who() -> dict[str, object]:
    """PostgreSQL refuses to run as root."""
    if os.geteuid():
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


@contextmanager
def server() -> Iterator[str]:
    """Start one; gives the URL of an empty database."""
    place = programs()
    assert place is not None, "PostgreSQL is not installed; setup/setup.sh test installs it"
    who = _who()
    directory = Path(tempfile.mkdtemp(prefix="ringfort-postgres-"))
    try:
        if "user" in who:
            os.chown(directory, int(str(who["user"])), int(str(who["group"])))
        data = directory / "data"
        environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
        subprocess.run(
            [place / "initdb", "-D", data, "-U", "ringfort", "--auth=trust", "--no-sync", "-E", "UTF8"],
            check=True, capture_output=True, env=environment, cwd=directory, **who,  # type: ignore[call-overload]
        )  # fmt: skip
        port = _free_port()
        settings = [
            "-c",
            f"port={port}",
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            f"unix_socket_directories={directory}",
        ]
        settings += ["-c", "max_connections=60", "-c", "shared_buffers=16MB"]
        with subprocess.Popen(
            [place / "postgres", "-D", data, *settings],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment, cwd=directory, **who,  # type: ignore[call-overload]
        ) as process:  # fmt: skip
            try:
                _wait(port)
                yield f"postgresql://ringfort@127.0.0.1:{port}/postgres"
            finally:
                process.send_signal(2)  # SIGINT: a fast shutdown
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def database(url: str, name: str) -> Iterator[str]:
    """An empty database of that name; dropped afterwards."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    try:
        yield url.rpartition("/")[0] + f"/{name}"
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait(port: int) -> None:
    until = time.monotonic() + LONGEST_START
    while True:
        try:
            psycopg.connect(host="127.0.0.1", port=port, user="ringfort", dbname="postgres", connect_timeout=2).close()
        except psycopg.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
        else:
            return
