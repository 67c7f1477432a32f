"""The ruleset of a host: in and out, only what its own flows declare.

Everything must come from the gateway's MAC address, so that a neighbour that got around the switch is refused even
before its source address is looked at.
"""

from __future__ import annotations

from ringfort.environment.floating import interface_of, signs_of
from ringfort.environment.model import Host
from ringfort.environment.topology import HOST_INTERFACE, gateway_mac
from ringfort.network import nft, reasons
from ringfort.network.entries import Entries, look_up
from ringfort.network.families import Family, families_of
from ringfort.network.nft import Json
from ringfort.network.own_flows import callees, callers
from ringfort.network.plan import Plan
from ringfort.network.states import by_state
from ringfort.network.table import TableBuilder

VRRP = "vrrp"
"""Protocol 112 (RFC 9568, 5.1.1.4), as nft names it."""


def host_table(plan: Plan, name: str) -> Json:
    """The document that the host ``name`` loads."""
    return _Host(plan, plan.environment.hosts[name]).document()


class _Host:
    def __init__(self, plan: Plan, host: Host) -> None:
        self.plan, self.host = plan, host
        self.table = TableBuilder("inet")
        self.families = families_of(host.addresses)
        self.held = plan.held_by(host)
        self.used: set[str] = set()

    def document(self) -> Json:
        self._incoming()
        self._outgoing()
        for chain in sorted(self.used):
            self.table.flow(chain, self.plan.comment(chain), nft.ACCEPT)
        return self.table.document()

    def _incoming(self) -> None:
        table = self.table
        chain = table.base_chain("input", "input", 0)
        here = nft.match(nft.meta("iifname"), self._interfaces())
        gateway = gateway_mac(self.plan.environment, self.host.segment)
        table.rule(chain, nft.match(nft.meta("iifname"), "lo"), nft.ACCEPT)
        self._signs(chain, "iifname")
        table.rule(chain, here, nft.match(nft.payload("ether", "saddr"), gateway), nft.goto("from-gateway"))
        table.rule(chain, here, table.refuse(reasons.NEIGHBOUR))
        table.rule(chain, table.refuse(reasons.UNKNOWN_INTERFACE))
        new = table.chain("from-gateway")
        table.rule(new, by_state(table))
        self._look_up(new, callers(self.plan, self.host), "incoming", "flows to this host")
        for family in self.families:
            self._public(new, family)
        table.rule(new, table.refuse(reasons.UNDECLARED))

    def _outgoing(self) -> None:
        table = self.table
        chain = table.base_chain("output", "output", 0)
        table.rule(chain, nft.match(nft.meta("oifname"), "lo"), nft.ACCEPT)
        self._signs(chain, "oifname")
        table.rule(chain, nft.match(nft.meta("oifname"), self._interfaces()), nft.goto("to-gateway"))
        table.rule(chain, table.refuse(reasons.UNKNOWN_INTERFACE))
        new = table.chain("to-gateway")
        table.rule(new, by_state(table))
        self._look_up(new, callees(self.plan, self.host), "outgoing", "flows from this host")
        table.rule(new, table.refuse(reasons.UNDECLARED_OUT))

    def _interfaces(self) -> Json:
        """The host's own interface, and those of floating addresses that it may hold."""
        names = [HOST_INTERFACE, *(interface_of(held) for held in self.held)]
        return {"set": names} if self.held else HOST_INTERFACE

    def _signs(self, chain: str, end: str) -> None:
        """VRRP's signs of life stay in this host: they go on under mutual TLS, over a flow of their own."""
        for held in self.held:
            signs, vrrp = nft.match(nft.meta(end), signs_of(held)), nft.match(nft.meta("l4proto"), VRRP)
            counted = self.table.counter("signs", "signs of life about floating addresses, inside this host")
            self.table.rule(chain, signs, vrrp, counted, nft.ACCEPT, comment=f"signs of life about {held.name}")

    def _look_up(self, chain: str, entries: dict[int, Entries], prefix: str, what: str) -> None:
        for family in self.families:
            own = entries[family.version]
            self.used |= own.chains()
            look_up(self.table, chain, family, own, prefix, what)

    def _public(self, chain: str, family: Family) -> None:
        """Internet flows: any source that the internet can have, to what is published of this host."""
        ends = {end.name: end for end in (self.host, *self.held)}
        published = [p for name in ends for p in self.plan.published_by_host[name]]
        own = [p for p in published if p.address.version == family.version]
        if not own:
            return
        services = self.plan.environment.services
        flows = {p.service: self.plan.chains[self.plan.internet_flows[p.service].name] for p in own}
        self.used |= set(flows.values())
        outside = self._outside(family)
        at = {
            name: text
            for name, end in ends.items()
            for version, text in self.plan.addresses(end)
            if version == family.version
        }
        ported = {
            (at[p.host], services[p.service].protocol.value, p.target_port): flows[p.service] for p in own if p.port
        }
        destination = nft.payload(family.header, "daddr")
        if ported:
            name = self.table.map(
                family.named("public"),
                (family.address_type, "inet_proto", "inet_service"),
                [(nft.concat(*key), nft.goto(flow)) for key, flow in sorted(ported.items())],
                comment="what the internet may call",
            )
            key = nft.concat(destination, nft.meta("l4proto"), nft.payload("th", "dport"))
            self.table.rule(chain, outside, nft.vmap(key, name))
        echoes = sorted({(at[p.host], flows[p.service]) for p in own if not p.port}, key=lambda one: one[1])
        for address, flow in dict(reversed(echoes)).items():
            echo = nft.match(nft.payload(family.echo, "type"), "echo-request")
            self.table.rule(chain, echo, outside, nft.match(destination, address), nft.goto(flow))

    def _outside(self, family: Family) -> nft.Statement:
        name = self.table.set(
            family.named("never-internet"),
            (family.address_type,),
            [nft.network(network) for network in self.plan.never_internet(family)],
            flags=("interval",),
            comment="no true source on the internet has these",
        )
        return nft.match(nft.payload(family.header, "saddr"), name, "!=")
