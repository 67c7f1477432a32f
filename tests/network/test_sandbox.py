"""A sandbox lets out and in what its guest's flows declare, and nothing of the guest's link, whatever is sent."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

import pytest

from ringfort.compute.taps import open_tap
from ringfort.drill.frames import Kind, mac_bytes, template
from ringfort.environment.model import Environment
from ringfort.environment.topology import gateway_addresses, gateway_mac
from ringfort.lab.netns import inside
from ringfort.network.compile import compile_device
from ringfort.network.sysctl import sysctl_text
from tests.network.kernel import Namespace, namespace
from tests.network.worlds import example, keys, objects, rules, sandbox

ALL_ETHERNET = 3  # ETH_P_ALL, linux/if_ether.h
BLOG = "10.10.2.3"
MAC_OF_NOBODY = "02:00:00:00:00:66"


def test_both_directions_hold_the_guests_flows_and_no_others() -> None:
    document = compile_device(example("guests"), sandbox("acme")).document
    assert keys(document, "outgoing4") == [("10.10.2.2", "10.10.1.2", "tcp", 443)]
    assert keys(document, "incoming4") == [("10.10.1.2", "10.10.2.2", "tcp", 8080)]
    assert keys(document, "incoming-echo6") == [("fd00:10:0:1::2", "fd00:10:0:2::2")]
    other = compile_device(example("guests"), sandbox("globex")).document
    assert "outgoing4" not in objects(other, "map")
    assert len(rules(other, "from-inside")) == 2, "replies, and nothing new"


def test_a_new_connection_costs_the_same_few_look_ups_however_many_flows_there_are() -> None:
    document = compile_device(example("guests"), sandbox("acme")).document
    assert [len(rules(document, chain)) for chain in ("from-inside", "to-inside", "from-guest")] == [4, 6, 5]


@dataclass(frozen=True)
class Place:
    """The sandbox of acme, its guest, and what stands for the segment."""

    environment: Environment
    sandbox: Namespace
    guest: Namespace
    segment: Namespace

    def send(self, *frames: bytes) -> list[bytes]:
        """Send frames out of the guest's interface; those that arrive in the segment."""
        return self._through(self.guest, self.segment, frames)

    def receive(self, *frames: bytes) -> list[bytes]:
        """Send frames from the segment; those that reach the guest."""
        return self._through(self.segment, self.guest, frames)

    def _through(self, here: Namespace, there: Namespace, frames: tuple[bytes, ...]) -> list[bytes]:
        with inside(here.name):
            sending = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        with sending, self.hearing(there) as heard:
            sending.bind(("eth0", 0))
            for one in frames:
                sending.send(one)
        return heard

    @contextmanager
    def hearing(self, there: Namespace) -> Iterator[list[bytes]]:
        """What arrives at a place; the list is filled when the block ends."""
        found: list[bytes] = []
        with inside(there.name):
            listening = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_ETHERNET))
        with listening:
            listening.bind(("eth0", ALL_ETHERNET))
            yield found
            time.sleep(0.1)
            listening.setblocking(False)
            with suppress(BlockingIOError):
                while True:
                    data, (_, _, kind, _, _) = listening.recvfrom(2000)
                    if kind != socket.PACKET_OUTGOING:
                        found.append(data)

    def out(self, destination: str, port: int, *, source: str = "", mac: str = "", kind: Kind = Kind.TCP) -> bytes:
        """A frame of the guest's, to its gateway's MAC address."""
        there = ip_address(destination)
        guest = self.environment.hosts["acme"]
        own = next(a for a in guest.addresses if a.version == there.version)
        gateway = gateway_mac(self.environment, guest.segment)
        return template(mac or guest.mac, gateway, ip_address(source) if source else own, there, kind, port).tagged(7)

    def inward(self, source: str, port: int, *, mac: str = "", kind: Kind = Kind.TCP) -> bytes:
        """A frame from the segment to the guest."""
        here, guest = ip_address(source), self.environment.hosts["acme"]
        there = next(a for a in guest.addresses if a.version == here.version)
        return template(mac or gateway_mac(self.environment, guest.segment), guest.mac, here, there, kind, port).tagged(
            7
        )

    def counted(self) -> dict[str, int]:
        """What the sandbox counted, by counter."""
        return {name: packets for name, packets in self.sandbox.counters().items() if packets}


@pytest.fixture(scope="module")
def wired() -> Iterator[Place]:
    environment = example("guests")
    with namespace() as middle, namespace() as guest, namespace() as segment:
        place = Place(environment, middle, guest, segment)
        _wire(place)
        yield place


@pytest.fixture
def place(wired: Place) -> Place:
    wired.sandbox.load(compile_device(wired.environment, sandbox("acme")).text)
    return wired


def _wire(place: Place) -> None:
    middle, host = place.sandbox, place.environment.hosts["acme"]
    gateway = gateway_mac(place.environment, host.segment)
    for machine in (place.guest, place.segment):
        machine.must("sysctl", "--quiet", "--write", "net.ipv6.conf.default.disable_ipv6=1")
    _set_kernel(place)
    for name, own, other, theirs in (
        ("guest", gateway, place.guest, host.mac), ("uplink", host.mac, place.segment, gateway),
    ):  # fmt: skip
        peer = ("peer", "name", "eth0", "address", theirs, "netns", other.name)
        middle.must("ip", "link", "add", name, "address", own, "type", "veth", *peer)
        middle.must("ip", "link", "set", name, "up")
        other.must("ip", "link", "set", "eth0", "up")
    _lead_to_guest(place)
    for address in gateway_addresses(place.environment, host.segment):
        middle.must("ip", "neigh", "add", str(address), "lladdr", gateway, "dev", "uplink")
        default = ("default", "via", str(address), "dev", "uplink", "onlink")
        middle.must("ip", f"-{address.version}", "route", "add", *default)
    _set_kernel(place)
    time.sleep(0.2)


def _lead_to_guest(place: Place) -> None:
    host = place.environment.hosts["acme"]
    for address in host.addresses:
        place.sandbox.must("ip", f"-{address.version}", "route", "add", str(address), "dev", "guest")
        place.sandbox.must("ip", "neigh", "add", str(address), "lladdr", host.mac, "dev", "guest")


def _set_kernel(place: Place) -> None:
    settings = sysctl_text(place.environment, sandbox("acme"))
    place.sandbox.run("sysctl", "--quiet", "--ignore", "--load", "-", text=settings)


@pytest.mark.lab
@pytest.mark.parametrize("destination", ["10.10.1.2", "fd00:10:0:1::2"])
def test_a_declared_call_leaves_in_the_guests_name(place: Place, destination: str) -> None:
    (sent,) = place.send(place.out(destination, 443))
    guest = place.environment.hosts["acme"]
    assert sent[:6] == mac_bytes(gateway_mac(place.environment, guest.segment))
    assert sent[6:12] == mac_bytes(guest.mac)
    assert place.counted()["flow-acme-to-web"] == 1


@pytest.mark.lab
@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("undeclared-out", {"destination": "10.10.1.2", "port": 22}),
        ("undeclared-out", {"destination": BLOG, "port": 8080}),
        ("undeclared-out", {"destination": "fd00:10:0:2::3", "port": 8080}),
        ("undeclared-out", {"destination": "10.10.3.2", "port": 443}),
        ("undeclared-out", {"destination": "8.8.8.8", "port": 53}),
        ("link-local", {"destination": "169.254.169.254", "port": 80}),
        ("spoofed", {"destination": "10.10.1.2", "port": 443, "source": BLOG}),
        ("spoofed", {"destination": "10.10.1.2", "port": 443, "mac": MAC_OF_NOBODY}),
        ("spoofed", {"destination": "fd00:10:0:1::2", "port": 443, "source": "fd00:10:0:2::3"}),
        ("invalid", {"destination": "10.10.1.2", "port": 443, "kind": Kind.TCP_PIECE}),
    ],
)
def test_anything_else_stays_inside_and_is_counted(place: Place, reason: str, words: dict[str, object]) -> None:
    assert place.send(place.out(**words)) == []  # type: ignore[arg-type]
    assert place.counted().get(reason) == 1


def _arp(place: Place) -> bytes:
    """The guest says that it is its gateway (RFC 826)."""
    guest = place.environment.hosts["acme"]
    mac, gateway = mac_bytes(guest.mac), gateway_addresses(place.environment, guest.segment)[0]
    says = b"\x00\x01\x08\x00\x06\x04\x00\x01" + mac + gateway.packed + bytes(6) + ip_address(BLOG).packed
    return b"\xff" * 6 + mac + b"\x08\x06" + says


def _icmpv6(place: Place, kind: int) -> bytes:
    """A router advertisement (134), neighbour solicitation (135) or advertisement (136) to everybody (RFC 4861)."""
    guest = place.environment.hosts["acme"]
    everybody, own = IPv6Address("ff02::1"), IPv6Address("fe80::66")
    body = bytes([kind]) + bytes(15) + own.packed[:8]
    head = b"\x60\0\0\0" + len(body).to_bytes(2) + b"\x3a\xff" + own.packed + everybody.packed
    return b"\x33\x33\0\0\0\x01" + mac_bytes(guest.mac) + b"\x86\xdd" + head + body


@pytest.mark.lab
def test_no_frame_of_the_guests_goes_on_whatever_it_is(place: Place) -> None:
    mac = place.environment.hosts["acme"].mac
    neighbour = place.environment.hosts["globex"].mac
    straight = template(mac, neighbour, ip_address("10.10.2.2"), ip_address(BLOG), Kind.TCP, 8080).tagged(7)
    spanning = b"\x01\x80\xc2\0\0\0" + mac_bytes(mac) + b"\x00\x26\x42\x42\x03" + bytes(60)
    tagged = place.out("10.10.1.2", 443)
    tagged = tagged[:12] + b"\x81\x00\x00\x05" + tagged[12:]
    frames = [_arp(place), *(_icmpv6(place, kind) for kind in (134, 135, 136)), straight, spanning, tagged]
    assert place.send(*frames) == []


@pytest.mark.lab
def test_the_guest_is_sent_what_is_declared_by_its_gateway_only(place: Place) -> None:
    assert len(place.receive(place.inward("10.10.1.2", 8080))) == 1
    assert len(place.receive(place.inward("fd00:10:0:1::2", 0, kind=Kind.ICMP))) == 1
    for reason, refused in (
        ("undeclared", place.inward("10.10.1.2", 22)),
        ("undeclared", place.inward(BLOG, 8080)),
        ("neighbour", place.inward("10.10.1.2", 8080, mac=MAC_OF_NOBODY)),
    ):
        before = place.counted().get(reason, 0)
        assert place.receive(refused) == []
        assert place.counted()[reason] == before + 1


@pytest.mark.lab
def test_a_virtual_machines_tap_takes_the_place_of_the_guests_cable() -> None:
    """A tap called ``guest`` is all that a real guest needs; its rules know an interface by its name."""
    environment = example("guests")
    with namespace() as middle, namespace() as unused, namespace() as segment:
        place = Place(environment, middle, unused, segment)
        _wire(place)
        middle.load(compile_device(environment, sandbox("acme")).text)
        middle.must("ip", "link", "delete", "guest")
        host = environment.hosts["acme"]
        tap = open_tap(middle.name, "guest")
        try:
            middle.must("ip", "link", "set", "guest", "address", gateway_mac(environment, host.segment), "up")
            _lead_to_guest(place)
            with place.hearing(segment) as heard:
                for one in (
                    place.out("10.10.1.2", 443),
                    place.out("10.10.1.2", 22),
                    place.out(BLOG, 8080),
                    _arp(place),
                ):
                    os.write(tap, bytes(10) + one)  # with an empty virtio_net_hdr (linux/virtio_net.h)
            assert [frame[6:12] for frame in heard] == [mac_bytes(host.mac)]
            assert place.counted()["undeclared-out"] == 2
        finally:
            os.close(tap)


@pytest.mark.lab
def test_a_reply_passes_because_its_call_did(place: Place) -> None:
    """The guest answers a call, and is answered."""
    guest = place.environment.hosts["acme"]
    router = gateway_mac(place.environment, guest.segment)
    answer = template(guest.mac, router, guest.addresses[0], ip_address("10.10.1.2"), Kind.ICMP, 0)
    reply = bytearray(answer.tagged(7))
    reply[34] = 0  # an echo reply (RFC 792): the sum grows by what the type lost
    total = int.from_bytes(reply[36:38]) + 0x0800
    reply[36:38] = ((total & 0xFFFF) + (total >> 16)).to_bytes(2)
    assert place.send(bytes(reply)) == []
    assert len(place.receive(place.inward("10.10.1.2", 0, kind=Kind.ICMP))) == 1
    assert len(place.send(bytes(reply))) == 1
