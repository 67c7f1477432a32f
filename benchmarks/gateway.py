"""What the edge costs beside plain HAProxy with the same TLS settings: requests a second, and processor time for each.

    python -m benchmarks.gateway [--seconds 4] [--rounds 5]

Both are HAProxy on this machine with the same certificate, suites, curves, threads and connections, in front of the
same instance: a third HAProxy that answers by itself, so that the application isn't what is measured. They are asked in
turn. What differs is ours: maps instead of one backend, limits by customer and source, headers, checks of names.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

from benchmarks.enforcement_point import free_port
from ringfort.gateway import process
from ringfort.gateway.acme.authority import PublicRoot
from ringfort.gateway.edge import running
from ringfort.gateway.edge.certificates import issue
from ringfort.gateway.edge.model import Edge, Endpoint, Health, Limits, Server, SourceLimits, TlsMode
from ringfort.gateway.edge.render import CURVES, SUITES_12, SUITES_13, Place
from ringfort.lab.state import write_private

NAME = "www.shop.example"
PROMISED = 0.90
"""Of plain HAProxy's requests a second."""

MANY = 1_000_000
"""A limit that the load doesn't reach; it is looked at all the same."""

PLAIN = """global
    stats socket {directory}/plain.sock mode 600 level admin
    maxconn 8000
    ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets
    ssl-default-bind-ciphers {suites_12}
    ssl-default-bind-ciphersuites {suites_13}
defaults
    mode http
    timeout connect 2s
    timeout client 30s
    timeout server 30s
frontend plain
    bind 127.0.0.1:{port} ssl crt {certificate} alpn h2,http/1.1 curves {curves}
    option forwardfor
    default_backend instance
backend instance
    server one 127.0.0.1:{instance} check
"""

INSTANCE = """global
    maxconn 8000
defaults
    mode http
    timeout client 30s
    timeout http-keep-alive 30s
frontend instance
    bind 127.0.0.1:{instance}
    http-request return status 200 content-type text/plain string "{body}"
"""


@dataclass(frozen=True)
class Kind:
    """A load: what h2load is told, and how it is called."""

    name: str
    words: tuple[str, ...]


KINDS = (
    Kind("HTTP/1.1, connections kept", ("--h1", "-c32")),
    Kind("HTTP/2, 10 streams each", ("-c16", "-m10")),
)


@contextlib.contextmanager
def haproxy(directory: Path, name: str, text: str, port: int) -> Iterator[int]:
    """A plain HAProxy with this configuration that listens on a port; gives its process."""
    file = directory / f"{name}.cfg"
    file.write_text(text)
    with subprocess.Popen(
        [process.PROGRAM, "-db", "-f", str(file)], stderr=subprocess.DEVNULL, start_new_session=True
    ) as child:
        try:
            wait_for(port)
            yield child.pid
        finally:
            child.terminate()


def wait_for(port: int) -> None:
    """Until somebody listens."""
    for _ in range(500):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        time.sleep(0.02)
    raise SystemExit(f"nobody listens on port {port}")


def load(kind: Kind, port: int, seconds: int) -> float:
    """Requests a second, all of them answered with 200."""
    words = ["h2load", *kind.words, f"-D{seconds}", "-t1", f"https://{NAME}:{port}/", f"--connect-to=127.0.0.1:{port}"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    rate = re.search(r"finished in [\d.]+s, ([\d.]+) req/s", done.stdout)
    statuses = re.search(r"status codes: (\d+) 2xx, 0 3xx, 0 4xx, 0 5xx", done.stdout)
    if rate is None or statuses is None or int(statuses[1]) == 0:
        raise SystemExit(f"not every request was answered:\n{done.stdout}")
    return float(rate[1])


def processor_seconds(pid: int) -> float:
    """Spent by a process until now."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def edge_of(instance: int, certificate: str, *, shared: bool) -> Edge:
    """An edge with a hundred names, of which one is asked; with passthrough on the same address or without."""
    here = ip_address("127.0.0.1")
    one = Endpoint(NAME, "acme", "shop", TlsMode.PLATFORM, (Server("one", here, instance),), Health("/"), certificate)
    others = [
        Endpoint(f"n{number}.shop.example", f"c{number}", "shop", TlsMode.OFF, (Server("one", here, instance),))
        for number in range(100)
    ]
    if shared:
        inside = (Server("one", here, instance),)
        others.append(Endpoint("pass.shop.example", "zeta", "shop", TlsMode.PASSTHROUGH, inside))
    return Edge(
        (here,), (one, *others), limits={"acme": Limits(MANY, MANY)}, per_source=SourceLimits(MANY, MANY),
        plain_port=free_port(), tls_port=free_port(), alive_port=free_port(),
    )  # fmt: skip


@contextlib.contextmanager
def served(directory: Path, name: str, edge: Edge) -> Iterator[int]:
    """The edge; gives its process."""
    account = process.account()
    place = Place(str(directory / name), account)
    running.apply(edge, place, write_private)
    found = process.running(place)
    assert found is not None
    try:
        yield found.pid
    finally:
        process.end(place)


def certificate(directory: Path) -> str:
    """The file of a certificate, P-256."""
    now = datetime.now(UTC)
    path = directory / "certificate.pem"
    write_private(path, issue(PublicRoot.create("benchmark", now).issuer(["shop.example"], now), NAME, now))
    return str(path)


def measure(directory: Path, seconds: int, rounds: int) -> bool:
    """Print the figures; whether what is promised was kept."""
    instance, plain_port = free_port(), free_port()
    file = certificate(directory)
    plain = PLAIN.format(
        directory=directory, suites_12=SUITES_12, suites_13=SUITES_13, curves=CURVES, port=plain_port, certificate=file,
        instance=instance,
    )  # fmt: skip
    kept = True
    with contextlib.ExitStack() as stack:
        stack.enter_context(
            haproxy(directory, "instance", INSTANCE.format(instance=instance, body="x" * 1000), instance)
        )
        ports, pids = (
            {"plain": plain_port},
            {"plain": stack.enter_context(haproxy(directory, "plain", plain, plain_port))},
        )
        for name, shared in (("edge", False), ("edge, address shared with passthrough", True)):
            edge = edge_of(instance, file, shared=shared)
            ports[name] = edge.tls_port
            pids[name] = stack.enter_context(served(directory, f"edge-{shared}", edge))
        for kind in KINDS:
            rates: dict[str, list[float]] = {name: [] for name in ports}
            costs: dict[str, list[float]] = {name: [] for name in ports}
            for turn in range(rounds + 1):
                for name, port in ports.items():
                    before = processor_seconds(pids[name])
                    rate = load(kind, port, seconds)
                    if turn:  # the first warms up
                        rates[name].append(rate)
                        costs[name].append((processor_seconds(pids[name]) - before) / (rate * seconds) * 1e6)
            kept &= tell(kind, rates, costs)
    return kept


def tell(kind: Kind, rates: dict[str, list[float]], costs: dict[str, list[float]]) -> bool:
    """Print one load's figures; whether the edge keeps the promise."""
    plain = statistics.median(rates["plain"])
    print(f"{kind.name}:")
    for name, found in rates.items():
        rate, cost = statistics.median(found), statistics.median(costs[name])
        ratio = statistics.median(one / base for one, base in zip(found, rates["plain"], strict=True))
        print(f"  {name}: {rate:,.0f} requests/s ({ratio:.2f} of plain), {cost:.0f} us of processor time each")
    ratio = statistics.median(one / base for one, base in zip(rates["edge"], rates["plain"], strict=True))
    assert plain > 0
    return ratio >= PROMISED


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="ringfort-gateway-"))
    try:
        kept = measure(directory, options.seconds, options.rounds)
    finally:
        shutil.rmtree(directory)
    print(f"promised: at least {PROMISED:.0%} of plain HAProxy's requests a second: {'kept' if kept else 'NOT KEPT'}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
