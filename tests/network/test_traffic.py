"""Real packets through the compiled rulesets of a router and three machines around it: what is counted as what."""

from __future__ import annotations

import contextlib
import errno
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from ringfort.environment.load import load_text
from ringfort.environment.model import Environment
from ringfort.environment.topology import legs, provider_mac
from ringfort.lab.netns import inside
from ringfort.network.compile import compile_device
from ringfort.network.sysctl import sysctl_text
from tests.network.kernel import Namespace, namespace
from tests.network.worlds import SMALL, host, router

pytestmark = pytest.mark.lab

ATTEMPTS, CONNECTIONS = 5, 4
LIMITS = f"""
scan-detection: {{attempts: {ATTEMPTS}, seconds: 60, refuse-seconds: 300}}
connection-limit: {{per-source: {CONNECTIONS}}}
"""
CALLS = 16000
"""The first port of the service ``calls``, which web may call at app-1 over UDP."""

IP_MTU_DISCOVER, IP_PMTUDISC_DO = 10, 2  # linux/in.h
VISITOR = "192.0.32.7"
LISTENER_REPORTS = "mldv2_unsolicited_report_interval=10"
"""Milliseconds between reports that the kernel sends for each address, instead of a second."""


@dataclass(frozen=True)
class Place:
    """The machines of `SMALL` that matter here."""

    environment: Environment
    router: Namespace
    web: Namespace
    app: Namespace
    outside: Namespace

    def address(self, name: str, version: int = 4) -> str:
        return next(str(a) for a in self.environment.hosts[name].addresses if a.version == version)

    def counted(self) -> dict[str, int]:
        """What the router counted, less its own multicast listener reports, which come when they like."""
        counters = self.router.counters()
        return {name: packets for name, packets in counters.items() if packets and name != "from-router"}


@pytest.fixture(scope="module")
def wired() -> Iterator[Place]:
    environment = load_text(SMALL + LIMITS)
    with namespace() as middle, namespace() as web, namespace() as app, namespace() as outside:
        place = Place(environment, middle, web, app, outside)
        _wire(place)
        yield place


@pytest.fixture
def place(wired: Place) -> Place:
    """The machines, freshly loaded: counters at zero and nobody remembered."""
    wired.router.load(compile_device(wired.environment, router("r1")).text)
    wired.web.load(compile_device(wired.environment, host("web")).text)
    wired.app.load(compile_device(wired.environment, host("app-1")).text)
    return wired


def _wire(place: Place) -> None:
    # Twice: first so that interfaces come up without link-local addresses, then for the interfaces themselves.
    _set_kernel(place)
    for machine in (place.router, place.web, place.app):
        machine.must("sysctl", "--quiet", "--write", f"net.ipv6.conf.default.{LISTENER_REPORTS}")
    place.outside.must("sysctl", "--quiet", "--write", "net.ipv6.conf.default.disable_ipv6=1")
    by_name = {leg.interface: leg for leg in legs(place.environment, "north")}
    for machine, name, interface in ((place.web, "web", "edge"), (place.app, "app-1", "inner")):
        own, leg = place.environment.hosts[name], by_name[interface]
        _cable(place.router, interface, leg.mac, machine, own.mac)
        for address, gateway in zip(own.addresses, leg.addresses, strict=True):
            place.router.must("ip", "address", "add", str(gateway), "dev", interface, *_nodad(address.version))
            place.router.must("ip", "neigh", "add", str(address), "lladdr", own.mac, "dev", interface)
            machine.must(
                "ip", "address", "add", f"{address}/{address.max_prefixlen}", "dev", "eth0", *_nodad(address.version)
            )
            machine.must("ip", "neigh", "add", str(gateway.ip), "lladdr", leg.mac, "dev", "eth0")
            machine.must(
                "ip", f"-{address.version}", "route", "add", "default", "via", str(gateway.ip), "dev", "eth0", "onlink"
            )
    _provider(place, by_name["alpha"].mac)
    _set_kernel(place)
    time.sleep(0.2)  # until no multicast listener report is left, which would be counted as spoofed


def _set_kernel(place: Place) -> None:
    for machine, device in ((place.router, router("r1")), (place.web, host("web")), (place.app, host("app-1"))):
        machine.run("sysctl", "--quiet", "--ignore", "--load", "-", text=sysctl_text(place.environment, device))


def _provider(place: Place, mac: str) -> None:
    """The internet behind alpha. The router has no default route but for what is marked as alpha's."""
    theirs = provider_mac(place.environment, "north/alpha")
    _cable(place.router, "alpha", mac, place.outside, theirs)
    place.router.must("ip", "address", "add", "198.51.100.2/28", "dev", "alpha")
    place.router.must("ip", "address", "add", "198.51.100.4/32", "dev", "lo")
    place.router.must("ip", "neigh", "add", "198.51.100.1", "lladdr", theirs, "dev", "alpha")
    place.router.must("ip", "rule", "add", "fwmark", "1", "lookup", "101")
    place.router.must("ip", "route", "add", "default", "via", "198.51.100.1", "table", "101")
    for address in (f"{VISITOR}/32", "127.8.8.8/32", "10.10.2.3/32"):
        place.outside.must("ip", "address", "add", address, "dev", "eth0")
    place.outside.must("ip", "neigh", "add", "198.51.100.4", "lladdr", mac, "dev", "eth0")
    place.outside.must("ip", "neigh", "add", "198.51.100.2", "lladdr", mac, "dev", "eth0")
    place.outside.must("ip", "route", "add", "198.51.100.0/28", "dev", "eth0", "src", VISITOR)
    place.outside.must("ip", "route", "add", "10.10.0.0/16", "via", "198.51.100.2", "dev", "eth0", "src", VISITOR)


def _cable(one: Namespace, interface: str, mac: str, other: Namespace, other_mac: str) -> None:
    peer = ("type", "veth", "peer", "name", "eth0", "netns", other.name, "address", other_mac)
    one.must("ip", "link", "add", interface, "address", mac, *peer)
    one.must("ip", "link", "set", interface, "up")
    other.must("ip", "link", "set", "eth0", "up")


def _nodad(version: int) -> tuple[str, ...]:
    return ("nodad",) if version == 6 else ()


@contextlib.contextmanager
def udp(machine: Namespace, bind: tuple[str, int] | None = None, version: int = 4) -> Iterator[socket.socket]:
    with inside(machine.name):
        made = socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
    with made:
        made.settimeout(2)
        if bind:
            made.bind(bind)
        yield made


def is_silent(sock: socket.socket) -> bool:
    sock.settimeout(0.1)
    with contextlib.suppress(TimeoutError):
        return not sock.recv(4096)
    return True


@pytest.mark.parametrize("version", [4, 6])
def test_a_declared_call_passes_and_is_counted_for_its_flow(place: Place, version: int) -> None:
    there = (place.address("app-1", version), CALLS)
    with udp(place.app, there, version) as server, udp(place.web, version=version) as client:
        client.sendto(b"?", there)
        _, caller = server.recvfrom(16)
        server.sendto(b"!", caller)
        assert client.recv(16) == b"!"
    assert caller[0] == place.address("web", version)
    assert place.counted() == {"flow-web-to-calls": 1}


def test_a_fragmented_datagram_arrives_whole(place: Place) -> None:
    there = (place.address("app-1"), CALLS)
    with udp(place.app, there) as server, udp(place.web) as client:
        client.sendto(b"x" * 5000, there)
        assert len(server.recv(8192)) == 5000


def test_a_source_that_is_not_the_hosts_own_is_spoofed(place: Place) -> None:
    place.web.flush()  # the attacker owns the sending host
    place.web.must("ip", "address", "replace", "10.10.1.99/32", "dev", "lo")
    with udp(place.web, ("10.10.1.99", 0)) as client:
        client.sendto(b"?", (place.address("app-1"), CALLS))
    assert place.counted() == {"spoofed": 1}


def test_an_undeclared_port_is_refused_by_the_sender_and_by_the_router(place: Place) -> None:
    there = (place.address("app-1"), CALLS - 1)
    with udp(place.web) as client:
        with pytest.raises(PermissionError):
            client.sendto(b"?", there)
        assert place.web.counters()["undeclared-out"] == 1
        place.web.flush()
        client.sendto(b"?", there)
    assert place.counted() == {"undeclared": 1}


def test_a_source_refused_too_often_is_a_scanner_even_for_what_it_may_call(place: Place) -> None:
    place.web.flush()
    there = place.address("app-1")
    with udp(place.app, (there, CALLS)) as server, udp(place.web) as client:
        for port in range(1, ATTEMPTS + 1):
            client.sendto(b"?", (there, port))
        assert place.counted() == {"undeclared": ATTEMPTS}
        client.sendto(b"?", (there, ATTEMPTS + 1))
        assert place.counted() == {"undeclared": ATTEMPTS, "scanner": 1}
        client.sendto(b"?", (there, CALLS))
        assert is_silent(server)
        assert place.counted() == {"undeclared": ATTEMPTS, "scanner": 2}
        place.router.must("nft", "flush", "set", "inet", "ringfort", "scanners4")
        client.sendto(b"?", (there, CALLS))
        assert server.recv(16) == b"?"


def test_a_source_may_hold_so_many_connections_and_no_more(place: Place) -> None:
    there = (place.address("app-1"), CALLS)
    with udp(place.app, there) as server:
        for _ in range(CONNECTIONS + 2):
            with udp(place.web) as client:
                client.sendto(b"?", there)
        for _ in range(CONNECTIONS):
            assert server.recv(16) == b"?"
        assert is_silent(server)
    assert place.counted()["connection-limit"] == 2


def test_the_internet_reaches_a_published_service_and_replies_leave_by_its_provider(place: Place) -> None:
    with inside(place.web.name):
        listener = socket.create_server((place.address("web"), 443))
    with inside(place.outside.name):
        client = socket.socket()
    with listener, client:
        client.settimeout(2)
        client.connect(("198.51.100.4", 80))
        served, caller = listener.accept()
        served.close()
    assert caller[0] == VISITOR
    assert place.counted() == {"flow-internet-to-web": 1}


def test_loading_again_keeps_connections_alive(place: Place) -> None:
    with inside(place.web.name):
        listener = socket.create_server((place.address("web"), 443))
    with inside(place.outside.name):
        client = socket.socket()
    with listener, client:
        client.settimeout(2)
        client.connect(("198.51.100.4", 80))
        served, _ = listener.accept()
        with served:
            place.router.load(compile_device(place.environment, router("r1")).text)
            place.web.load(compile_device(place.environment, host("web")).text)
            client.sendall(b"?")
            assert served.recv(16) == b"?"
    assert place.counted() == {}, "a reply was taken for a new connection"


@pytest.mark.parametrize(
    ("source", "destination", "reason"),
    [
        (VISITOR, ("10.10.1.2", 443), "undeclared"),
        ("127.8.8.8", ("198.51.100.4", 80), "bogon"),
        ("10.10.2.3", ("198.51.100.4", 80), "spoofed"),
        (VISITOR, ("198.51.100.4", 81), "to-router"),
    ],
    ids=[
        "past the translation to the host itself",
        "from a bogon",
        "from an address of ours",
        "to a port that is not published",
    ],
)
def test_the_internet_is_refused(place: Place, source: str, destination: tuple[str, int], reason: str) -> None:
    place.outside.must("sysctl", "--quiet", "--write", "net.ipv4.conf.eth0.route_localnet=1")
    with udp(place.outside, (source, 0)) as client:
        client.sendto(b"?", destination)
    assert place.counted() == {reason: 1}


def test_a_router_serves_nothing(place: Place) -> None:
    place.web.flush()
    with udp(place.web) as client:
        client.sendto(b"?", ("10.10.1.1", 53))
    assert place.counted() == {"to-router": 1}


def test_a_packet_from_the_middle_of_a_connection_is_invalid(place: Place) -> None:
    place.web.flush()
    syn_less = bytes.fromhex("c35020fb 00000001 00000001 50100200 00000000")  # an ACK from port 50000 to 8443
    with inside(place.web.name):
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
    with raw:
        raw.sendto(_with_checksum(syn_less, place.address("web"), place.address("app-1")), (place.address("app-1"), 0))
    assert place.counted() == {"invalid": 1}


def _with_checksum(segment: bytes, source: str, destination: str) -> bytes:
    pseudo = socket.inet_aton(source) + socket.inet_aton(destination) + bytes([0, 6]) + len(segment).to_bytes(2, "big")
    words = pseudo + segment
    total = sum(int.from_bytes(words[i : i + 2], "big") for i in range(0, len(words), 2))
    total = (total & 0xFFFF) + (total >> 16)
    return segment[:16] + (~(total + (total >> 16)) & 0xFFFF).to_bytes(2, "big") + segment[18:]


def test_a_router_tells_a_sender_that_its_packets_are_too_big(place: Place) -> None:
    there = (place.address("app-1"), CALLS)
    place.router.must("ip", "link", "set", "inner", "mtu", "1300")
    try:
        with udp(place.app, there) as server, udp(place.web) as client:
            client.setsockopt(socket.SOL_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
            client.connect(there)
            client.send(b"?")
            assert server.recv(16) == b"?"
            client.send(b"x" * 1400)
            time.sleep(0.05)
            with pytest.raises(OSError, match="too long") as refused:
                client.send(b"x" * 1400)
        assert refused.value.errno == errno.EMSGSIZE
    finally:
        place.router.must("ip", "link", "set", "inner", "mtu", "1500")
        place.web.run("ip", "route", "flush", "cache")


def test_a_host_refuses_what_does_not_come_from_its_gateway(place: Place) -> None:
    there = (place.address("app-1"), CALLS)
    place.router.must("ip", "link", "set", "inner", "address", "02:00:00:00:00:99")
    try:
        with udp(place.app, there) as server, udp(place.web) as client:
            client.sendto(b"?", there)
            assert is_silent(server)
        assert place.app.counters()["neighbour"] == 1
    finally:
        mac = next(leg.mac for leg in legs(place.environment, "north") if leg.interface == "inner")
        place.router.must("ip", "link", "set", "inner", "address", mac)
