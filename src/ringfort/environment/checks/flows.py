"""Flows: who may face whom, TLS across boundaries, and no flow that could not do what it says.

The rules, by the tier of the host that is called:

- from the internet only edge hosts are called;
- ``back-end`` hosts by front ends, other back ends and administration; when the caller and the called service both
  belong to an application, it is the same one (administration excepted);
- ``data`` hosts by back ends, other data hosts and administration;
- ``hypervisor`` hosts by each other and by administration;
- the other tiers by any host inside.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ringfort.environment.draft import Draft
from ringfort.environment.forms import Entry
from ringfort.environment.model import Flow, Protocol, Service, Tier, Tls
from ringfort.environment.problems import listed
from ringfort.environment.schema import FlowForm

MAY_CALL: Mapping[Tier, frozenset[Tier]] = {
    Tier.BACK_END: frozenset({Tier.FRONT_END, Tier.BACK_END, Tier.ADMINISTRATION}),
    Tier.DATA: frozenset({Tier.BACK_END, Tier.DATA, Tier.ADMINISTRATION}),
    Tier.HYPERVISOR: frozenset({Tier.HYPERVISOR, Tier.ADMINISTRATION}),
}
"""Tier of the called host -> tiers that may call it; every tier where there is no entry."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """What the checks need to know of a host; many hosts are of one kind."""

    site: str
    cluster: str
    tier: Tier
    families: frozenset[int]
    applications: frozenset[str]


_Kinds = Mapping[_Kind, str]
"""The kinds among some hosts, each with the first host of that kind."""


def check_flows(draft: Draft) -> None:
    """Refuse flows that open what must stay closed, and flows that cannot work."""
    checker = _Checker(draft)
    for flow in draft.flows.values():
        checker.check(flow, draft.flow_entries[flow.name])


class _Checker:
    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.problems = draft.problems
        self.published = {item.service for item, _ in draft.published}
        self.kinds_of: dict[str, _Kinds] = {}
        self.kind_of: dict[str, _Kind] = {}

    def check(self, flow: Flow, entry: Entry[FlowForm]) -> None:
        service = self.draft.services[flow.service]
        complete = not self.draft.declaration.broken.get("hosts")  # else names may be missing that were refused
        if not service.hosts:
            if complete:
                message = f"no host serves '{service.name}'"
                hint = f"write services: [{service.name}] at a host, or remove the flow"
                self.problems.add("service-without-hosts", entry.at("to"), message, hint)
            return
        targets = self._kinds(f"service:{service.name}", service.hosts)
        if flow.internet:
            self._check_internet(entry, service, targets)
            return
        if not flow.callers or flow.callers == service.hosts[:1] == service.hosts:
            if complete:
                self._refuse_without_callers(flow, entry, service)
            return
        callers = self._kinds(flow.source, flow.callers)
        self._check_tls(entry, service, callers, targets)
        self._check_tiers(flow, entry, service, callers, targets)
        self._check_families(entry, callers, targets)

    def _kinds(self, source: str, hosts: Iterable[str]) -> _Kinds:
        if source not in self.kinds_of:
            kinds: dict[_Kind, str] = {}
            for host in hosts:
                kinds.setdefault(self._kind(host), host)
            self.kinds_of[source] = kinds
        return self.kinds_of[source]

    def _kind(self, name: str) -> _Kind:
        kind = self.kind_of.get(name)
        if kind is None:
            host = self.draft.hosts[name]
            segment = self.draft.segments[host.segment]
            services = (self.draft.services.get(service) for service in host.services)
            kind = self.kind_of[name] = _Kind(
                host.site,
                segment.cluster,
                segment.tier,
                frozenset(address.version for address in host.addresses),
                frozenset(service.application for service in services if service and service.application),
            )
        return kind

    def _refuse_without_callers(self, flow: Flow, entry: Entry[FlowForm], service: Service) -> None:
        if flow.callers:
            message = f"the only caller, '{flow.callers[0]}', is the only host that serves '{service.name}'"
        else:
            message = f"'{entry.form.from_}' stands for no host"
        self.problems.add(
            "flow-without-callers", entry.at("from"), message, "a flow that allows nothing misleads: remove it"
        )

    def _check_internet(self, entry: Entry[FlowForm], service: Service, targets: _Kinds) -> None:
        for kind, host in targets.items():
            if kind.tier is not Tier.EDGE:
                message = f"the internet may not face '{host}': its segment's tier is {kind.tier}"
                hint = f"only edge hosts may; let one of them serve it and call '{service.name}' from there"
                self.problems.add("internet-beyond-edge", entry.at("to"), message, hint)
                break
        if service.tls is Tls.MUTUAL:
            message = f"'{service.name}' asks its callers for a certificate, which the internet does not have"
            self.problems.add("internet-mutual", entry.at("to"), message, "write tls: server at the service")
        if service.name not in self.published and not self._publishing_was_refused(service):
            message = f"'{service.name}' is not published anywhere, so nobody on the internet can call it"
            hint = f"add it under 'published': - {{service: {service.name}, provider: ..., address: ...}}"
            self.problems.add("flow-not-published", entry.at(), message, hint)

    def _publishing_was_refused(self, service: Service) -> bool:
        declared = self.draft.declaration
        return bool(declared.broken.get("published")) or any(
            entry.form.service == service.name for entry in declared.published
        )

    def _check_tls(self, entry: Entry[FlowForm], service: Service, callers: _Kinds, targets: _Kinds) -> None:
        if service.tls is not Tls.NONE:
            return
        for kind, caller in callers.items():
            for other, target in targets.items():
                if (kind.site, kind.cluster) == (other.site, other.cluster):
                    continue
                boundary = "site" if kind.site != other.site else "cluster"
                here = f"{kind.site} to {other.site}" if boundary == "site" else f"{kind.cluster} to {other.cluster}"
                message = f"'{caller}' calls '{target}' across a {boundary} boundary ({here}) without TLS"
                self.problems.add("boundary-without-tls", entry.at(), message, _tls_hint(service, boundary))
                return

    def _check_tiers(
        self, flow: Flow, entry: Entry[FlowForm], service: Service, callers: _Kinds, targets: _Kinds
    ) -> None:
        for other, target in targets.items():
            allowed = MAY_CALL.get(other.tier)
            for kind, caller in callers.items():
                if allowed is not None and kind.tier not in allowed:
                    message = f"'{caller}' ({kind.tier}) may not call '{target}' ({other.tier})"
                    hint = f"{other.tier} hosts answer {listed(sorted(allowed))} hosts only"
                    self.problems.add(f"{other.tier}-open", entry.at(), message, hint)
                    return
                if other.tier is Tier.BACK_END and self._foreign(flow, service, kind):
                    message = f"'{caller}' does not belong to application '{service.application}' of '{service.name}'"
                    hint = "a back end answers front ends of its own application; correct 'application' of one of them"
                    self.problems.add("back-end-open", entry.at(), message, hint)
                    return

    def _foreign(self, flow: Flow, service: Service, caller: _Kind) -> bool:
        """True when caller and service both belong to applications, and to different ones."""
        if not service.application or caller.tier is Tier.ADMINISTRATION:
            return False
        kind, _, name = flow.source.partition(":")
        own = self.draft.services[name].application if kind == "service" else ""
        applications = frozenset({own}) if own else (frozenset() if kind == "service" else caller.applications)
        return bool(applications) and service.application not in applications

    def _check_families(self, entry: Entry[FlowForm], callers: _Kinds, targets: _Kinds) -> None:
        backbone = self.draft.declaration.header.backbone
        carried = {network.version for network in backbone.networks} if backbone else {4, 6}
        for kind, caller in callers.items():
            for other, target in targets.items():
                shared = kind.families & other.families
                if not shared:
                    message = f"'{caller}' has only {_families(kind)}, '{target}' only {_families(other)}"
                    hint = "give both segments networks of one family, or call another service"
                    self.problems.add("no-common-family", entry.at(), message, hint)
                    return
                missing = shared - carried
                if kind.site != other.site and missing:
                    message = f"'{caller}' and '{target}' speak IPv{min(missing)}, which the backbone does not carry"
                    hint = f"give the backbone an IPv{min(missing)} network"
                    self.problems.add("backbone-family", entry.at(), message, hint)
                    return


def _families(kind: _Kind) -> str:
    return " and ".join(f"IPv{family}" for family in sorted(kind.families))


def _tls_hint(service: Service, boundary: str) -> str:
    if service.protocol is Protocol.TCP:
        return f"write tls: mutual (or server) at service '{service.name}'"
    return f"{service.protocol} cannot have TLS here: keep the flow inside the {boundary}, or use tcp"
