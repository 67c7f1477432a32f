"""What a guest says below IP: that it is its gateway, or a router, or a neighbour, or a bridge. Nobody may hear it.

Probes are packets, and counted one by one; these frames are not, and a sandbox takes no notice of them. So the question
is asked at the other end: does any station of the segment receive one? Past the sandbox, the switch has to refuse them.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import IPv6Address

from ringfort.drill.counters import Counters
from ringfort.drill.frames import checksum, mac_bytes
from ringfort.drill.netfilter import Netfilter
from ringfort.drill.result import Observation
from ringfort.environment import topology
from ringfort.environment.model import Address, Environment, Host
from ringfort.environment.topology import SANDBOX_UPLINK, Device, DeviceKind, device_of
from ringfort.lab.lab import Lab
from ringfort.network import reasons

SETTLE_SECONDS = 0.15
_ALL_ETHERNET = 3  # ETH_P_ALL, linux/if_ether.h
_EVERYBODY = b"\xff" * 6
_ALL_NODES, _ALL_NODES_MAC = IPv6Address("ff02::1"), b"\x33\x33\0\0\0\x01"
_ROUTER_ADVERTISEMENT, _SOLICITATION, _ADVERTISEMENT = 134, 135, 136  # RFC 4861, 4


def observe(lab: Lab, guest: str, *, escaped: bool) -> Observation | None:
    """Send them all in the name of an instance; from its hypervisor, past the sandbox, when that is ``escaped``.

    Returns:
        None where the instance has no neighbour to hear it.
    """
    host = lab.environment.hosts[guest]
    others = [name for name in lab.environment.hosts_by_segment[host.segment] if name != guest]
    if not others:
        return None
    sent = list(frames(lab.environment, host, lab.environment.hosts[others[0]]))
    switch = Device(DeviceKind.SWITCH, host.segment)
    place = (device_of(host), SANDBOX_UPLINK) if escaped else (Device(DeviceKind.HOST, guest), topology.HOST_INTERFACE)
    with ExitStack() as stack:
        counters = Counters(stack.enter_context(Netfilter(lab, [switch])))
        ears = [stack.enter_context(_listen(lab, *ear)) for ear in _ears(lab, host, others)]
        before = _refused(counters, switch)
        with _open(lab, *place, protocol=0) as mouth:
            for frame in sent:
                mouth.send(frame)
        time.sleep(SETTLE_SECONDS)
        heard = sum(data in sent for ear in ears for data in _heard(ear))
        refused = _refused(counters, switch) - before
    where = f"from {guest}, past its sandbox," if escaped else f"from inside {guest}"
    words = (
        f"{len(sent)} frames {where} that claim the gateway, a neighbour, a router or a bridge: {heard} were heard by "
        f"{len(ears)} stations, the switch refused {refused}"
    )
    return Observation("a guest's link", heard == 0 and (refused > 0) is escaped, words)


def frames(environment: Environment, guest: Host, neighbour: Host) -> Iterator[bytes]:
    """ARP and neighbour discovery as the gateway and as a neighbour, a router advertisement, a bridge's hello."""
    gateways = topology.gateway_addresses(environment, guest.segment)
    own = mac_bytes(guest.mac)
    for claimed in (*gateways, *neighbour.addresses):
        for mac in (own, mac_bytes(neighbour.mac)):
            if claimed.version == 4:
                yield _arp(mac, claimed)
            else:
                yield from (_discovery(mac, kind, claimed) for kind in (_SOLICITATION, _ADVERTISEMENT))
    yield _discovery(own, _ROUTER_ADVERTISEMENT, IPv6Address("fe80::66"))
    yield b"\x01\x80\xc2\0\0\0" + own + b"\x00\x26\x42\x42\x03" + bytes(60)  # spanning tree (IEEE 802.1D, 9)


def _arp(mac: bytes, claimed: Address) -> bytes:
    """An unasked reply to everybody: ``claimed`` is at ``mac`` (RFC 826)."""
    return _EVERYBODY + mac + b"\x08\x06\0\x01\x08\0\x06\x04\0\x02" + mac + claimed.packed + _EVERYBODY + claimed.packed


def _discovery(mac: bytes, kind: int, claimed: Address) -> bytes:
    target = bytes(12) if kind == _ROUTER_ADVERTISEMENT else b"\xa0\0\0\0" + claimed.packed
    body = bytes([kind, 0, 0, 0]) + target
    pseudo = claimed.packed + _ALL_NODES.packed + len(body).to_bytes(4) + bytes(3) + b"\x3a"
    body = body[:2] + checksum(pseudo + body).to_bytes(2) + body[4:]
    head = b"\x60\0\0\0" + len(body).to_bytes(2) + b"\x3a\xff" + claimed.packed + _ALL_NODES.packed
    return _ALL_NODES_MAC + mac + b"\x86\xdd" + head + body


def _ears(lab: Lab, guest: Host, others: list[str]) -> Iterator[tuple[Device, str]]:
    """Where the segment's other stations hear: hosts, what guards instances, and the active router."""
    for name in others:
        device = device_of(lab.environment.hosts[name])
        yield device, SANDBOX_UPLINK if device.kind is DeviceKind.SANDBOX else topology.HOST_INTERFACE
    leg = next(leg for leg in topology.legs(lab.environment, guest.site) if leg.peer == guest.segment)
    yield Device(DeviceKind.ROUTER, lab.active()[guest.site]), leg.interface


def _listen(lab: Lab, device: Device, interface: str) -> socket.socket:
    opened = _open(lab, device, interface, protocol=_ALL_ETHERNET)
    opened.setblocking(False)
    return opened


def _open(lab: Lab, device: Device, interface: str, *, protocol: int) -> socket.socket:
    with lab.inside(device):
        opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(protocol))
    opened.bind((interface, protocol))
    return opened


def _heard(ear: socket.socket) -> Iterator[bytes]:
    while True:
        try:
            yield ear.recv(2048)
        except BlockingIOError:
            return


def _refused(counters: Counters, switch: Device) -> int:
    known = {reason.name for reason in reasons.SWITCH_REASONS}
    return sum(packets for name, packets in counters.read(switch).items() if name in known)
