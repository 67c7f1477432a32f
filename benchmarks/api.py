"""How many authorised reads a second a controller answers, beside the same server and TLS answering a constant.

    .venv/bin/python -m benchmarks.api

One server process with both on sockets of their own, one client process; they take turns round by round. The constant
is as long as the read's answer. Exits with 1 when reads are slower than promised.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from ringfort.control.connections import Listener
from ringfort.control.controller import Controller
from ringfort.control.settings import read_settings
from ringfort.identity.names import Role
from ringfort.identity.tls import client_context
from tests.control.running import Ground, Running

PROMISED = 0.80
NODE = "web-1"
READ = f"/v1/nodes/{NODE}"
TICKS = os.sysconf("SC_CLK_TCK")


# -- the server ------------------------------------------------------------------------------------------------------


async def serve(config: Path, length: int) -> None:
    """A controller, and beside it the same server with a handler that answers a constant."""
    controller = Controller(read_settings(config))
    await controller.start()
    constant = b"x" * length

    async def handle(_request: web.Request) -> web.Response:
        return web.Response(body=constant, content_type="application/json")

    application = web.Application()
    application.router.add_get("/v1/nodes/{name}", handle)
    listener = Listener(application)
    addresses = await listener.listen([("127.0.0.1", 0)], controller.party.server)
    print(json.dumps([controller.platform_addresses[0][1], addresses[0][1]]), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await listener.close()
    await controller.close()


# -- the client ------------------------------------------------------------------------------------------------------


class Asking(asyncio.Protocol):
    """One connection that asks the same again and again, as soon as the answer is there."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._missing = 0
        self.answers = 0
        self.asking = True
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the first time."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Take a piece of an answer; ask again after the last one."""
        if not self._missing:
            head, _, body = data.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), data[:500]
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n", 1)[0])
            self._missing = length - len(body)
        else:
            self._missing -= len(data)
        if not self._missing:
            self.answers += 1
            if self.asking:
                self._transport.write(self._request)
            else:
                self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        """Tell."""
        self.ended.set_result(None)


@dataclass(frozen=True, slots=True)
class Round:
    """Requests a second, and the server's processor time for each, in microseconds."""

    rate: float
    microseconds: float


async def ask(port: int, context: Any, path: str, connections: int, seconds: float, server: int) -> Round:  # noqa: ANN401
    """One round against one of the two."""
    loop = asyncio.get_running_loop()
    request = f"GET {path} HTTP/1.1\r\nHost: controller\r\n\r\n".encode()
    opened = [
        await loop.create_connection(lambda: Asking(request), "127.0.0.1", port, ssl=context)
        for _ in range(connections)
    ]
    asking = [protocol for _, protocol in opened]
    await asyncio.sleep(0.1)
    before, used, begun = sum(one.answers for one in asking), ticks(server), time.monotonic()
    await asyncio.sleep(seconds)
    after, spent, taken = sum(one.answers for one in asking), ticks(server) - used, time.monotonic() - begun
    for one in asking:
        one.asking = False
    await asyncio.gather(*(one.ended for one in asking))
    return Round((after - before) / taken, spent / TICKS * 1e6 / (after - before))


def ticks(process: int) -> int:
    """Processor time of a process."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def prepared(directory: Path) -> tuple[Ground, int]:
    """A ground with one node that reported, and how long the answer about it is."""
    ground = Ground(directory)
    controller = Running(ground)
    try:
        node, _ = controller.enrol(NODE)
        report = {"version": 0, "state": "confirmed", "digest": "ab" * 32, "counters": {"refused": 17}}
        node.call("POST", f"{READ}/reports", report)
        length = len(controller.operator("nora").fetch(READ))
    finally:
        controller.close()
    return ground, length


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--seconds", type=float, default=0.6)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--serve", nargs=2, metavar=("CONFIG", "LENGTH"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(Path(options.serve[0]), int(options.serve[1])))
        return
    with tempfile.TemporaryDirectory() as place:
        ground, length = prepared(Path(place))
        command = [sys.executable, "-m", "benchmarks.api", "--serve", str(ground.settings()), str(length)]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as child:
            assert child.stdout is not None
            assert child.stdin is not None
            reads, constants = measure(ground, json.loads(child.stdout.readline()), child.pid, options)
            child.stdin.close()
    ratios = [read.rate / constant.rate for read, constant in zip(reads, constants, strict=True)]
    print(f"{options.rounds} rounds of {options.seconds:g} s, {options.connections} connections, {length} bytes")
    for name, rounds in (("authorised read", reads), ("constant", constants)):
        rate = statistics.median(one.rate for one in rounds)
        cost = statistics.median(one.microseconds for one in rounds)
        print(f"{name:16} {rate:8,.0f} /s  {cost:6.1f} us of the server's processor for each")
    ratio = statistics.median(ratios)
    print(f"ratio {ratio:.2f} ({min(ratios):.2f}-{max(ratios):.2f}); promised is at least {PROMISED:.2f}")
    costs = [constant.microseconds / read.microseconds for read, constant in zip(reads, constants, strict=True)]
    print(f"by processor time of the server {statistics.median(costs):.2f}")
    if ratio < PROMISED:
        sys.exit(1)


def measure(
    ground: Ground, ports: list[int], server: int, options: argparse.Namespace
) -> tuple[list[Round], list[Round]]:
    """Rounds against both, in turn."""
    context = client_context(ground.credential(Role.OPERATOR, "nora"), ground.store.bundle())
    reads: list[Round] = []
    constants: list[Round] = []
    both = ((ports[0], reads), (ports[1], constants))
    for number in range(options.rounds):
        for port, rounds in both if number % 2 else both[::-1]:
            rounds.append(asyncio.run(ask(port, context, READ, options.connections, options.seconds, server)))
    return reads, constants


if __name__ == "__main__":
    main()
