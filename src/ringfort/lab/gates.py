"""The enforcement points of a lab: one HAProxy in the namespace of each host that serves anything under TLS.

Where there is a control plane, its nodes run them; else the lab does. Either way they are read back, switched off and
on, and ended here.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ringfort.environment.identity import IdentityCheck
from ringfort.environment.model import Environment, Tls
from ringfort.environment.topology import Device, DeviceKind, interface_name
from ringfort.errors import RingfortError
from ringfort.gateway import process, readback
from ringfort.gateway.haproxy import Configuration, Files, Guarded, render
from ringfort.kernel import netns
from ringfort.lab import authority, state
from ringfort.lab.plane import Plane
from ringfort.lab.shapes import namespace_name
from ringfort.node import guarding

AT_ONCE = 4
"""Processes started side by side: a start is mostly waiting."""

Checks = Mapping[str, tuple[IdentityCheck, ...]]


def root(environment: str) -> Path:
    """Where the files of a lab's enforcement points are, a directory for each host.

    Names are short: the path of a socket has at most 107 bytes (unix(7)), and HAProxy adds some for a while.
    """
    return state.ROOT / f"gates-{hashlib.sha256(environment.encode()).hexdigest()[:10]}"


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the files of a lab's enforcement points are. ``states``: host -> state directory of its node; empty where
    the lab runs them with the keys in ``keys``."""

    environment: str
    keys: Path
    states: Mapping[str, Path]

    @classmethod
    def of(cls, environment: Environment, keys: Path) -> Layout:
        """That of an environment."""
        plane = Plane.of(environment)
        return cls(environment.name, keys, plane.states() if plane is not None else {})

    def files(self, host: str) -> Files:
        """The files of one host's enforcement point."""
        if host in self.states:
            return guarding.files(self.states[host], root(self.environment), host, process.account())
        directory, bundle = str(root(self.environment) / interface_name(host)), str(self.keys / authority.ROOT_FILE)
        return Files(directory, bundle, str(self.keys / authority.LISTS_FILE), process.account())

    def certificate(self, service: str, host: str) -> Path:
        """Key and certificate of a service on a host."""
        if host in self.states:
            return guarding.certificate(self.states[host], host, service)
        return authority.key_file(self.keys, authority.service_holder(service, host))


def behind_tls(checks: Iterable[IdentityCheck]) -> tuple[IdentityCheck, ...]:
    """The checks that are an enforcement point's; the other services are reached without."""
    return tuple(check for check in checks if check.tls is not Tls.NONE)


def unchecked(check: IdentityCheck) -> IdentityCheck:
    """What is left of a check that is switched off: TLS, for anyone."""
    return replace(check, tls=Tls.SERVER, callers=frozenset()) if check.tls is Tls.MUTUAL else check


def apply(environment: Environment, checks: Checks, keys: Path) -> set[str]:
    """Run what each host needs, changing only what differs: where no node does.

    Args:
        checks: by host, all of them; hosts without TLS services need nothing, and what runs there ends.

    Returns:
        What had to be done: any of ``kept``, ``callers``, ``renewed``, ``restarted``, ``started``, ``stopped``.
    """
    hosts = [host for host in checks if behind_tls(checks[host])]
    done = switch(environment, {host: checks[host] for host in hosts}, keys, ())
    wanted = set(map(interface_name, hosts))
    for directory in _directories(environment.name):
        if directory.name not in wanted:
            end_one(directory)
            done.add("stopped")
    return done


def switch(environment: Environment, checks: Checks, keys: Path, off: Collection[tuple[str, str]]) -> set[str]:
    """Run what some hosts need, without the checks of the (service, host) that are ``off``."""
    layout = Layout.of(environment, keys)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return set(pool.map(lambda host: _apply(environment, host, checks[host], layout, off), checks))


def _wanted(
    environment: Environment,
    host: str,
    checks: Iterable[IdentityCheck],
    layout: Layout,
    off: Collection[tuple[str, str]],
) -> Configuration:
    guarded = []
    for check in behind_tls(checks):
        certificate = str(layout.certificate(check.service, host))
        enforced = unchecked(check) if (check.service, host) in off else check
        guarded.append(Guarded(enforced, environment.hosts[host].addresses, certificate))
    return render(guarded, layout.files(host))


def _apply(
    environment: Environment,
    host: str,
    checks: Iterable[IdentityCheck],
    layout: Layout,
    off: Collection[tuple[str, str]],
) -> str:
    wanted = _wanted(environment, host, checks, layout, off)
    with netns.inside(_namespace(environment, host)):
        return process.apply(wanted, layout.files(host), state.write_private)


def read(
    environment: Environment, keys: Path
) -> tuple[dict[str, tuple[IdentityCheck, ...]], dict[tuple[str, str], Mapping[str, int]]]:
    """By host, the checks that are really made; by (service, host), the callers that were accepted and refused.

    Raises:
        RingfortError: an enforcement point is gone, or is not what its files say.
    """
    layout = Layout.of(environment, keys)
    checks: dict[str, tuple[IdentityCheck, ...]] = {}
    counts: dict[tuple[str, str], Mapping[str, int]] = {}
    for host in environment.hosts:
        own = layout.files(host)
        if not Path(own.configuration).exists():
            continue
        with netns.inside(_namespace(environment, host)):
            checks[host] = readback.checks(own)
        counts |= {(service, host): found for service, found in readback.counts(own).items()}
    return checks, counts


def are_whole(environment: Environment, checks: Checks, keys: Path) -> bool:
    """Whether each host runs exactly what it needs; nothing is changed."""
    wanted = [host for host in checks if behind_tls(checks[host])]
    there = {directory.name for directory in _directories(environment.name)}
    if set(map(interface_name, wanted)) != there & set(map(interface_name, environment.hosts)):
        return False
    layout = Layout.of(environment, keys)
    for host in wanted:
        with netns.inside(_namespace(environment, host)):
            try:
                if not process.is_current(_wanted(environment, host, checks[host], layout, ()), layout.files(host)):
                    return False
            except RingfortError:  # it went just now, or a file isn't there yet
                return False
    return True


def gateway_hosts(environment: Environment) -> tuple[str, ...]:
    """Where nodes run the gateway."""
    gateway = environment.gateway
    return environment.services[gateway.service].hosts if gateway is not None else ()


def edge(environment: Environment, host: str) -> Path:
    """The directory of the gateway's HAProxy on a host, as its node chooses it."""
    return root(environment.name) / f"edge-{interface_name(host)}"


def is_edge_running(environment: Environment, host: str) -> bool:
    """Whether the gateway serves on a host."""
    return process.running(Files(str(edge(environment, host)), "", "")) is not None


def _namespace(environment: Environment, host: str) -> str:
    return namespace_name(environment, Device(DeviceKind.HOST, host))


def _directories(environment: str) -> list[Path]:
    try:
        return sorted(root(environment).iterdir())
    except OSError:
        return []


def end_one(directory: Path) -> None:
    """End what runs in one directory, and remove it."""
    process.end(Files(str(directory), "", ""))
    shutil.rmtree(directory, ignore_errors=True)


def end(environment: str) -> bool:
    """End all of them; whether there were any."""
    directories = _directories(environment)
    for directory in directories:
        end_one(directory)
    with suppress(OSError):
        root(environment).rmdir()
    return bool(directories)
