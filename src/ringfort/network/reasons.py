"""Why a device refuses a packet. Each reason has a counter called after it, a chain and a log prefix.

The chain is ``refused-REASON``, the log prefix ``ringfort REASON: ``; packets go to nflog group `LOG_GROUP`.
"""

from __future__ import annotations

from dataclasses import dataclass

LOG_GROUP = 5
"""The nflog group (NETLINK_NETFILTER) that gets every refused packet."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason of refusing. ``meaning`` completes the sentence "refused, because ..."."""

    name: str
    meaning: str

    @property
    def chain(self) -> str:
        """The chain that counts, logs and drops."""
        return f"refused-{self.name}"

    @property
    def log_prefix(self) -> str:
        """What a logged packet begins with."""
        return f"ringfort {self.name}: "


UNKNOWN_INTERFACE = Reason("unknown-interface", "the environment knows no such interface")
SPOOFED = Reason("spoofed", "the source address or MAC does not belong to the interface")
BOGON = Reason("bogon", "the source is never a true one on the internet")
INVALID = Reason("invalid", "it belongs to no connection and starts none")
SCANNER = Reason("scanner", "the source was refused too often")
CONNECTION_LIMIT = Reason("connection-limit", "the source holds too many connections")
UNDECLARED = Reason("undeclared", "no flow declares it")
TO_ROUTER = Reason("to-router", "routers serve nothing")
FROM_ROUTER = Reason("from-router", "routers call nobody")
NEIGHBOUR = Reason("neighbour", "hosts speak with their gateway only")
UNDECLARED_OUT = Reason("undeclared-out", "no flow lets this host send it")
UNDELIVERABLE = Reason("undeliverable", "the destination address or MAC does not belong to the port")
DISCOVERY = Reason("discovery", "neighbours are configured, not discovered")
SWITCH_ITSELF = Reason("switch-itself", "switches neither serve nor call")
LINK_LOCAL = Reason("link-local", "guests have no business with link-local and metadata addresses")
SANDBOX_ITSELF = Reason("sandbox-itself", "sandboxes neither serve nor call")

ROUTER_REASONS = (
    UNKNOWN_INTERFACE, SPOOFED, BOGON, INVALID, SCANNER, CONNECTION_LIMIT, UNDECLARED, TO_ROUTER, FROM_ROUTER,
)  # fmt: skip
SWITCH_REASONS = (SPOOFED, NEIGHBOUR, DISCOVERY, UNDELIVERABLE, SWITCH_ITSELF)
HOST_REASONS = (UNKNOWN_INTERFACE, NEIGHBOUR, INVALID, UNDECLARED, UNDECLARED_OUT)
SANDBOX_REASONS = (
    UNKNOWN_INTERFACE, SPOOFED, LINK_LOCAL, NEIGHBOUR, INVALID, UNDECLARED, UNDECLARED_OUT, SANDBOX_ITSELF,
)  # fmt: skip
