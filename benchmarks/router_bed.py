"""client - router - server, in namespaces of their own, with the router's work on a thread that can be measured."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pyroute2.netlink.nfnetlink.nfctsocket import NFCTSocket

from benchmarks.frames import Batch, Datagrams, packet_socket, send_all
from benchmarks.namespaces import ETHTOOL_STSO, inside, offload, own_thread, run
from benchmarks.synthetic import CLIENTS, DATAGRAM_PORT, NAME, SERVERS
from ringfort.environment.model import Environment, Host
from ringfort.environment.topology import Leg, legs

ROUTING_CORE = 1
SENDING_CORE = 0
SINK = f"""
table ip sink {{
    chain received {{
        type filter hook prerouting priority raw; policy accept;
        udp dport {DATAGRAM_PORT} drop
    }}
}}
"""
EPHEMERAL_PORTS = (20_000, 60_000)


@dataclass(frozen=True, slots=True)
class Traffic:
    """What is sent: the first datagram of each connection, the servers' answers to those, and the load."""

    first: Batch
    answers: Batch
    load: Batch


@dataclass(slots=True)
class Bed:
    """One router under one ruleset. The client's and the server's cable end in ``inner``."""

    name: str
    environment: Environment
    ruleset: str
    threads: dict[str, int] = field(default_factory=dict)
    _sockets: dict[str, socket.socket] = field(default_factory=dict)

    @property
    def client(self) -> str:
        """The client's namespace."""
        return f"{self.name}-c"

    @property
    def router(self) -> str:
        """The router's namespace."""
        return f"{self.name}-r"

    @property
    def server(self) -> str:
        """The server's namespace."""
        return f"{self.name}-s"

    def leg(self, segment: str) -> Leg:
        """The router's interface towards a segment."""
        (found,) = (leg for leg in legs(self.environment, NAME) if leg.peer == segment)
        return found

    def hosts(self, segment: str) -> list[Host]:
        """The hosts of a segment, in file order."""
        return [host for host in self.environment.hosts.values() if host.segment == segment]

    def up(self) -> None:
        """Make the namespaces and load the ruleset. What a killed run left behind is removed first."""
        self.down()
        for namespace in (self.client, self.router, self.server):
            run("ip", "netns", "add", namespace)
            run("ip", "-n", namespace, "link", "set", "lo", "up")
        self._prepare_router()
        for namespace, segment in ((self.client, CLIENTS), (self.server, SERVERS)):
            self._connect(namespace, segment)
        for segment in (CLIENTS, SERVERS):
            self.threads[segment] = own_thread(self.router, self.leg(segment).interface, ROUTING_CORE)
        self.forget()
        for namespace in (self.client, self.server):
            with inside(namespace):
                self._sockets[namespace] = packet_socket("inner")

    def down(self) -> None:
        """Remove the namespaces; does nothing when there are none."""
        for out in self._sockets.values():
            out.close()
        self._sockets.clear()
        for namespace in (self.client, self.router, self.server):
            if Path(f"/run/netns/{namespace}").exists():
                run("ip", "netns", "del", namespace)

    def _prepare_router(self) -> None:
        with inside(self.router):
            Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
            for scope in ("all", "default"):
                Path(f"/proc/sys/net/ipv4/conf/{scope}/rp_filter").write_text("0")

    def _connect(self, namespace: str, segment: str) -> None:
        leg, hosts = self.leg(segment), self.hosts(segment)
        played = hosts[-1]
        link = ["link", "add", leg.interface, "address", leg.mac, "type", "veth"]
        run("ip", "-n", self.router, *link, "peer", "name", "inner", "address", played.mac, "netns", namespace)
        for address in leg.addresses:
            run("ip", "-n", self.router, "address", "add", str(address), "dev", leg.interface)
        run("ip", "-n", self.router, "link", "set", leg.interface, "up")
        run("ip", "-n", namespace, "link", "set", "inner", "up")
        run("ip", "-n", namespace, "address", "add", f"{played.addresses[0]}/32", "dev", "inner")
        gateway = str(leg.addresses[0].ip)
        neighbours = [f"neighbour replace {gateway} lladdr {leg.mac} dev inner nud permanent"]
        neighbours.append(f"route add default via {gateway} dev inner onlink")
        run("ip", "-n", namespace, "-batch", "-", text="\n".join(neighbours))
        for_router = [
            f"neighbour replace {host.addresses[0]} lladdr {host.mac} dev {leg.interface} nud permanent"
            for host in hosts
        ]
        run("ip", "-n", self.router, "-batch", "-", text="\n".join(for_router))

    def traffic(self, count: int, random: np.random.Generator, *, last: bool = False, connections: int = 0) -> Traffic:
        """``count`` datagrams that the flows allow, with what the servers would answer.

        Args:
            last: to the last server (the last rules of a linear ruleset), else to any.
            connections: how many connections they belong to; 0 means that each begins one of its own.
        """
        clients, servers = self.hosts(CLIENTS), self.hosts(SERVERS)
        distinct = connections or count
        client = np.arange(distinct) % len(clients)
        server = random.integers(len(servers) - 1 if last else 0, len(servers), distinct)
        first, end = EPHEMERAL_PORTS
        client_ports = (first + (random.integers(0, end - first) + np.arange(distinct)) % (end - first)).astype(
            np.uint16
        )
        server_ports = np.full(distinct, DATAGRAM_PORT, np.uint16)
        there = (_macs(clients)[client], _addresses(clients)[client], client_ports)
        here = (_macs(servers)[server], _addresses(servers)[server], server_ports)
        requests = Datagrams(*there, *here[1:], gateway_mac=self._gateway_mac(CLIENTS)).frames()
        answers = Datagrams(*here, *there[1:], gateway_mac=self._gateway_mac(SERVERS)).frames()
        repeats = -(-count // distinct)
        return Traffic(Batch(requests), Batch(answers), Batch(np.tile(requests, (repeats, 1))[:count]))

    def _gateway_mac(self, segment: str) -> bytes:
        return bytes.fromhex(self.leg(segment).mac.replace(":", ""))

    @contextlib.contextmanager
    def sink(self) -> Iterator[None]:
        """While it lasts the server takes datagrams silently, without answering that nobody listens."""
        run("ip", "netns", "exec", self.server, "nft", "-f", "-", text=SINK)
        try:
            yield
        finally:
            run("ip", "netns", "exec", self.server, "nft", "delete", "table", "ip", "sink")

    def measure_datagrams(self, on: bool) -> None:
        """Bring the router's receiving onto its thread, which needs senders that don't segment for it."""
        for namespace in (self.client, self.server):
            offload(namespace, "inner", ETHTOOL_STSO, on=not on)

    def send(self, batch: Batch, namespace: str) -> None:
        """Send from the client's or the server's end."""
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {SENDING_CORE})
        try:
            send_all(self._sockets[namespace], batch)
        finally:
            os.sched_setaffinity(0, before)

    def delivered(self) -> int:
        """Datagrams that have left the router towards the servers."""
        with inside(self.router):
            for line in Path("/proc/thread-self/net/dev").read_text().splitlines():
                name, _, numbers = line.partition(":")
                if name.strip() == self.leg(SERVERS).interface:
                    return int(numbers.split()[9])
        raise RuntimeError("the router has lost its leg")

    def forget(self) -> None:
        """Load the ruleset anew and empty the table of connections, so that no measurement inherits from another."""
        run("ip", "netns", "exec", self.router, "nft", "-f", "-", text=f"flush ruleset\n{self.ruleset}")
        with inside(self.router), contextlib.closing(NFCTSocket()) as table:
            table.flush()


def _macs(hosts: list[Host]) -> NDArray[np.uint8]:
    return np.array([list(bytes.fromhex(host.mac.replace(":", ""))) for host in hosts], np.uint8)


def _addresses(hosts: list[Host]) -> NDArray[np.uint32]:
    return np.array([int(host.addresses[0]) for host in hosts], np.uint32)
