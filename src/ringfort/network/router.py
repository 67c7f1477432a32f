"""The ruleset of a site's routers. Both routers of a site carry the same one, active or standby.

A packet goes through, in this order:

1. ``antispoofing``, before defragmentation and connection tracking: does the source belong to the interface? It reads
   no ports, so fragments and IPv6 extension headers change nothing.
2. ``replies`` and ``published``: marks and translation (see `ringfort.network.marks`).
3. ``forward``: replies by connection state; new connections by one look-up in a hash map for all flows together.
4. ``input`` and ``output``: routers serve nothing and send nothing but ICMP errors.

Each router carries exactly the flows that touch its site, so nothing passes in transit: of what enters by the backbone
only a destination inside this site is in any map, and of what enters by a provider only a translated destination is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ringfort.environment.model import Network, PublishedService
from ringfort.environment.topology import Leg, backbone_addresses, backbone_mac, legs
from ringfort.errors import RingfortError
from ringfort.network import nft, reasons
from ringfort.network.entries import Entries, look_up
from ringfort.network.families import Family, families_of, single
from ringfort.network.marks import provider_marks
from ringfort.network.nft import Json
from ringfort.network.plan import Plan
from ringfort.network.scanning import limit_connections, refuse_scanners, remember_refusals
from ringfort.network.states import by_state
from ringfort.network.table import TableBuilder

BEFORE_DEFRAGMENTATION = -450
"""NF_IP_PRI_RAW_BEFORE_DEFRAG: a spoofed fragment never reaches the defragmenter, nor connection tracking."""

MANGLE, DESTINATION_NAT, FILTER = -150, -100, 0


def router_table(plan: Plan, site: str) -> Json:
    """The document that both routers of ``site`` load."""
    return _Router(plan, site).document()


@dataclass(frozen=True, slots=True)
class _Legs:
    segments: tuple[Leg, ...]
    providers: tuple[Leg, ...]
    backbone: tuple[Leg, ...]


class _Router:
    def __init__(self, plan: Plan, site: str) -> None:
        self.plan, self.site = plan, site
        self.table = TableBuilder("inet")
        every = legs(plan.environment, site)
        self.legs = _Legs(*(tuple(leg for leg in every if leg.kind == k) for k in ("segment", "provider", "backbone")))
        self.families = families_of(interface.network for leg in every for interface in leg.addresses)
        self.published = plan.published_by_site[site]
        self.marks = provider_marks(plan.environment, site) if self.published else {}
        self._refuse_foreign_publications()

    def document(self) -> Json:
        self._antispoofing()
        self._replies()
        self._published()
        self._forward()
        self._own_traffic()
        return self.table.document()

    def _refuse_foreign_publications(self) -> None:
        for published in self.published:
            if self.plan.environment.hosts[published.host].site != self.site:
                raise RingfortError(
                    "published-across-sites",
                    f"{published.service} is published at {published.provider} for {published.host}, which is at "
                    "another site; nothing passes a site in transit",
                    f"publish it at a provider of {published.host}'s own site",
                )

    # -- 1. where a source may come from

    def _antispoofing(self) -> None:
        table = self.table
        chain = table.base_chain("antispoofing", "prerouting", BEFORE_DEFRAGMENTATION)
        for family in self.families:
            name = table.set(
                family.named("bound"),
                ("ifname", "ether_addr", family.address_type),
                self._bound(family),
                comment="the hosts of the segments: interface, MAC and address",
            )
            table.rule(chain, nft.match(_bound_key(family), name), nft.ACCEPT)
        spoofed = table.refuse(reasons.SPOOFED)
        ways = [("lo", nft.ACCEPT), *((leg.interface, spoofed) for leg in self.legs.segments)]
        ways += [(leg.interface, nft.goto("from-internet")) for leg in self.legs.providers]
        ways += [(leg.interface, nft.goto("from-backbone")) for leg in self.legs.backbone]
        table.rule(chain, nft.vmap(nft.meta("iifname"), ways))
        table.rule(chain, table.refuse(reasons.UNKNOWN_INTERFACE))
        if self.legs.providers:
            self._from_internet()
        if self.legs.backbone:
            self._from_backbone()

    def _bound(self, family: Family) -> Iterable[Json]:
        for leg in self.legs.segments:
            for host in self.plan.hosts(leg.peer):
                for version, address in self.plan.addresses(host):
                    if version == family.version:
                        yield nft.commented(nft.concat(leg.interface, host.mac, address), host.name)

    def _from_internet(self) -> None:
        table = self.table
        chain, unwelcome = table.chain("from-internet"), table.chain("never-from-internet")
        for family in self.families:
            inside, never = family.networks(self.plan.internal), self.plan.never_internet(family)
            source = nft.payload(family.header, "saddr")
            everyone = _interval_set(table, family, "never-internet", never, "no true source on the internet has these")
            ours = _interval_set(table, family, "inside", inside, "what is inside")
            table.rule(chain, nft.match(source, everyone, "!="), nft.ACCEPT)
            table.rule(unwelcome, nft.match(source, ours), table.refuse(reasons.SPOOFED))
        table.rule(chain, nft.goto(unwelcome))
        table.rule(unwelcome, table.refuse(reasons.BOGON))

    def _from_backbone(self) -> None:
        table, chain = self.table, self.table.chain("from-backbone")
        for family in self.families:
            name = table.set(
                family.named("backbone"),
                ("ether_addr", family.address_type),
                self._backbone_sources(family),
                flags=("interval",),
                comment="the other sites' routers and what is behind them",
            )
            key = nft.concat(nft.payload("ether", "saddr"), nft.payload(family.header, "saddr"))
            table.rule(chain, nft.match(key, name), nft.ACCEPT)
        table.rule(chain, table.refuse(reasons.SPOOFED))

    def _backbone_sources(self, family: Family) -> Iterable[Json]:
        environment = self.plan.environment
        for name, site in environment.sites.items():
            if name == self.site:
                continue
            # The other routers' own addresses are sources of ICMP errors (packet too big), which come back as related.
            routers = (single(address) for address in backbone_addresses(environment, name))
            for network in family.networks((*site.blocks, *routers)):
                yield nft.concat(backbone_mac(environment, name), nft.network(network))

    # -- 2. marks and translation

    def _replies(self) -> None:
        if self.marks:
            chain = self.table.base_chain("replies", "prerouting", MANGLE, policy="accept")
            reply = nft.match(nft.ct("direction"), "reply")
            why = "replies leave by the provider that the connection came in by"
            self.table.rule(chain, reply, nft.assign(nft.meta("mark"), nft.ct("mark")), comment=why)

    def _published(self) -> None:
        if not self.published:
            return
        chain = self.table.base_chain("published", "prerouting", DESTINATION_NAT, kind="nat", policy="accept")
        for family in families_of(published.address for published in self.published):
            own = [published for published in self.published if published.address.version == family.version]
            ported = [(self._published_key(p), self._publish(p, family)) for p in own if p.port]
            echoes = [(self._published_key(p), self._publish(p, family)) for p in own if not p.port]
            types = ("ifname", family.address_type, "inet_proto", "inet_service")
            where = [nft.meta("iifname"), nft.payload(family.header, "daddr")]
            if ported:
                name = self.table.map(
                    family.named("published"), types, ported, comment="published services: translation"
                )
                key = nft.concat(*where, nft.meta("l4proto"), nft.payload("th", "dport"))
                self.table.rule(chain, nft.vmap(key, name))
            if echoes:
                name = self.table.map(
                    family.named("published-echo"), types[:2], echoes, comment="published echo: translation"
                )
                echo = nft.match(nft.payload(family.echo, "type"), "echo-request")
                self.table.rule(chain, echo, nft.vmap(nft.concat(*where), name))

    def _published_key(self, published: PublishedService) -> Json:
        leg = next(leg for leg in self.legs.providers if leg.peer == published.provider)
        place = (leg.interface, str(published.address))
        return nft.concat(*place, self._protocol(published), published.port) if published.port else nft.concat(*place)

    def _publish(self, published: PublishedService, family: Family) -> nft.Verdict:
        protocol = self._protocol(published)
        place = f"{published.address}-{protocol}" + (f"-{published.port}" if published.port else "")
        chain = self.table.chain(f"publish-{place.replace(':', '-')}")
        target = self._target(published, family)
        steps = []
        if published.provider in self.marks:
            steps.append(nft.assign(nft.ct("mark"), self.marks[published.provider]))
        if published.port:
            steps.append(nft.match(nft.meta("l4proto"), protocol))
        steps.append(nft.dnat(family.header, target, published.target_port if published.port else 0))
        self.table.rule(chain, *steps, comment=f"{published.service} at {published.provider} to {published.host}")
        return nft.goto(chain)

    def _protocol(self, published: PublishedService) -> str:
        return self.plan.environment.services[published.service].protocol.value

    def _target(self, published: PublishedService, family: Family) -> str:
        host = self.plan.environment.hosts[published.host]
        return next(address for version, address in self.plan.addresses(host) if version == family.version)

    # -- 3. what may pass

    def _forward(self) -> None:
        table, environment = self.table, self.plan.environment
        chain = table.base_chain("forward", "forward", FILTER)
        table.rule(chain, by_state(table))
        entries = self._entries()
        table.rule(chain, nft.vmap(nft.meta("nfproto"), [(f.nfproto, nft.goto(f.named("new"))) for f in self.families]))
        table.rule(chain, table.refuse(reasons.UNDECLARED))
        for family in self.families:
            new = table.chain(family.named("new"))
            refuse_scanners(table, new, family, environment.scan_detection)
            look_up(table, new, family, entries[family.version], "flows", "declared flows")
            self._public(new, family)
            remember_refusals(table, new, family, environment.scan_detection)
            table.rule(new, table.refuse(reasons.UNDECLARED))
        self._flow_chains(entries)

    def _entries(self) -> dict[int, Entries]:
        plan, site = self.plan, self.site
        hosts, services = plan.environment.hosts, plan.environment.services
        entries = plan.entries()
        for flow in plan.flows_by_site[site]:
            service = services[flow.service]
            own = [name for name in flow.callers if hosts[name].site == site]
            others = [name for name in flow.callers if hosts[name].site != site]
            local = [name for name in service.hosts if hosts[name].site == site]
            chain = plan.chains[flow.name]
            for callers, callees in ((own, service.hosts), (others, local)):
                for version, source, destination in plan.pairs(callers, callees):
                    entries[version].add(source, destination, service.protocol, service.ports, chain)
        return entries

    def _public(self, chain: str, family: Family) -> None:
        """Internet flows: translated by us, and the destination after translation is one that we publish."""
        table, own = self.table, [p for p in self.published if p.address.version == family.version]
        destination = nft.payload(family.header, "daddr")
        translated = nft.match(nft.ct("status"), "dnat", "in")
        ported = {(self._target(p, family), self._protocol(p), p.target_port): self._flow_of(p) for p in own if p.port}
        echoes = {self._target(p, family): self._flow_of(p) for p in own if not p.port}
        if ported:
            types = (family.address_type, "inet_proto", "inet_service")
            elements = [(nft.concat(*key), nft.goto(flow)) for key, flow in ported.items()]
            name = table.map(family.named("public"), types, elements, comment="published services, after translation")
            key = nft.concat(destination, nft.meta("l4proto"), nft.payload("th", "dport"))
            table.rule(chain, translated, nft.vmap(key, name))
        if echoes:
            elements = [(key, nft.goto(flow)) for key, flow in echoes.items()]
            name = table.map(
                family.named("public-echo"),
                (family.address_type,),
                elements,
                comment="published echo, after translation",
            )
            echo = nft.match(nft.payload(family.echo, "type"), "echo-request")
            table.rule(chain, translated, echo, nft.vmap(destination, name))

    def _flow_of(self, published: PublishedService) -> str:
        return self.plan.chains[self.plan.internet_flows[published.service].name]

    def _flow_chains(self, entries: dict[int, Entries]) -> None:
        used = entries[4].chains() | entries[6].chains() | {self._flow_of(published) for published in self.published}
        if not used:
            return
        admit = self.table.chain("admit")
        for chain in sorted(used):
            self.table.flow(chain, self.plan.comment(chain), nft.goto(admit))
        # Counting is dear, and dearer the more a source already holds (decision 23): only what is declared gets so far.
        for family in self.families:
            limit_connections(self.table, admit, family, self.plan.environment.connection_limit)
        self.table.rule(admit, nft.ACCEPT)

    # -- 4. the router itself

    def _own_traffic(self) -> None:
        table = self.table
        incoming = table.base_chain("input", "input", FILTER)
        table.rule(incoming, nft.match(nft.meta("iifname"), "lo"), nft.ACCEPT)
        for family in self.families:
            remember_refusals(table, incoming, family, self.plan.environment.scan_detection)
        table.rule(incoming, table.refuse(reasons.TO_ROUTER))
        outgoing = table.base_chain("output", "output", FILTER)
        table.rule(outgoing, nft.match(nft.meta("oifname"), "lo"), nft.ACCEPT)
        if self.families:
            errors = nft.one_of(nft.meta("l4proto"), [family.error_protocol for family in self.families])
            related = nft.match(nft.ct("state"), "related", "in")
            table.rule(outgoing, errors, related, nft.ACCEPT, comment="ICMP errors about connections that pass")
        table.rule(outgoing, table.refuse(reasons.FROM_ROUTER))


def _bound_key(family: Family) -> Json:
    return nft.concat(nft.meta("iifname"), nft.payload("ether", "saddr"), nft.payload(family.header, "saddr"))


def _interval_set(table: TableBuilder, family: Family, name: str, networks: Iterable[Network], what: str) -> str:
    elements = [nft.network(network) for network in networks]
    return table.set(family.named(name), (family.address_type,), elements, flags=("interval",), comment=what)
