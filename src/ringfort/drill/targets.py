"""All probes of an environment, made once, and which of them a failure can affect. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ringfort.drill.attacks import Attack, Attacks, Probe
from ringfort.drill.declaration import PlaceKind
from ringfort.drill.failures import Scope
from ringfort.environment.model import Environment

MOST_AIMS = 48
"""In a larger environment each host attacks a spread of about as many others, and all of its own segment."""

Rows = dict[Attack, list[Probe]]
"""Probes by attack, in the order of `Attack`."""


class Targets:
    """The probes from the internet, from hosts and at routers; those of taken-over routers are made when needed."""

    def __init__(self, environment: Environment) -> None:
        attacks = Attacks(environment)
        hosts = tuple(environment.hosts)
        self._attacks = attacks
        self._internet = _by_target(attacks.from_internet(hosts))
        self._hosts = {name: _by_target(attacks.from_host(name, aims(environment, name))) for name in hosts}
        self.is_sample = len(hosts) > MOST_AIMS
        self._routers = [*attacks.at_routers(), *attacks.at_metadata()]
        self.number = (
            sum(map(len, self._internet.values()))
            + sum(len(probes) for found in self._hosts.values() for probes in found.values())
            + len(self._routers)
        )

    def rows(self, scopes: Iterable[Scope]) -> Rows:
        """The probes in the scopes."""
        found: Rows = {}
        for probe in self._in(scopes):
            found.setdefault(probe.attack, []).append(probe)
        return {attack: found[attack] for attack in Attack if attack in found}

    def _in(self, scopes: Iterable[Scope]) -> Iterator[Probe]:
        for scope in scopes:
            for target in scope.targets:
                if scope.internet:
                    yield from self._internet.get(target, ())
                for sender in scope.senders:
                    yield from self._hosts[sender].get(target, ())
            if scope.router:
                yield from self._attacks.from_router(scope.router, scope.targets)
            if scope.routers_too:
                yield from (probe for probe in self._routers if self._is_within(probe, scope))

    def _is_within(self, probe: Probe, scope: Scope) -> bool:
        return probe.place.kind is PlaceKind.INTERNET or probe.place.name in scope.senders


def aims(environment: Environment, attacker: str) -> tuple[str, ...]:
    """The hosts that a host attacks: all others; in a large environment its neighbours and a spread of the others.

    The spread is another one for each attacker, so that every host is attacked too.
    """
    hosts = tuple(environment.hosts)
    if len(hosts) <= MOST_AIMS:
        return tuple(name for name in hosts if name != attacker)
    segment, own = environment.hosts[attacker].segment, hosts.index(attacker)
    step = -(-len(hosts) // MOST_AIMS)
    return tuple(
        name
        for number, name in enumerate(hosts)
        if name != attacker and ((number - own) % step == 1 or environment.hosts[name].segment == segment)
    )


def _by_target(probes: Iterable[Probe]) -> dict[str, list[Probe]]:
    found: dict[str, list[Probe]] = {}
    for probe in probes:
        found.setdefault(probe.target, []).append(probe)
    return found


def quick_scopes(environment: Environment) -> tuple[Scope, ...]:
    """A small spread for every day: the internet, and one host of each segment, to one host of each segment."""
    first: dict[str, str] = {}
    last: dict[str, str] = {}
    for name, host in environment.hosts.items():
        first.setdefault(host.segment, name)
        last[host.segment] = name
    return (Scope(tuple(first.values()), tuple(last.values()), internet=True, routers_too=True),)
