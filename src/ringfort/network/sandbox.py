"""The ruleset of a sandbox: what a guest may send and be sent, decided on its hypervisor, outside its reach.

A sandbox stands between the guest's interface and the guest's port of the segment's switch, and it routes: no frame of
the guest's goes on, only packets, in frames of the sandbox's own. So a guest's MAC address, ARP, neighbour discovery,
router advertisements and any other protocol of its link end here, whatever they say; what is left to judge is packets,
and connections can be followed, which Linux does in its bridges only where it was built to.

1. ``antispoofing``, before defragmentation and connection tracking: the guest's own MAC and address, nothing for
   link-local and metadata addresses; from the segment only the gateway's frames.
2. ``forward``: replies by connection state, new connections by one look-up in each direction.
3. ``input`` and ``output``: a sandbox serves nothing and says nothing.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

from ringfort.environment.model import Host, Network
from ringfort.environment.topology import SANDBOX_GUEST, SANDBOX_UPLINK, gateway_mac
from ringfort.network import nft, reasons
from ringfort.network.entries import Entries, look_up
from ringfort.network.families import families_of
from ringfort.network.nft import Json
from ringfort.network.own_flows import callees, callers
from ringfort.network.plan import Plan
from ringfort.network.reasons import Reason
from ringfort.network.router import BEFORE_DEFRAGMENTATION
from ringfort.network.states import by_state
from ringfort.network.table import TableBuilder

LINK_LOCAL: tuple[Network, ...] = (IPv4Network("169.254.0.0/16"), IPv6Network("fe80::/10"))
"""RFC 3927; RFC 4291, 2.5.6. Clouds answer for their metadata at 169.254.169.254."""


def sandbox_table(plan: Plan, name: str) -> Json:
    """The document that the sandbox of the instance ``name`` loads."""
    return _Sandbox(plan, plan.environment.hosts[name]).document()


class _Sandbox:
    def __init__(self, plan: Plan, host: Host) -> None:
        self.plan, self.host = plan, host
        self.table = TableBuilder("inet")
        self.families = families_of(host.addresses)
        self.used: set[str] = set()

    def document(self) -> Json:
        self._antispoofing()
        self._forward()
        for hook, interface in (("input", "iifname"), ("output", "oifname")):
            chain = self.table.base_chain(hook, hook, 0)
            self.table.rule(chain, nft.match(nft.meta(interface), "lo"), nft.ACCEPT)
            self.table.rule(chain, self.table.refuse(reasons.SANDBOX_ITSELF))
        for chain in sorted(self.used):
            self.table.flow(chain, self.plan.comment(chain), nft.ACCEPT)
        return self.table.document()

    def _antispoofing(self) -> None:
        table = self.table
        chain = table.base_chain("antispoofing", "prerouting", BEFORE_DEFRAGMENTATION)
        gateway = nft.match(nft.payload("ether", "saddr"), gateway_mac(self.plan.environment, self.host.segment))
        table.rule(chain, nft.match(nft.meta("iifname"), SANDBOX_UPLINK), gateway, nft.ACCEPT)
        ways = (
            ("lo", nft.ACCEPT),
            (SANDBOX_GUEST, nft.goto("from-guest")),
            (SANDBOX_UPLINK, table.refuse(reasons.NEIGHBOUR)),
        )
        table.rule(chain, nft.vmap(nft.meta("iifname"), ways))
        table.rule(chain, table.refuse(reasons.UNKNOWN_INTERFACE))
        guest = table.chain("from-guest")
        for family in self.families:
            name = table.set(
                family.named("link-local"),
                (family.address_type,),
                [nft.network(network) for network in family.networks(LINK_LOCAL)],
                flags=("interval",),
                comment="link-local and metadata addresses",
            )
            there = nft.payload(family.header, "daddr")
            table.rule(guest, nft.match(there, name), table.refuse(reasons.LINK_LOCAL))
        for family in self.families:
            own = [text for version, text in self.plan.addresses(self.host) if version == family.version]
            name = table.set(
                family.named("bound"),
                ("ether_addr", family.address_type),
                [nft.commented(nft.concat(self.host.mac, address), self.host.name) for address in own],
                comment="the guest: MAC and address",
            )
            key = nft.concat(nft.payload("ether", "saddr"), nft.payload(family.header, "saddr"))
            table.rule(guest, nft.match(key, name), nft.ACCEPT)
        table.rule(guest, table.refuse(reasons.SPOOFED))

    def _forward(self) -> None:
        table = self.table
        chain = table.base_chain("forward", "forward", 0)
        iif, oif = nft.meta("iifname"), nft.meta("oifname")
        table.rule(chain, nft.match(iif, SANDBOX_GUEST), nft.match(oif, SANDBOX_UPLINK), nft.goto("from-inside"))
        table.rule(chain, nft.match(iif, SANDBOX_UPLINK), nft.match(oif, SANDBOX_GUEST), nft.goto("to-inside"))
        table.rule(chain, table.refuse(reasons.SANDBOX_ITSELF))
        self._way("from-inside", callees(self.plan, self.host), "outgoing", reasons.UNDECLARED_OUT)
        self._way("to-inside", callers(self.plan, self.host), "incoming", reasons.UNDECLARED)

    def _way(self, name: str, entries: dict[int, Entries], prefix: str, reason: Reason) -> None:
        chain = self.table.chain(name)
        self.table.rule(chain, by_state(self.table))
        what = f"flows {'from' if prefix == 'outgoing' else 'to'} this guest"
        for family in self.families:
            own = entries[family.version]
            self.used |= own.chains()
            look_up(self.table, chain, family, own, prefix, what)
        self.table.rule(chain, self.table.refuse(reason))
