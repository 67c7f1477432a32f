"""The guest's virtio devices: found by their names, let go of before a snapshot, taken again after it.

A driver that takes a device reads everything about it anew: the disk's size, the network card's address. So a restored
guest has the devices of the instance that it became, and nothing of them is left from before.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from ringfort.compute.guest.system import read, write

BLOCK_DRIVER, NET_DRIVER = "virtio_blk", "virtio_net"
PATIENCE_SECONDS = 5.0


def disk(serial: str) -> str:
    """The device of the disk with a serial number, like ``/dev/vda``; empty when there is none."""
    for entry in sorted(Path("/sys/block").iterdir()):
        if read(f"{entry}/serial") == serial:
            return f"/dev/{entry.name}"
    return ""


def port(name: str) -> str:
    """The device of a virtio-serial port by its name; empty when there is none."""
    for entry in sorted(Path("/sys/class/virtio-ports").iterdir()):
        if read(f"{entry}/name") == name:
            return f"/dev/{entry.name}"
    return ""


def let_go(keep: str) -> dict[str, str]:
    """Take the drivers off the network card and all disks but ``keep``; each device with its driver."""
    left = {}
    for entry in sorted(Path("/sys/block").glob("vd*")):
        if f"/dev/{entry.name}" != keep:
            left[os.path.basename(os.readlink(entry / "device"))] = BLOCK_DRIVER
    for entry in sorted(Path("/sys/class/net").glob("eth*")):
        left[os.path.basename(os.readlink(entry / "device"))] = NET_DRIVER
    for device, driver in left.items():
        write(f"/sys/bus/virtio/drivers/{driver}/unbind", device)
    return left


def take(devices: dict[str, str]) -> None:
    """Give the devices their drivers again, and wait for what they bring.

    Raises:
        OSError: a driver doesn't want its device.
        TimeoutError: a disk's node doesn't appear.
    """
    for device, driver in devices.items():
        write(f"/sys/bus/virtio/drivers/{driver}/bind", device)
    until = time.monotonic() + PATIENCE_SECONDS
    while any(not Path("/dev", entry.name).exists() for entry in Path("/sys/block").glob("vd*")):
        if time.monotonic() > until:
            raise TimeoutError("a disk has no device node")
        time.sleep(0.005)
