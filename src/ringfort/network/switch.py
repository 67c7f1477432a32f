"""The ruleset of a segment's switch: each port speaks for its own host, and with the gateway only. Stateless.

Floating addresses are at the ports of all hosts that may hold them, under a MAC address of their own.

Connection tracking does not exist in the bridge family of the kernels we support, and is not needed: a port's MAC and
address are the whole question. Fragments carry both.
"""

from __future__ import annotations

from ringfort.environment.floating import ports_of
from ringfort.environment.model import Address
from ringfort.environment.topology import gateway_addresses, gateway_mac, ports
from ringfort.network import nft, reasons
from ringfort.network.families import Family, families_of
from ringfort.network.nft import Json
from ringfort.network.plan import Plan
from ringfort.network.table import TableBuilder

BEFORE_LEARNING = -300
"""NF_BR_PRI_NAT_DST_BRIDGED: the bridge learns a MAC address after this hook, so a spoofed one is never learnt."""

FILTER = -200
"""NF_BR_PRI_FILTER_BRIDGED."""

NEIGHBOUR_DISCOVERY = (
    "nd-router-solicit", "nd-router-advert", "nd-neighbor-solicit", "nd-neighbor-advert", "nd-redirect",
)  # fmt: skip


def switch_table(plan: Plan, segment: str) -> Json:
    """The document that the switch of ``segment`` loads."""
    return _Switch(plan, segment).document()


class _Switch:
    def __init__(self, plan: Plan, segment: str) -> None:
        self.plan = plan
        self.hosts = plan.hosts(segment)
        self.routers = [port.interface for port in ports(plan.environment, segment) if port.router]
        self.gateway = gateway_mac(plan.environment, segment)
        self.gateways: tuple[Address, ...] = gateway_addresses(plan.environment, segment)
        self.families = families_of(plan.environment.segments[segment].networks)
        self.table = TableBuilder("bridge")
        self.bound: dict[int, str] = {}

    def document(self) -> Json:
        self._sets()
        self._before_learning()
        self._forward()
        for hook in ("input", "output"):
            self.table.rule(self.table.base_chain(hook, hook, FILTER), self.table.refuse(reasons.SWITCH_ITSELF))
        return self.table.document()

    def _sets(self) -> None:
        table = self.table
        macs = [nft.concat(port, self.gateway) for port in self.routers]
        macs += [nft.commented(nft.concat(port, host.mac), host.name) for host in self.hosts for port in ports_of(host)]
        self.macs = table.set("macs", ("ifname", "ether_addr"), macs, comment="the MAC address of each port")
        self.router_ports = table.set(
            "router-ports", ("ifname",), self.routers, comment="the ports of the site's routers"
        )
        for family in self.families:
            elements = [
                nft.commented(nft.concat(port, host.mac, address), host.name)
                for host in self.hosts
                for port in ports_of(host)
                for version, address in self.plan.addresses(host)
                if version == family.version
            ]
            types = ("ifname", "ether_addr", family.address_type)
            what = "the hosts: port, MAC and address"
            self.bound[family.version] = table.set(family.named("bound"), types, elements, comment=what)

    def _before_learning(self) -> None:
        chain = self.table.base_chain("learning", "prerouting", BEFORE_LEARNING)
        key = nft.concat(nft.meta("iifname"), nft.payload("ether", "saddr"))
        self.table.rule(chain, nft.match(key, self.macs), nft.ACCEPT)
        self.table.rule(chain, self.table.refuse(reasons.SPOOFED))

    def _forward(self) -> None:
        table = self.table
        chain = table.base_chain("forward", "forward", FILTER)
        to_router = nft.match(nft.meta("oifname"), self.router_ports)
        to_gateway = nft.match(nft.payload("ether", "daddr"), self.gateway)
        table.rule(chain, nft.match(nft.meta("iifname"), self.router_ports), nft.goto("from-router"))
        table.rule(chain, to_router, to_gateway, nft.goto("from-host"))
        table.rule(chain, to_router, nft.match(nft.payload("ether", "type"), "arp"), nft.goto("from-host"))
        table.rule(chain, table.refuse(reasons.NEIGHBOUR))
        self._from_host()
        self._from_router()

    def _from_host(self) -> None:
        table, chain = self.table, self.table.chain("from-host")
        port, mac = nft.meta("iifname"), nft.payload("ether", "saddr")
        versions = {family.version for family in self.families}
        if 6 in versions:
            discovery = nft.one_of(nft.payload("icmpv6", "type"), NEIGHBOUR_DISCOVERY)
            table.rule(chain, discovery, table.refuse(reasons.DISCOVERY))
        for family in self.families:
            key = nft.concat(port, mac, nft.payload(family.header, "saddr"))
            table.rule(chain, nft.match(key, self.bound[family.version]), nft.ACCEPT)
        if 4 in versions:
            said = nft.payload("arp", "saddr ip")
            bodies = (nft.concat(port, mac, said), nft.concat(port, nft.payload("arp", "saddr ether"), said))
            frame, body = (nft.match(key, self.bound[4]) for key in bodies)
            table.rule(chain, frame, body, nft.ACCEPT, comment="ARP, for the port's own MAC and address")
        table.rule(chain, table.refuse(reasons.SPOOFED))

    def _from_router(self) -> None:
        table, chain = self.table, self.table.chain("from-router")
        mac = nft.payload("ether", "saddr")
        table.rule(chain, nft.match(mac, self.gateway), nft.goto("from-gateway"))
        table.rule(chain, table.refuse(reasons.SPOOFED))
        new = table.chain("from-gateway")
        for family in self.families:
            key = self._delivery(family)
            table.rule(new, nft.match(key, self.bound[family.version]), nft.ACCEPT)
        for address in self.gateways:
            if address.version == 4:
                sender = nft.match(nft.payload("arp", "saddr ether"), self.gateway)
                claim = nft.match(nft.payload("arp", "saddr ip"), str(address))
                table.rule(new, sender, claim, nft.ACCEPT, comment="ARP, for the gateway's own MAC and address")
        table.rule(new, table.refuse(reasons.UNDELIVERABLE))

    def _delivery(self, family: Family) -> Json:
        return nft.concat(nft.meta("oifname"), nft.payload("ether", "daddr"), nft.payload(family.header, "daddr"))
