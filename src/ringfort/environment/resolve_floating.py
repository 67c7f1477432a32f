"""Floating addresses, with the hosts that may hold them."""

from __future__ import annotations

from itertools import chain

from ringfort.environment.draft import Draft
from ringfort.environment.forms import Entry
from ringfort.environment.model import Floating
from ringfort.environment.problems import shown
from ringfort.environment.schema import FloatingForm
from ringfort.environment.topology import floating_mac


def resolve_floating(draft: Draft) -> None:
    """Fill the draft's floating addresses, in the order of the file."""
    environment = draft.declaration.header.environment
    for entry in draft.declaration.floating.values():
        form = entry.form
        hosts, known = _hosts(draft, entry), _services(draft, entry)
        if hosts and known:
            first = draft.hosts[hosts[0]]
            draft.floating[entry.name] = Floating(
                entry.name,
                first.site,
                first.segment,
                tuple(form.addresses),
                floating_mac(environment, entry.name),
                hosts,
                tuple(form.services),
                form.signs,
                entry.at().origin,
            )
        else:
            draft.break_("floating", entry.name)


def _hosts(draft: Draft, entry: Entry[FloatingForm]) -> tuple[str, ...]:
    """Every host that is named, or that an entry of that name makes; none when one is unknown."""
    found: list[str] = []
    for index, name in enumerate(entry.form.hosts):
        if name in draft.hosts or name in draft.entry_hosts:
            found += [name] if name in draft.hosts else draft.entry_hosts[name]
            continue
        if not draft.is_broken("hosts", name):
            hint = draft.problems.nearest(name, chain(draft.hosts, draft.entry_hosts), "add it under 'hosts'")
            draft.problems.add("unknown-host", entry.at("hosts", index), f"there is no host {shown(name)}", hint)
        return ()
    return tuple(dict.fromkeys(found))


def _services(draft: Draft, entry: Entry[FloatingForm]) -> bool:
    """Whether every service that is named exists."""
    named = [(name, entry.at("services", index)) for index, name in enumerate(entry.form.services)]
    complete = True
    for name, place in [*named, (entry.form.signs, entry.at("signs"))]:
        if name in draft.services:
            continue
        complete = False
        if not draft.is_broken("services", name):
            hint = draft.problems.nearest(name, draft.services, "add it under 'services'")
            draft.problems.add("unknown-service", place, f"there is no service {shown(name)}", hint)
    return complete
