"""Services with the hosts that serve them, and groups of hosts."""

from __future__ import annotations

from itertools import chain, pairwise

from ringfort.environment.draft import Draft
from ringfort.environment.forms import Entry
from ringfort.environment.model import Protocol, Service, Tls
from ringfort.environment.problems import shown
from ringfort.environment.schema import GroupForm, ServiceForm

RESERVED_SERVICES = frozenset({"internet"})
"""Names that mean something else as the source of a flow."""

EVERY_HOST = "all"
"""The group that needs no declaration: every host of the platform, which customers' instances are not."""


def resolve_services(draft: Draft) -> None:
    """Fill the draft's services, in the order of the file."""
    serving: dict[str, list[str]] = {}
    for host in draft.hosts.values():
        for service in dict.fromkeys(host.services):
            serving.setdefault(service, []).append(host.name)
    control = draft.declaration.header.control
    roles = {control.controller: "controller", control.witness: "witness"} if control else {}
    for entry in draft.declaration.services.values():
        _refuse_contradictions(draft, entry)
        form = entry.form
        identity = form.identity or f"spiffe://{draft.trust_domain}/{roles.get(entry.name, 'service')}/{entry.name}"
        draft.services[entry.name] = Service(
            entry.name,
            form.protocol,
            tuple(form.ports),
            form.tls,
            identity,
            tuple(serving.get(entry.name, ())),
            form.application,
            entry.at().origin,
        )
    _refuse_identities(draft)


def _refuse_contradictions(draft: Draft, entry: Entry[ServiceForm]) -> None:
    form, problems = entry.form, draft.problems
    if entry.name in RESERVED_SERVICES:
        problems.add("reserved-name", entry.at(), f"no service may be called '{entry.name}'", "rename it")
    if form.protocol is Protocol.ICMP and form.ports:
        problems.add("ports-of-icmp", entry.at("ports"), "icmp has no ports", "remove 'ports'")
    if form.protocol is not Protocol.ICMP and not form.ports:
        problems.add("ports-missing", entry.at("ports"), f"'{entry.name}' has no ports", "write ports: [443]")
    if form.protocol is not Protocol.TCP and form.tls is not Tls.NONE:
        problems.add(
            "tls-without-tcp",
            entry.at("tls"),
            f"tls: {form.tls} needs protocol tcp; '{entry.name}' speaks {form.protocol}",
            "write tls: none, or protocol: tcp",
        )
    ordered = sorted(range(len(form.ports)), key=lambda index: form.ports[index])
    for one, other in pairwise(ordered):
        if form.ports[one].last >= form.ports[other].first:
            message = f"the ports {form.ports[one]} and {form.ports[other]} of '{entry.name}' overlap"
            problems.add("ports-overlap", entry.at("ports", other), message, "write each port once")


def _refuse_identities(draft: Draft) -> None:
    """Explicit identities belong to the trust domain, and to nobody else."""
    domain = f"spiffe://{draft.trust_domain}/"
    holders: dict[str, str] = {}
    for service in draft.services.values():
        entry = draft.declaration.services[service.name]
        place = entry.at("identity")
        if entry.form.identity and not service.identity.startswith(domain) and draft.declaration.header_valid:
            hint = f"write {domain}{service.identity.partition('://')[2].partition('/')[2]}"
            message = f"{service.identity} is not in the trust domain {draft.trust_domain}"
            draft.problems.add("foreign-identity", place, message, hint)
        holder = holders.setdefault(service.identity, service.name)
        if holder != service.name:
            draft.problems.add(
                "duplicate-identity",
                place,
                f"{service.identity} is also the identity of service '{holder}'",
                "every service needs an identity of its own",
            )


def resolve_groups(draft: Draft) -> None:
    """Fill the draft's groups: the hosts with all labels, and the listed ones, in the order of the file."""
    by_label: dict[tuple[str, str], list[str]] = {}
    for host in draft.hosts.values():
        for pair in host.labels.items():
            by_label.setdefault(pair, []).append(host.name)
    rank = {name: position for position, name in enumerate(draft.hosts)}
    draft.groups[EVERY_HOST] = tuple(n for n in draft.hosts if not draft.host_entries[n].form.hypervisor)
    for entry in draft.declaration.groups.values():
        if entry.name == EVERY_HOST:
            message = f"'{EVERY_HOST}' is the group of every host"
            draft.problems.add("reserved-name", entry.at(), message, "rename it, or leave it out")
            continue
        members = _listed(draft, entry)
        pairs = list(entry.form.labels.items())
        if pairs:
            found = set(by_label.get(pairs[0], ()))
            for pair in pairs[1:]:
                found &= set(by_label.get(pair, ()))
            _refuse_unknown_label(draft, entry, by_label)
            members |= found
        elif not entry.form.hosts:
            draft.problems.add(
                "empty-group", entry.at(), f"group '{entry.name}' says nothing", "give it 'labels' or 'hosts'"
            )
        draft.groups[entry.name] = tuple(sorted(members, key=rank.__getitem__))


def _listed(draft: Draft, entry: Entry[GroupForm]) -> set[str]:
    members: set[str] = set()
    for index, name in enumerate(entry.form.hosts):
        if name in draft.hosts:
            members.add(name)
        elif name in draft.entry_hosts:
            members.update(draft.entry_hosts[name])
        elif not draft.is_broken("hosts", name):
            known = chain(draft.hosts, draft.entry_hosts)
            hint = draft.problems.nearest(name, known, "add it under 'hosts'")
            draft.problems.add("unknown-host", entry.at("hosts", index), f"there is no host {shown(name)}", hint)
    return members


def _refuse_unknown_label(draft: Draft, entry: Entry[GroupForm], by_label: dict[tuple[str, str], list[str]]) -> None:
    """A label that no host has is a slip of the pen, and the group would be smaller than it looks."""
    if draft.declaration.broken.get("hosts"):
        return
    for key, label in entry.form.labels.items():
        if (key, label) in by_label:
            continue
        keys = {known for known, _ in by_label}
        labels = {known for other, known in by_label if other == key}
        hint = draft.problems.nearest(label, labels) if key in keys else draft.problems.nearest(key, keys)
        message = f"no host has the label {key}: {label}"
        draft.problems.add("unknown-label", entry.at("labels", key), message, hint or "label hosts, or remove it")
