"""A tap device, opened in the network namespace that it belongs to; whoever holds the descriptor is on the wire."""

from __future__ import annotations

import fcntl
import os
import struct

from ringfort.compute.errors import SandboxError
from ringfort.kernel.netns import inside

_TUNSETIFF = 0x400454CA  # linux/if_tun.h
_TAP, _NO_PACKET_INFORMATION, _VNET_HEADER = 0x0002, 0x1000, 0x4000


def open_tap(namespace: str, name: str) -> int:
    """A descriptor of the tap ``name``, which is made if it isn't there and goes with the descriptor then.

    Raises:
        SandboxError: the kernel refuses, for example because somebody else holds it.
    """
    flags = _TAP | _NO_PACKET_INFORMATION | _VNET_HEADER
    with inside(namespace):
        descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
        except OSError as error:
            os.close(descriptor)
            raise SandboxError("sandbox-tap", f"the tap {name} can't be opened: {error.strerror}") from error
    return descriptor
