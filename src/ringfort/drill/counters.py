"""Named counters of many devices, quickly: a drill reads them tens of thousands of times."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from functools import cache

from ringfort.drill.netfilter import Netfilter, attribute, attributes, messages, text
from ringfort.environment.topology import Device

_GET_OBJECT = 19  # NFT_MSG_GETOBJ
_OBJECT = 10 << 8 | 18  # NFNL_SUBSYS_NFTABLES, NFT_MSG_NEWOBJ: how it answers
_NAME, _TYPE, _DATA = 2, 3, 4  # NFTA_OBJ_*
_PACKETS = 2  # NFTA_COUNTER_PACKETS
_COUNTERS = attribute(_TYPE, struct.pack("!I", 1))  # NFT_OBJECT_COUNTER
_NFGENMSG = 4


class Counters:
    """Reads the named counters of a lab's devices."""

    def __init__(self, netfilter: Netfilter) -> None:
        self._netfilter = netfilter

    def read(self, device: Device) -> dict[str, int]:
        """Packets of each named counter; nothing when the device has no rules.

        Raises:
            RingfortError: the kernel refuses.
        """
        found: dict[str, int] = {}
        for part in self._netfilter.dump(device, _GET_OBJECT, _COUNTERS):
            for kind, body in messages(part):
                if kind == _OBJECT:
                    found |= dict(_counter(body))
        return found

    def among(self, device: Device, names: Collection[str]) -> Iterator[tuple[str, int]]:
        """Packets of some named counters, those that the device has. Only these are looked at: a router has hundreds.

        Raises:
            RingfortError: the kernel refuses.
        """
        for part in self._netfilter.dump(device, _GET_OBJECT, _COUNTERS):
            for name in names:
                at = part.find(_pattern(name))
                if at >= 0:
                    yield name, _packets(part, at, len(part))


@cache
def _pattern(name: str) -> bytes:
    return text(_NAME, name)


def _counter(body: bytes) -> Iterator[tuple[str, int]]:
    """Name and packets of one object."""
    for kind, begin, end in attributes(body, _NFGENMSG, len(body)):
        if kind == _NAME:
            yield body[begin : end - 1].decode(), _packets(body, begin - 4, len(body))


def _packets(data: bytes, at: int, end: int) -> int:
    """The packets of the counter whose name's attribute is at ``at``: its data follow its name."""
    for kind, begin, stop in attributes(data, at, end):
        if kind == _DATA:
            for what, first, last in attributes(data, begin, stop):
                if what == _PACKETS:
                    return int.from_bytes(data[first:last])
    return 0
