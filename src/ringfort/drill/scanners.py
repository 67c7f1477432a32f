"""Routers forget whom they refused: every set that packets fill is emptied, in one message."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from ringfort.drill.netfilter import ACKNOWLEDGE, REQUEST, Netfilter, attributes, message, messages, text
from ringfort.environment.topology import Device

_GET_SET, _NEW_SET, _DELETE_ELEMENTS = 10, 10 << 8 | 9, 14  # NFT_MSG_*, the second with NFNL_SUBSYS_NFTABLES
_TABLE, _NAME, _FLAGS = 1, 2, 3  # NFTA_SET_*, and of these _TABLE and _NAME are NFTA_SET_ELEM_LIST_* too
_DYNAMIC = 0x20  # NFT_SET_EVAL
_NFGENMSG = 4


class Scanners:
    """Empties the sets that packets fill: scanners, counts of refusals and of connections."""

    def __init__(self, netfilter: Netfilter) -> None:
        self._netfilter = netfilter
        self._known: dict[Device, list[bytes]] = {}

    def rules_changed(self) -> None:
        """To be called when a device may have other sets than before."""
        self._known.clear()

    def forget(self, device: Device) -> None:
        """Empty all of a device's sets that packets fill.

        Raises:
            RingfortError: the kernel refuses.
        """
        if device not in self._known:
            self._known[device] = list(self._flushes(device))
        if self._known[device]:
            self._netfilter.change(device, self._known[device])

    def _flushes(self, device: Device) -> Iterator[bytes]:
        for part in self._netfilter.dump(device, _GET_SET):
            for kind, body in messages(part):
                if kind != _NEW_SET:
                    continue
                values = {what: body[begin:end] for what, begin, end in attributes(body, _NFGENMSG, len(body))}
                if struct.unpack("!I", values.get(_FLAGS, bytes(4)))[0] & _DYNAMIC:
                    # Without elements it means all of them (nf_tables_delsetelem).
                    named = text(_TABLE, _text(values[_TABLE])) + text(_NAME, _text(values[_NAME]))
                    yield message(_DELETE_ELEMENTS, REQUEST | ACKNOWLEDGE, named, family=body[0])


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode()
