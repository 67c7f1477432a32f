"""What connection tracking says about a packet, the same on routers and hosts."""

from __future__ import annotations

from ringfort.network import nft, reasons
from ringfort.network.nft import Statement
from ringfort.network.table import TableBuilder


def by_state(table: TableBuilder) -> Statement:
    """Replies and ICMP errors of accepted connections pass, what is new goes on, everything else is refused."""
    invalid = table.refuse(reasons.INVALID)
    states = (("established", nft.ACCEPT), ("related", nft.ACCEPT), ("invalid", invalid), ("untracked", invalid))
    return nft.vmap(nft.ct("state"), states)
