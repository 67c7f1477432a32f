"""Bring an environment into the kernel, changing only what differs. Every step can be done again.

Order: namespaces, sysctls, rules, services, then links. Rules are in a namespace before its links go up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from ringfort.environment.floating import interface_of
from ringfort.environment.identity import IdentityCheck
from ringfort.environment.model import Environment, Floating
from ringfort.environment.topology import Device, DeviceKind
from ringfort.errors import RingfortError
from ringfort.lab import (
    authority,
    control,
    control_plane,
    gates,
    listeners,
    netlink,
    netns,
    nft,
    nodes,
    plan,
    processes,
    state,
    wiring,
)
from ringfort.lab.changes import Changes
from ringfort.lab.differences import Seen, differences
from ringfort.lab.plane import Plane
from ringfort.lab.shapes import Namespace, namespace_name, namespace_prefix
from ringfort.network.compile import compile_device, compile_environment
from ringfort.network.identity import identity_checks

POINT_SECONDS = 15.0
"""How long a node may take to put right what was changed at an enforcement point."""

HELD_SECONDS = 20.0
"""How long it may take until one of the hosts that may hold floating addresses does."""

ACTIVE, RULES, OFF = "active.json", "rules.json", "off.json"

Progress = Callable[[str], None]


def rules_text(environment: Environment, device: Device) -> str:
    """The compiled ruleset of one device, in words for nft."""
    return compile_device(environment, device).text


def build(
    environment: Environment,
    active: Mapping[str, str],
    connections: netlink.Connections,
    progress: Progress,
    *,
    dry_run: bool,
) -> Changes:
    """Make the kernel hold the environment; say what had to change. The caller holds the lab's lock."""
    changes = Changes(is_dry_run=dry_run)
    nft.require()
    wanted = plan.plan(environment, active)
    own = ours(environment.name, connections)
    refuse_foreign(environment, wanted, own)
    if not dry_run:
        state.prepare(environment.name)
        netns.prepare_directory()
        state.save(environment.name, ACTIVE, dict(active))
    _namespaces(environment, wanted, own, changes, progress)
    _sysctls(wanted, changes)
    plane = Plane.of(environment)
    if plane is None:
        _rules(environment, wanted, changes, progress)
    elif not dry_run:
        _authority(environment, changes)
        changes.nodes_started = nodes.start(plane, changes.created, progress)
    starting = _services(environment, changes, progress)
    meanwhile = partial(control_plane.begin, plane, progress) if plane is not None else None
    _wires(wanted, connections, changes, progress, meanwhile)
    if starting is not None:
        starting.wait()
    if plane is not None and not dry_run:
        changes.version = control_plane.converge(plane, progress)
        processes.until(
            lambda: gates.are_whole(environment, lab_checks(environment), plane.keys), POINT_SECONDS,
            "points-unfinished", "not every enforcement point runs as declared",
        )  # fmt: skip
        processes.until(
            lambda: not _unheld(environment, connections), HELD_SECONDS,
            "floating-unheld", "floating addresses are held by nobody", lambda: _unheld(environment, connections),
        )  # fmt: skip
        _note_rules(environment, wanted, changes)
    return changes


def _unheld(environment: Environment, connections: netlink.Connections) -> str:
    """Floating addresses that not exactly one host holds, in words; "" when each is held."""
    return ", ".join(
        one.name
        for one in environment.floating.values()
        if sum(_holds(environment, one, host, connections) for host in one.hosts) != 1
    )


def _holds(environment: Environment, floating: Floating, host: str, connections: netlink.Connections) -> bool:
    namespace = namespace_name(environment, Device(DeviceKind.HOST, host))
    seen = netlink.observe(connections, namespace).links.get(interface_of(floating))
    first = floating.addresses[0]
    return seen is not None and f"{first}/{first.max_prefixlen}" in seen.link.addresses


def refuse_foreign(environment: Environment, wanted: Iterable[str], own: Collection[str]) -> None:
    """Refuse to work when a namespace we need belongs to somebody else.

    Raises:
        RingfortError: names it, and what to do.
    """
    foreign = [name for name in wanted if name not in own and netns.is_namespace(name)]
    if foreign:
        raise RingfortError(
            "foreign-namespace",
            f"network namespace {foreign[0]!r} was not made by Ringfort for {environment.name!r}"
            + (f" (nor were {len(foreign) - 1} more)" if len(foreign) > 1 else ""),
            f"remove it if nobody needs it (ip netns delete {foreign[0]}), or rename the environment",
        )


def ours(environment: str, connections: netlink.Connections) -> list[str]:
    """Every name under /run/netns that belongs to the lab of an environment, wanted or not."""
    found = netns.names(namespace_prefix(environment))
    return [
        name for name in found if not netns.is_namespace(name) or netlink.belongs_to(connections, name, environment)
    ]


def _namespaces(
    environment: Environment,
    wanted: Mapping[str, Namespace],
    own: Collection[str],
    changes: Changes,
    progress: Progress,
) -> None:
    changes.removed = [name for name in own if name not in wanted]
    changes.created = [name for name in wanted if not netns.is_namespace(name)]
    if changes.is_dry_run:
        return
    for name in changes.removed:
        netns.delete(name)
    if changes.created:
        progress(f"making {len(changes.created)} namespaces")
    for name in changes.created:
        netns.create(name, environment.name)


def _present(wanted: Mapping[str, Namespace], changes: Changes) -> dict[str, Namespace]:
    """The namespaces that there are: all, or in a dry run those that need not be made."""
    missing = set(changes.created) if changes.is_dry_run else set()
    return {name: namespace for name, namespace in wanted.items() if name not in missing}


def _sysctls(wanted: Mapping[str, Namespace], changes: Changes) -> None:
    for namespace in _present(wanted, changes).values():
        differing = netlink.sysctl_differences(namespace)
        if not differing:
            continue
        changes.wired += [f"{namespace.name}: sysctl {key}={value}" for key, value in differing]
        changes.wired_namespaces.add(namespace.name)
        if not changes.is_dry_run:
            netlink.set_sysctls(namespace.name, differing)


# --- rules ---------------------------------------------------------------------------------------------------------


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _rules(environment: Environment, wanted: Mapping[str, Namespace], changes: Changes, progress: Progress) -> None:
    """Load the rules of every device whose rules in the kernel are not what we last loaded, or are to be others now.

    What the kernel makes of a ruleset is noted when it is loaded: nobody's idea of nft's own spelling is needed.
    """
    noted = state.load(environment.name, RULES)
    compiled = compile_environment(environment)
    absent = set(changes.created) if changes.is_dry_run else set()
    for name, namespace in wanted.items():
        device = namespace.device
        if device is None:
            continue
        text = compiled[device].text
        entry = noted.get(str(device), {})
        if (
            name not in changes.created
            and entry.get("text") == _hash(text)
            and entry.get("kernel") == _hash(nft.canonical(nft.ruleset(name)))
        ):
            continue
        changes.loaded.append(str(device))
        changes.loaded_namespaces.add(name)
        if name in absent or changes.is_dry_run:
            continue
        nft.run(name, f"flush ruleset\n{text}")
        noted[str(device)] = {"text": _hash(text), "kernel": _hash(nft.canonical(nft.ruleset(name)))}
    if changes.loaded and not changes.is_dry_run:
        progress(f"loaded the rules of {len(changes.loaded)} devices")
        state.save(environment.name, RULES, {str(device): noted[str(device)] for device in compiled})


def _note_rules(environment: Environment, wanted: Mapping[str, Namespace], changes: Changes) -> None:
    """Tell whose rules the nodes have changed since the last ``up``."""
    noted = state.load(environment.name, RULES)
    held = {}
    for name, namespace in wanted.items():
        if namespace.device is not None:
            held[str(namespace.device)] = {"kernel": _hash(nft.canonical(nft.ruleset(name)))}
            if name in changes.created or noted.get(str(namespace.device)) != held[str(namespace.device)]:
                changes.loaded.append(str(namespace.device))
                changes.loaded_namespaces.add(name)
    state.save(environment.name, RULES, held)


# --- services ------------------------------------------------------------------------------------------------------


def lab_checks(environment: Environment) -> dict[str, tuple[IdentityCheck, ...]]:
    """By host, the checks of the services that the lab plays; those of the control plane check for themselves."""
    control_ = environment.control
    own = {control_.controller, control_.witness} if control_ else set()
    return _without(own, identity_checks(environment))


def _played(environment: Environment) -> dict[str, tuple[IdentityCheck, ...]]:
    """By host, the checks of the services whose process the lab plays: none of the control plane's, and none of the
    gateway's nor of signs of life, which nodes run."""
    parts = [environment.control, environment.gateway]
    signs = {one.signs for one in environment.floating.values()} if environment.control else set()
    others = {name for part in parts if part for name in part.services.values()}
    return _without(signs | others, identity_checks(environment))


def _without(names: set[str], checks: Mapping[str, tuple[IdentityCheck, ...]]) -> dict[str, tuple[IdentityCheck, ...]]:
    return {host: tuple(check for check in own if check.service not in names) for host, own in checks.items()}


def _authority(environment: Environment, changes: Changes) -> None:
    """Make the certificates that are missing or near their end; done already, it changes nothing."""
    keys, now, holders = state.keys(environment.name), datetime.now(UTC), authority.holders(environment)
    if changes.is_dry_run:
        changes.certificates = authority.missing(keys, holders, now)
        return
    sites = authority.sites_of(environment)
    changes.certificates += len(authority.ensure(keys, environment.trust_domain, sites, holders, now))


def renew_keys(environment: Environment) -> int:
    """Make certificates anew that are near their end; how many were."""
    changes = Changes()
    _authority(environment, changes)
    return changes.certificates


def _services(environment: Environment, changes: Changes, progress: Progress) -> control.Starting | None:
    keys = state.keys(environment.name)
    _authority(environment, changes)
    hosts = [namespace_name(environment, Device(DeviceKind.HOST, host)) for host in environment.hosts]
    inodes = {name: inode for name in hosts if (inode := netns.identity(name)) is not None}
    checks = lab_checks(environment)
    wanted = listeners.listeners(environment, _played(environment), inodes)
    digest = listeners.digest(wanted)
    is_kept = _is_running(environment.name, digest) if wanted else not control.running(environment.name)
    was_running = bool(control.running(environment.name))
    if is_kept:
        changes.services = "kept" if wanted else "none"
    else:
        changes.services = ("restarted" if was_running else "started") if wanted else "stopped"
    if changes.is_dry_run:
        if is_kept and wanted and Plane.of(environment) is None and not gates.are_whole(environment, checks, keys):
            changes.services = "restarted"
        return None
    if not is_kept:
        control.end(environment.name)
    starting = None
    if wanted and not is_kept:
        progress(f"starting {len(wanted)} services")
        starting = control.start(environment.name, wanted, digest)
    state.save(environment.name, OFF, {})
    if Plane.of(environment) is not None:  # nodes run the points of their hosts; what is in a guest the lab plays
        checks = {host: own for host, own in checks.items() if environment.hosts[host].hypervisor}
        changed = gates.switch(
            environment, {host: own for host, own in checks.items() if gates.behind_tls(own)}, keys, ()
        )
    else:
        changed = gates.apply(environment, checks, keys)
    if changed - {"kept"} and is_kept:
        changes.services = "restarted"
    return starting


def _is_running(environment: str, digest: str) -> bool:
    if not control.running(environment):
        return False
    try:
        return control.read(environment).digest == digest
    except RingfortError:
        return False


def switch(environment: Environment, service: str, host: str, *, on: bool) -> None:
    """Switch a service's identity check, on one host or (``host`` empty) on all; the caller holds the lock."""
    off = {tuple(pair) for pair in state.load(environment.name, OFF).get("off", ())}
    served = {(service, host)} if host else {(service, name) for name in environment.services[service].hosts}
    off = off - served if on else off | served
    state.save(environment.name, OFF, {"off": sorted(off)})
    checks = lab_checks(environment)
    gates.switch(environment, {name: checks[name] for _, name in sorted(served)}, state.keys(environment.name), off)


# --- links ------------------------------------------------------------------------------------------------------------


def _wires(
    wanted: Mapping[str, Namespace],
    connections: netlink.Connections,
    changes: Changes,
    progress: Progress,
    meanwhile: Callable[[], None] | None,
) -> None:
    """Bring the wiring to the plan. ``meanwhile`` is done once addresses and routes are there, while links settle."""
    present = _present(wanted, changes)
    seen = {name: Seen() for name in present}
    seen |= wiring.observed([name for name in present if name not in changes.created], connections)
    todo = differences(wanted, seen)
    changes.wired += [str(change) for change in todo]
    changes.wired_namespaces |= {change.namespace for change in todo}
    if todo and not changes.is_dry_run:
        progress(f"wiring: {len(todo)} changes")
        wiring.converge(wanted, changes.wired_namespaces, connections, todo, meanwhile)


def namespaces_of_site(environment: Environment, site: str) -> list[str]:
    """The namespaces that notice which router of a site is active: the routers and the switches."""
    routers = [Device(DeviceKind.ROUTER, name) for name in environment.sites[site].routers]
    switches = [Device(DeviceKind.SWITCH, key) for key in environment.sites[site].segments]
    return [namespace_name(environment, device) for device in (*routers, *switches)]


def isolate(
    environment: Environment,
    active: Mapping[str, str],
    connections: netlink.Connections,
    switch: Device,
    *,
    isolated: bool,
) -> None:
    """Isolate the host ports of a switch from each other, as planned, or no longer."""
    namespace = plan.plan(environment, active)[namespace_name(environment, switch)]
    ports = [link for link in namespace.links.values() if link.port is not None and link.port.isolated]
    for link in ports:
        assert link.port is not None
        wanted = replace(link, port=replace(link.port, isolated=isolated))
        netlink.set_port(connections, namespace.name, wanted)
