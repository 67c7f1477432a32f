"""Makes a guest's random numbers and clock its own, before anything depends on them.

Clones of a snapshot have the same state in the kernel's random generator and go on to give the same bytes. What the
host gives is mixed in (RNDADDENTROPY) and the generator's key is made anew from it at once (RNDRESEEDCRNG, which also
ends what processors keep in stock); random(4).
"""

from __future__ import annotations

import fcntl
import os
import struct
import time

RNDADDENTROPY, RNDRESEEDCRNG = 0x40085203, 0x5207  # linux/random.h
LEAST_BYTES = 32


def reseed(entropy: bytes) -> None:
    """Mix ``entropy`` into the kernel's random generator and make its key anew.

    Raises:
        ValueError: that are less than 32 bytes.
        OSError: the kernel refuses.
    """
    if len(entropy) < LEAST_BYTES:
        raise ValueError(f"{len(entropy)} bytes are too little to tell clones apart")
    device = os.open("/dev/urandom", os.O_RDWR)
    try:
        fcntl.ioctl(device, RNDADDENTROPY, struct.pack("ii", len(entropy) * 8, len(entropy)) + entropy)
        fcntl.ioctl(device, RNDRESEEDCRNG)
    finally:
        os.close(device)


def set_clock(nanoseconds: int) -> None:
    """Set the time of day, in nanoseconds since the epoch."""
    time.clock_settime_ns(time.CLOCK_REALTIME, nanoseconds)
