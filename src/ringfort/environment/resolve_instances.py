"""Instances: hosts that are guests of another host, on its machine."""

from __future__ import annotations

from dataclasses import replace

from ringfort.environment.draft import Draft
from ringfort.environment.model import Host
from ringfort.environment.problems import listed, shown


def resolve_instances(draft: Draft) -> None:
    """Put every instance on its hypervisor's machine. One whose hypervisor is refused stays a host without one."""
    for name, host in list(draft.hosts.items()):
        hypervisor = draft.host_entries[name].form.hypervisor
        if hypervisor:
            found = _hypervisor(draft, host, hypervisor)
            if found is None:
                draft.break_("hosts", draft.host_entries[name].name)
            else:
                draft.hosts[name] = replace(host, machine=found.machine, hypervisor=found.name)


def _hypervisor(draft: Draft, host: Host, name: str) -> Host | None:
    entry = draft.host_entries[host.name]
    if host.name != draft.entry_hosts[entry.name][0]:  # what is wrong with an entry is told once, at its first host
        found = draft.hosts.get(name)
        return found if found and not draft.host_entries[name].form.hypervisor and found.site == host.site else None
    place = entry.at("hypervisor")
    if name not in draft.hosts:
        if not draft.is_broken("hosts", name):
            several = draft.entry_hosts.get(name, [])
            hint = f"'{name}' is several hosts: write one of {listed(several)}" if several else ""
            hint = hint or draft.problems.nearest(name, draft.hosts, "add it under 'hosts'")
            draft.problems.add("unknown-hypervisor", place, f"there is no host {shown(name)}", hint)
        return None
    found = draft.hosts[name]
    if draft.host_entries[name].form.hypervisor:
        message = f"'{name}' is an instance itself"
        draft.problems.add("nested-instance", place, message, "name the host that it runs on")
        return None
    if found.site != host.site:
        message = f"'{host.name}' is at site {host.site}, its hypervisor '{name}' at {found.site}"
        draft.problems.add("hypervisor-elsewhere", place, message, "name a hypervisor of the same site")
        return None
    return found
