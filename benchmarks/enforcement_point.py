"""What an enforcement point costs: memory and start of 25 on one machine, and the check of a caller beside a HAProxy
that only verifies certificates.

    python -m benchmarks.enforcement_point [--points 25] [--calls 300]
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from pathlib import Path

from ringfort.environment.identity import IdentityCheck
from ringfort.environment.model import PortRange, Protocol, Tls
from ringfort.gateway import process, readback
from ringfort.gateway.haproxy import Configuration, Files, Guarded, render
from ringfort.lab.authority import LISTS_FILE, ROOT_FILE, Authority
from ringfort.lab.state import write_private

CALLER = "spiffe://gate.example/service/app"
MEMORY_MB, START_SECONDS = 10.0, 0.5
"""What we promise: of its own for each of 25, and until it answers."""

PLAIN = """global
    stats socket {directory}/plain.sock mode 600 level admin
    nbthread 1
    tune.ssl.cachesize 0
    ssl-default-bind-options ssl-min-ver TLSv1.3 no-tls-tickets
defaults
    mode tcp
    timeout connect 2s
    timeout client 10m
    timeout server 10m
frontend plain
    bind ipv4@127.0.2.1:{port} ssl crt {directory}/app.pem {verify}
    default_backend service
backend service
    server service 127.0.0.1:{port}
"""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def points(directory: Path, number: int, port: int) -> list[tuple[Configuration, Files]]:
    """Enforcement points on addresses of their own, with one service each."""
    check = IdentityCheck("app", Protocol.TCP, (PortRange(port, port),), Tls.MUTUAL, frozenset({CALLER}))
    found = []
    for place in range(number):
        files = Files(
            str(directory / f"point-{place}"),
            str(directory / ROOT_FILE),
            str(directory / LISTS_FILE),
            process.account(),
        )
        guarded = Guarded(check, (ip_address(f"127.0.1.{place + 1}"),), str(directory / "app.pem"))
        found.append((render([guarded], files), files))
    return found


def memory(pid: int) -> tuple[float, float]:
    """Megabytes of a process: its own, and resident."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    sizes = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    return (sizes["Private_Dirty"] + sizes["Private_Clean"]) / 1024, sizes["Rss"] / 1024


@contextlib.contextmanager
def service(port: int) -> Iterator[None]:
    """A service on loopback that says one byte and closes."""

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    connection.sendall(b"x")

    with socket.create_server(("127.0.0.1", port), backlog=512) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def calls(directory: Path, addresses: tuple[str, str], port: int, number: int) -> tuple[float, float]:
    """Milliseconds from connecting to the first byte, at two addresses in turn: the medians."""
    context = ssl.create_default_context(cafile=str(directory / ROOT_FILE))
    context.check_hostname = False
    context.load_cert_chain(directory / "app.pem")
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(number):
        for address, times in zip(addresses, taken, strict=True):
            begin = time.perf_counter()
            raw = socket.create_connection((address, port), timeout=5, source_address=("127.0.0.1", 0))
            with context.wrap_socket(raw) as connection:
                if connection.recv(1) != b"x":
                    raise SystemExit(f"{address} refuses")
            times.append((time.perf_counter() - begin) * 1000)
    return statistics.median(taken[0]), statistics.median(taken[1])


def main() -> int:
    """Measure; 1 if it costs more than promised."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=25)
    parser.add_argument("--calls", type=int, default=300)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory, port, now = Path(name), free_port(), datetime.now(UTC)
        authority = Authority.open_or_make(directory, "gate.example", {"here": (ip_network("127.0.0.0/8"),)}, now)
        write_private(directory / "app.pem", authority.issue(CALLER, [ip_address("127.0.0.1")], now))
        made = points(directory, options.points, port)
        plain = directory / "plain.cfg"
        verify = f"ca-file {directory / ROOT_FILE} verify required crl-file {directory / LISTS_FILE}"
        plain.write_text(PLAIN.format(directory=directory, port=port, verify=verify))
        try:
            return _measure(directory, made, plain, port, options.calls)
        finally:
            for _, files in made:
                process.end(files)


def _measure(directory: Path, made: list[tuple[Configuration, Files]], plain: Path, port: int, number: int) -> int:
    starts = []
    for wanted, files in made:
        begin = time.perf_counter()
        process.apply(wanted, files, write_private)
        starts.append(time.perf_counter() - begin)
    begin = time.perf_counter()
    for _, files in made:
        readback.checks(files)
    reading = (time.perf_counter() - begin) / len(made)
    running = [found for _, files in made if (found := process.running(files)) is not None]
    own, resident = (statistics.mean(sizes) for sizes in zip(*(memory(one.pid) for one in running), strict=True))
    peer = subprocess.Popen([process.PROGRAM, "-db", "-f", str(plain)], stderr=subprocess.DEVNULL)
    try:
        time.sleep(0.5)
        with service(port):
            ours, theirs = calls(directory, ("127.0.1.1", "127.0.2.1"), port, number)
    finally:
        peer.terminate()
        peer.wait()
    start = statistics.median(starts)
    print(f"{len(made)} enforcement points: {own:.1f} MB of its own each ({resident:.1f} MB resident)")
    print(f"start, median: {start * 1000:.0f} ms; read back: {reading * 1000:.0f} ms each")
    print(f"a caller, connecting to first byte, median: {ours:.2f} ms; HAProxy that only verifies: {theirs:.2f} ms")
    return int(own > MEMORY_MB or start > START_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
