"""A tun device in this process's network namespace: packets without a wire. It goes when its descriptor is closed."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from ipaddress import IPv4Interface

_TUNSETIFF = 0x400454CA  # linux/if_tun.h
_TUN, _NO_PACKET_INFORMATION = 0x0001, 0x1000
_SIOCSIFADDR, _SIOCSIFNETMASK, _SIOCSIFFLAGS = 0x8916, 0x891C, 0x8914  # linux/sockios.h
_UP, _RUNNING = 0x1, 0x40  # linux/if.h


def open_tun(name: str, address: IPv4Interface) -> int:
    """A descriptor of the device ``name``, which is made, has this address, and is up.

    Raises:
        OSError: the kernel refuses, for example because another process holds it.
    """
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _TUN | _NO_PACKET_INFORMATION))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            for request, value in ((_SIOCSIFADDR, address.ip), (_SIOCSIFNETMASK, address.netmask)):
                place = struct.pack("HH4s8x", socket.AF_INET, 0, value.packed)
                fcntl.ioctl(control, request, struct.pack("16s16s8x", name.encode(), place))
            fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH22x", name.encode(), _UP | _RUNNING))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
