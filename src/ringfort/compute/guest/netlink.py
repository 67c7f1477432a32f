"""Addresses, routes and neighbours over rtnetlink(7): what ``ip`` would do, without a program for it in the guest."""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from dataclasses import dataclass

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_NEWLINK, _NEWADDR, _NEWROUTE, _NEWNEIGH = 16, 20, 24, 28  # linux/rtnetlink.h
_REQUEST, _ACK, _REPLACE, _CREATE = 1, 4, 0x100, 0x400
_UP = 1  # IFF_UP
_PERMANENT = 0x80  # NUD_PERMANENT
_ONLINK = 4  # RTNH_F_ONLINK
_NODAD = 2  # IFA_F_NODAD

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Network:
    """What a guest's network card gets.

    Args:
        addresses: with their prefix, like ``10.0.0.5/32``.
        gateways: at most one of each family; the default routes.
        gateway_mac: whose frames those are; empty to find out on the wire.
    """

    addresses: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    gateway_mac: str = ""


def configure(interface: str, network: Network) -> None:
    """Bring up the loopback and, with its addresses and routes, the network card.

    Raises:
        OSError: the kernel refuses.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as connection:
        connection.bind((0, 0))
        _up(connection, socket.if_nametoindex("lo"))
        if not os.path.exists(f"/sys/class/net/{interface}"):
            return
        index = socket.if_nametoindex(interface)
        _up(connection, index)
        for text in network.addresses:
            _address(connection, index, ipaddress.ip_interface(text))
        for text in network.gateways:
            gateway = ipaddress.ip_address(text)
            if network.gateway_mac:
                _neighbour(connection, index, gateway, bytes.fromhex(network.gateway_mac.replace(":", "")))
            _default(connection, index, gateway)


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", len(value) + 4, kind) + value + bytes(-len(value) % 4)


def _ask(connection: socket.socket, kind: int, body: bytes) -> None:
    flags = _REQUEST | _ACK | _CREATE | _REPLACE if kind != _NEWLINK else _REQUEST | _ACK
    connection.send(_HEADER.pack(_HEADER.size + len(body), kind, flags, 1, 0) + body)
    answer = connection.recv(65536)
    error = -struct.unpack_from("=i", answer, _HEADER.size)[0]
    if error:
        raise OSError(error, f"the kernel refuses message {kind}: {os.strerror(error)}")


def _family(address: Address) -> int:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


def _up(connection: socket.socket, index: int) -> None:
    _ask(connection, _NEWLINK, struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, _UP, _UP))


def _address(connection: socket.socket, index: int, address: ipaddress.IPv4Interface | ipaddress.IPv6Interface) -> None:
    head = struct.pack("=BBBBI", _family(address.ip), address.network.prefixlen, _NODAD, 0, index)
    _ask(connection, _NEWADDR, head + _attribute(2, address.ip.packed) + _attribute(1, address.ip.packed))


def _neighbour(connection: socket.socket, index: int, address: Address, mac: bytes) -> None:
    head = struct.pack("=BxxxiHBB", _family(address), index, _PERMANENT, 0, 0)
    _ask(connection, _NEWNEIGH, head + _attribute(1, address.packed) + _attribute(2, mac))


def _default(connection: socket.socket, index: int, gateway: Address) -> None:
    # Table main, protocol static, scope universe, type unicast.
    head = struct.pack("=BBBBBBBBI", _family(gateway), 0, 0, 0, 254, 4, 0, 1, _ONLINK)
    _ask(connection, _NEWROUTE, head + _attribute(5, gateway.packed) + _attribute(4, struct.pack("=I", index)))
