"""Flows with their callers and identities, and published services with their hosts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ringfort.environment.draft import Draft
from ringfort.environment.forms import Entry
from ringfort.environment.model import Flow, PortRange, Protocol, PublishedService, Service, Tls
from ringfort.environment.problems import listed, shown
from ringfort.environment.schema import FlowForm, PublishedForm
from ringfort.environment.words import parse_name

INTERNET = "internet"


def resolve_flows(draft: Draft) -> None:
    """Fill the draft's flows, in the order of the file."""
    sources = Sources.of(draft)
    for entry in draft.declaration.flows:
        service = _service(draft, entry.form.to, entry, "to")
        callers = _callers(draft, entry, sources)
        name = _name(draft, entry)
        if service is None or callers is None or name is None:
            continue
        internet = entry.form.from_ == INTERNET
        source = entry.form.from_ if internet or ":" in entry.form.from_ else f"service:{entry.form.from_}"
        kind, _, called = source.partition(":")
        identities: Iterable[str] = (draft.hosts[caller].identity for caller in callers)
        if kind == "service":
            identities = [draft.services[called].identity]
        operators = tuple(dict.fromkeys(entry.form.as_))
        if operators:
            _refuse_operators(draft, entry, internet)
            identities = [f"spiffe://{draft.trust_domain}/operator/{operator}" for operator in operators]
        origin = entry.at().origin
        draft.flows[name] = Flow(
            name,
            source,
            internet,
            tuple(callers),
            tuple(identities),
            service.name,
            entry.form.reason,
            origin,
            operators,
        )
        draft.flow_entries[name] = entry


def _refuse_operators(draft: Draft, entry: Entry[FlowForm], internet: bool) -> None:
    """Operators call with certificates of their own, which only a service that asks for them sees."""
    service = draft.services[entry.form.to]
    if internet:
        message = "operators don't call from the internet: their certificates are bound to hosts' addresses"
        draft.problems.add("operators-outside", entry.at("as"), message, "let them call from hosts inside")
    elif service.tls is not Tls.MUTUAL:
        message = f"'{service.name}' doesn't ask its callers for a certificate, so it can't tell operators"
        draft.problems.add("operators-unasked", entry.at("as"), message, f"write tls: mutual at '{service.name}'")


def _name(draft: Draft, entry: Entry[FlowForm]) -> str | None:
    form = entry.form
    source = form.from_.rpartition(":")[2].replace("/", "-")
    name = form.name or f"{source}-to-{form.to}"
    try:
        parse_name(name)
    except ValueError:
        message = f"its name would be {shown(name)}, which is too long"
        draft.problems.add("name-too-long", entry.at(), message, "give the flow a 'name'")
        return None
    if name in draft.flows:
        where = draft.flows[name].origin
        place = entry.at("name") if form.name else entry.at()
        draft.problems.add(
            "duplicate-flow",
            place,
            f"there is a flow '{name}' already, at {where}",
            "remove one of them, or give this one another 'name'",
        )
        return None
    return name


def _service(
    draft: Draft, name: str, entry: Entry[FlowForm] | Entry[PublishedForm], *path: str | int
) -> Service | None:
    if name in draft.services:
        return draft.services[name]
    if not draft.is_broken("services", name):
        hint = draft.problems.nearest(name, draft.services, "add it under 'services'")
        draft.problems.add("unknown-service", entry.at(*path), f"there is no service {shown(name)}", hint)
    return None


def _callers(draft: Draft, entry: Entry[FlowForm], sources: Sources) -> Sequence[str] | None:
    """The hosts that a flow's source stands for; None when it is refused already."""
    source = entry.form.from_
    if source == INTERNET:
        return ()
    kind, colon, name = source.partition(":")
    if kind == "service" or not colon:
        service = _service(draft, name or kind, entry, "from")
        return None if service is None else service.hosts
    known = sources.of_kind(kind)
    if name in known:
        return known[name]
    if not _is_broken(draft, kind, name):
        several = draft.entry_hosts.get(name, []) if kind == "host" else []
        hint = f"'{name}' is several hosts: {listed(several)}; make a group of them" if several else ""
        message = f"there is no {kind} {shown(name)}"
        draft.problems.add(f"unknown-{kind}", entry.at("from"), message, hint or draft.problems.nearest(name, known))
    return None


def _is_broken(draft: Draft, kind: str, name: str) -> bool:
    if kind == "segment":
        return draft.is_broken("sites", name.partition("/")[0])
    if kind == "customer":  # a host that was refused may have been the customer's
        return bool(draft.declaration.broken.get("hosts"))
    return draft.is_broken(f"{kind}s", name)


@dataclass(frozen=True, slots=True)
class Sources:
    """The hosts behind each name that a flow may start from, in file order."""

    host: Mapping[str, Sequence[str]]
    segment: Mapping[str, Sequence[str]]
    group: Mapping[str, Sequence[str]]
    customer: Mapping[str, Sequence[str]]

    @classmethod
    def of(cls, draft: Draft) -> Sources:
        """Index the hosts of a draft once for all flows."""
        segments: dict[str, list[str]] = {key: [] for key in draft.segments}
        customers: dict[str, list[str]] = {}
        for host in draft.hosts.values():
            segments[host.segment].append(host.name)
            if host.customer:
                customers.setdefault(host.customer, []).append(host.name)
        return cls({name: (name,) for name in draft.hosts}, segments, draft.groups, customers)

    def of_kind(self, kind: str) -> Mapping[str, Sequence[str]]:
        """The names of one kind of source."""
        return {"host": self.host, "segment": self.segment, "group": self.group, "customer": self.customer}[kind]


def resolve_published(draft: Draft) -> None:
    """Fill the draft's published services, in the order of the file."""
    for entry in draft.declaration.published:
        service = _service(draft, entry.form.service, entry, "service")
        provider = _provider(draft, entry)
        if service is None or provider is None:
            continue
        host = _published_host(draft, entry, service)
        ports = _published_ports(draft, entry, service)
        if host is not None and ports is not None:
            origin = entry.at().origin
            floating = draft.floating.get(host)
            published = PublishedService(
                service.name, provider, entry.form.address, ports[0],
                floating.hosts[0] if floating else host, ports[1], origin, floating.name if floating else "",
            )  # fmt: skip
            draft.published.append((published, entry))


def _provider(draft: Draft, entry: Entry[PublishedForm]) -> str | None:
    key = entry.form.provider
    if key in draft.providers:
        return key
    if not draft.is_broken("sites", key.partition("/")[0]):
        hint = draft.problems.nearest(key, draft.providers, f"providers: {listed(draft.providers) or 'none'}")
        draft.problems.add("unknown-provider", entry.at("provider"), f"there is no provider {shown(key)}", hint)
    return None


def _published_host(draft: Draft, entry: Entry[PublishedForm], service: Service) -> str | None:
    name = entry.form.host
    if not name:
        if len(service.hosts) == 1:
            return service.hosts[0]
        message = f"'{service.name}' is served by {len(service.hosts)} hosts, so 'host' is needed"
        hint = f"one of {listed(service.hosts)}" if service.hosts else f"write services: [{service.name}] at a host"
        if not draft.declaration.broken.get("hosts"):
            draft.problems.add("host-missing", entry.at(), message, hint)
        return None
    if name in draft.hosts and name in service.hosts:
        return name
    if name in draft.declaration.floating:
        if name in draft.floating and service.name not in draft.floating[name].services:
            message = f"'{service.name}' is not reached at floating address '{name}'"
            hint = f"add it to the services of '{name}'"
            draft.problems.add("host-not-serving", entry.at("host"), message, hint)
        return name if name in draft.floating and service.name in draft.floating[name].services else None
    if name in draft.hosts:
        message = f"host '{name}' does not serve '{service.name}'"
        hint = f"hosts that do: {listed(service.hosts) or 'none'}"
        draft.problems.add("host-not-serving", entry.at("host"), message, hint)
    elif not draft.is_broken("hosts", name):
        hint = draft.problems.nearest(
            name, service.hosts or draft.hosts, f"hosts that serve it: {listed(service.hosts)}"
        )
        draft.problems.add("unknown-host", entry.at("host"), f"there is no host {shown(name)}", hint)
    return None


def _published_ports(draft: Draft, entry: Entry[PublishedForm], service: Service) -> tuple[int, int] | None:
    """The port on the internet and the port on the host; zeros for icmp."""
    form = entry.form
    if service.protocol is Protocol.ICMP:
        for key, port in (("port", form.port), ("target-port", form.target_port)):
            if port:
                draft.problems.add("ports-of-icmp", entry.at(key), "icmp has no ports", f"remove '{key}'")
        return 0, 0
    only = (
        service.ports[0].first if service.ports and service.ports == (PortRange(*[service.ports[0].first] * 2),) else 0
    )
    port = form.port or form.target_port or only
    target = form.target_port or (port if _serves(service, port) else only)
    if not port or not target:
        key = "target-port" if port else "port"
        message = f"'{service.name}' has more than one port, so {shown(key)} is needed"
        draft.problems.add("port-missing", entry.at(), message, f"its ports: {listed(map(str, service.ports))}")
        return None
    if not _serves(service, target):
        message = f"'{service.name}' has no port {target}"
        draft.problems.add(
            "unknown-port", entry.at("target-port"), message, f"its ports: {listed(map(str, service.ports))}"
        )
        return None
    return port, target


def _serves(service: Service, port: int) -> bool:
    return any(ports.first <= port <= ports.last for ports in service.ports)
