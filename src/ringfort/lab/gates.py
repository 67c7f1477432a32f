"""The enforcement points of a lab: one HAProxy in the namespace of each host that serves anything under TLS."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ringfort.environment.identity import IdentityCheck
from ringfort.environment.model import Environment, Tls
from ringfort.environment.topology import Device, DeviceKind, interface_name
from ringfort.gateway import process, readback
from ringfort.gateway.haproxy import Configuration, Files, Guarded, render
from ringfort.kernel import netns
from ringfort.lab import authority, state
from ringfort.lab.shapes import namespace_name

AT_ONCE = 4
"""Processes started side by side: a start is mostly waiting."""

Checks = Mapping[str, tuple[IdentityCheck, ...]]


def root(environment: str) -> Path:
    """Where the files of a lab's enforcement points are, a directory for each host.

    Names are short: the path of a socket has at most 107 bytes (unix(7)), and HAProxy adds some for a while.
    """
    return state.ROOT / f"gates-{hashlib.sha256(environment.encode()).hexdigest()[:10]}"


def files(environment: str, host: str, keys: Path) -> Files:
    """The files of one host's enforcement point."""
    bundle = str(keys / authority.ROOT_FILE)
    return Files(
        str(root(environment) / interface_name(host)), bundle, str(keys / authority.LISTS_FILE), process.account()
    )


def behind_tls(checks: Iterable[IdentityCheck]) -> tuple[IdentityCheck, ...]:
    """The checks that are an enforcement point's; the other services are reached without."""
    return tuple(check for check in checks if check.tls is not Tls.NONE)


def unchecked(check: IdentityCheck) -> IdentityCheck:
    """What is left of a check that is switched off: TLS, for anyone."""
    return replace(check, tls=Tls.SERVER, callers=frozenset()) if check.tls is Tls.MUTUAL else check


def apply(environment: Environment, checks: Checks, keys: Path) -> set[str]:
    """Run what each host needs, changing only what differs.

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
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return set(pool.map(lambda host: _apply(environment, host, checks[host], keys, off), checks))


def _wanted(
    environment: Environment, host: str, checks: Iterable[IdentityCheck], keys: Path, off: Collection[tuple[str, str]]
) -> Configuration:
    guarded = []
    for check in behind_tls(checks):
        certificate = str(authority.key_file(keys, authority.service_holder(check.service, host)))
        enforced = unchecked(check) if (check.service, host) in off else check
        guarded.append(Guarded(enforced, environment.hosts[host].addresses, certificate))
    return render(guarded, files(environment.name, host, keys))


def _apply(
    environment: Environment, host: str, checks: Iterable[IdentityCheck], keys: Path, off: Collection[tuple[str, str]]
) -> str:
    wanted = _wanted(environment, host, checks, keys, off)
    with netns.inside(_namespace(environment, host)):
        return process.apply(wanted, files(environment.name, host, keys), state.write_private)


def read(
    environment: Environment, keys: Path
) -> tuple[dict[str, tuple[IdentityCheck, ...]], dict[tuple[str, str], Mapping[str, int]]]:
    """By host, the checks that are really made; by (service, host), the callers that were accepted and refused.

    Raises:
        RingfortError: an enforcement point is gone, or is not what its files say.
    """
    checks: dict[str, tuple[IdentityCheck, ...]] = {}
    counts: dict[tuple[str, str], Mapping[str, int]] = {}
    for host in environment.hosts:
        own = files(environment.name, host, keys)
        if not Path(own.configuration).exists():
            continue
        with netns.inside(_namespace(environment, host)):
            checks[host] = readback.checks(own)
        counts |= {(service, host): found for service, found in readback.counts(own).items()}
    return checks, counts


def are_whole(environment: Environment, checks: Checks, keys: Path) -> bool:
    """Whether each host runs exactly what it needs; nothing is changed."""
    wanted = [host for host in checks if behind_tls(checks[host])]
    if set(map(interface_name, wanted)) != {directory.name for directory in _directories(environment.name)}:
        return False
    for host in wanted:
        with netns.inside(_namespace(environment, host)):
            if not process.is_current(
                _wanted(environment, host, checks[host], keys, ()), files(environment.name, host, keys)
            ):
                return False
    return True


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
