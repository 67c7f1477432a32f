"""Floating addresses as hosts: what the compiler and the proof work on, so that neither has to know of them everywhere.

In this view each of them is a host of its own (`ringfort.environment.model.Held`), on a machine of its own, that serves
what is reached there and calls nobody. That is exact, because the loader refuses holders that share their machine with
anything: whoever owns the machine of one holder owns nothing else that a packet to or from the addresses meets.
"""

from __future__ import annotations

from dataclasses import replace

from ringfort.environment.model import Environment, Floating, Held, Host
from ringfort.environment.topology import interface_name


def expanded(environment: Environment, turn: int = 0) -> Environment:
    """The environment with floating addresses as hosts; in turn ``i`` the ``i``-th of the hosts that may holds them.

    As it is, where there are none, and where they are hosts already.
    """
    if not environment.floating or any(isinstance(host, Held) for host in environment.hosts.values()):
        return environment
    helds = {one.name: _held(one, turn) for one in environment.floating.values()}
    services = dict(environment.services)
    for held in helds.values():
        for name in held.services:
            services[name] = replace(services[name], hosts=(*services[name].hosts, held.name))
    published = tuple(replace(one, host=one.floating or one.host) for one in environment.published)
    return replace(environment, hosts={**environment.hosts, **helds}, services=services, published=published)


def turns(environment: Environment) -> int:
    """How many turns there are until every host that may hold some addresses has held them."""
    return max((len(one.hosts) for one in environment.floating.values()), default=1)


def held_by(environment: Environment, host: str) -> tuple[Floating, ...]:
    """The floating addresses that a host may hold, in file order."""
    return tuple(one for one in environment.floating.values() if host in one.hosts)


def interface_of(floating: Floating | Held) -> str:
    """The interface of floating addresses, on each host that may hold them."""
    return interface_name(floating.name)


def signs_of(floating: Floating | Held) -> str:
    """The interface through which signs of life about floating addresses come and go, inside each of its hosts."""
    return interface_name(f"{floating.name}-signs")


def ports_of(host: Host) -> tuple[str, ...]:
    """The ports of its segment's switch where a host is: one, or those of all hosts that may hold it."""
    return tuple(interface_name(name) for name in (host.holders if isinstance(host, Held) else (host.name,)))


def _held(floating: Floating, turn: int) -> Held:
    first = turn % len(floating.hosts)
    return Held(
        floating.name,
        floating.site,
        floating.segment,
        floating.addresses,
        floating.mac,
        "",
        floating.services,
        "",
        {},
        floating.name,
        floating.origin,
        holders=(*floating.hosts[first:], *floating.hosts[:first]),
    )
