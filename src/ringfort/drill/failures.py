"""Which failures are drilled, and what each of them can affect. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ringfort.environment.model import Environment, Tls
from ringfort.environment.topology import instances

KINDS = (
    "port-security",
    "router-filter",
    "router-taken-over",
    "host-firewall",
    "host-taken-over",
    "sandbox-filter",
    "instance-taken-over",
    "sandbox-escaped",
    "identity",
    "identity-stolen",
)


ESCAPED = "sandbox-escaped"
"""Somebody has broken out of a guest: the filters of all guests of its hypervisor are his, and he sends past them."""

CONTROLLER = "controller"
"""The controller taken over: nothing is switched off; what it then serves is the attack."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One mechanism taken away.

    Attributes:
        kind: ``port-security``, ``router-filter`` and so on.
        subject: what it is of: a segment's key, a router's, host's or service's name; for stolen keys their holder.
    """

    kind: str
    subject: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.subject}" if self.subject else self.kind


@dataclass(frozen=True, slots=True)
class Scope:
    """Where probes go under a failure; everything else it can't affect.

    Attributes:
        senders: hosts to attack from; ``targets`` of theirs are the hosts to attack.
        internet: whether strangers attack the targets too.
        router: the router to attack from; empty for none.
        routers_too: whether the routers' own addresses are attacked.
    """

    senders: tuple[str, ...]
    targets: tuple[str, ...]
    internet: bool
    router: str = ""
    routers_too: bool = False


def mutual_services(environment: Environment) -> tuple[str, ...]:
    """The services whose enforcement points check their callers' identities.

    A controller and a witness check for themselves and can't be told not to: they are not among them.
    """
    control = environment.control
    own = (control.controller, control.witness) if control else ()
    return tuple(s.name for s in environment.services.values() if s.tls is Tls.MUTUAL and s.hosts and s.name not in own)


def failures(environment: Environment) -> Iterator[Failure]:
    """Every single failure of an environment, in the order of a packet's way; the controller's first, because nodes
    may take half a minute to be as before."""
    if environment.control is not None:
        yield Failure(CONTROLLER, "")
    yield from (Failure("port-security", key) for key in environment.segments)
    for name in environment.routers:  # one after the other, because a router has to be made the active one for both
        yield Failure("router-filter", name)
        yield Failure("router-taken-over", name)
    guests = tuple(host.name for host in environment.hosts.values() if host.hypervisor)
    yield from (Failure("host-firewall", name) for name in environment.hosts if name not in guests)
    yield from (Failure("host-taken-over", name) for name in environment.hosts if name not in guests)
    yield from (Failure("sandbox-filter", name) for name in guests)
    yield from (Failure("instance-taken-over", name) for name in guests)
    yield from (Failure(ESCAPED, name) for name in instances(environment))
    yield from (Failure("identity", name) for name in mutual_services(environment))
    yield from (Failure("identity-stolen", name) for name in environment.hosts)
    if mutual_services(environment):
        yield Failure("authority", "")


def scopes(environment: Environment, failure: Failure | None) -> tuple[Scope, ...]:
    """What can be affected by a failure; everything when there is none.

    - A host's firewall: what is sent to this host (what it sends is judged by others anyway: every attacker owns its
      sender, and its own rules never counted).
    - Port security of a segment: what its hosts send, and what is sent to them.
    - A site's router: everything that crosses it: what its hosts send or receive, and what strangers send. (Its own
      addresses are then reachable, as it has no other guard; nothing listens there.)
    - A host taken over: what it sends. An instance taken over: the same, from behind its sandbox, and what it sends
      to addresses that are no host's.
    - A sandbox escaped: what the hypervisor's instances send past their sandboxes, to what is on other machines.
    - A service's identity check: what is sent to its hosts. The authority: what is sent to any such service.
    """
    hosts = tuple(environment.hosts)
    if failure is None:
        return (Scope(hosts, hosts, internet=True, routers_too=True),)
    if failure.kind in ("instance-taken-over", ESCAPED):
        return (_guests(environment, failure),)
    match failure.kind:
        case "host-firewall" | "sandbox-filter":
            return (Scope(hosts, (failure.subject,), internet=True),)
        case "port-security":
            own = tuple(name for name in hosts if environment.hosts[name].segment == failure.subject)
            others = tuple(name for name in hosts if name not in own)
            return (Scope(own, hosts, internet=False), Scope(others, own, internet=True))
        case "router-filter":
            return _around(environment, environment.routers[failure.subject].site)
        case "router-taken-over":
            return (Scope((), hosts, internet=False, router=failure.subject),)
        case "host-taken-over":
            return (Scope((failure.subject,), hosts, internet=False),)
        case "identity":
            return (Scope(hosts, environment.services[failure.subject].hosts, internet=True),)
        case "authority":
            served = (host for name in mutual_services(environment) for host in environment.services[name].hosts)
            return (Scope(hosts, tuple(dict.fromkeys(served)), internet=True),)
        case _:
            return ()


def mechanisms(environment: Environment, failure: Failure) -> tuple[str, ...]:
    """What `ringfort.lab.lab.Lab.disable` has to switch off for a failure."""
    match failure.kind:
        case "router-filter" | "router-taken-over":
            return (f"router-filter:{failure.subject}",)
        case "host-firewall" | "host-taken-over":
            return (f"host-firewall:{failure.subject}",)
        case "authority":
            return tuple(f"identity:{name}" for name in mutual_services(environment))
        case "sandbox-escaped":
            return tuple(f"sandbox-filter:{name}" for name in instances(environment)[failure.subject])
        case "identity-stolen" | "controller" | "instance-taken-over":
            return ()
        case _:
            return (str(failure),)


def _guests(environment: Environment, failure: Failure) -> Scope:
    """From one guest to everywhere, or from all guests of a hypervisor to what is on other machines."""
    hosts = environment.hosts
    if failure.kind != ESCAPED:
        return Scope((failure.subject,), tuple(hosts), internet=False, routers_too=True)
    machine = hosts[failure.subject].machine
    others = tuple(name for name, host in hosts.items() if host.machine != machine)
    return Scope(instances(environment)[failure.subject], others, internet=False)


def _around(environment: Environment, site: str) -> tuple[Scope, ...]:
    own = tuple(name for name, host in environment.hosts.items() if host.site == site)
    others = tuple(name for name in environment.hosts if name not in own)
    return (
        Scope(own, tuple(environment.hosts), internet=False),
        Scope(others, own, internet=True),
        Scope((), others, internet=True),
    )
