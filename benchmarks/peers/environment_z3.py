"""The question of an environment for Z3, twice: as it is asked, and with our reduction already done for it.

*As asked*: is there a packet, a place it comes from and one mechanism that has failed, so that no flow declares the
packet and everything that is left on its way lets it through? Source, destination, port, place and failed mechanism are
bit-vectors; one query stands for all places and all failures. *Reduced*: Z3 is handed our argument that refusals only
have to be counted, and decides the few conditions that are left of it. Both also ask whether all that is declared is
open.

Entries are ranges, and each layer has its own cut of them, as rules of different devices have: the router's join the
servers of a service, a host's split its ports. A flow is one caller, one server and four ports. IPv4 only and one
router, where we have one for each site; both favour Z3: with IPv6 its vectors would be four times as wide. Both sides
are timed in processor seconds of one core, encoding (theirs) and laying out (ours) included.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import z3

from benchmarks import synthetic_sites
from ringfort.environment.model import Environment
from ringfort.proof import engine
from ringfort.proof.addresses import IPV6_BASE, key_of
from ringfort.proof.boxes import Layer, RawBoxes
from ringfort.proof.declared import declared_boxes
from ringfort.proof.sweep import MUTUAL

ROUTER, INTERNET, NOBODY = 1, 2, 3
"""Places and failed mechanisms that are no address."""

Entry = tuple[int, int, int, int, int]
"""Source, first and last destination, first and last port."""

PORTS = 4
"""Ports of a flow."""


@dataclass(frozen=True, slots=True)
class Case:
    """A site with so many flows, as both sides take it: each layer's entries, and the servers' (address, port)."""

    environment: Environment
    raw: RawBoxes
    facts: engine.Facts
    flows: list[Entry]
    joined: list[Entry]
    split: list[Entry]
    services: list[tuple[int, int]]


def case(flows: int) -> Case:
    """An environment of one site with ``flows`` flows over IPv4."""
    hosts = 30
    while True:
        environment = _ipv4_only(synthetic_sites.environment(hosts))
        raw = declared_boxes(environment)
        points = [
            (source, there, PORTS * (service & 0xFFFF))
            for (source, _), (there, _), (service, _) in raw.spans()
            if source < IPV6_BASE
        ]
        if len(points) >= flows:
            return _case(environment, sorted(points)[:flows])
        hosts = max(hosts + 10, hosts * flows // max(len(points), 1))


def _ipv4_only(environment: Environment) -> Environment:
    """Both sides' hosts have the addresses that the question is about."""
    hosts = {
        name: replace(host, addresses=tuple(a for a in host.addresses if a.version == 4))
        for name, host in environment.hosts.items()
    }
    return replace(environment, hosts=hosts)


def _case(environment: Environment, points: list[tuple[int, int, int]]) -> Case:
    chance = random.Random(1)
    last = PORTS - 1
    flows = [(s, d, d, p, p + last) for s, d, p in points]
    split = [(s, d, d, p + i, p + i + 1) for s, d, p in points for i in range(0, PORTS, 2)]
    joined: list[Entry] = []
    for s, d, p in points:  # in order, so that a service's servers follow each other
        if joined and (joined[-1][0], joined[-1][2] + 1, joined[-1][3]) == (s, d, p):
            joined[-1] = (s, joined[-1][1], d, p, p + last)
        else:
            joined.append((s, d, d, p, p + last))
    for entries in (flows, split, joined):
        chance.shuffle(entries)
    raw = RawBoxes()
    numbers = {name: number for number, name in enumerate(environment.routers)}
    routers = [(Layer.ROUTER, joined, numbers[site.routers[0]]) for site in environment.sites.values()]
    layers = ((Layer.DECLARED, flows), (Layer.IDENTITY, flows), (Layer.HOST_OUT, joined), (Layer.HOST_IN, split))
    for layer, entries, number in (*((layer, entries, -1) for layer, entries in layers), *routers):
        for s, d, e, p, q in entries:
            raw.add(layer, (s, s), (d, e), (6 << 16 | p, 6 << 16 | q), number)
    services = sorted({(d, p) for _, d, p in points})
    by_host: dict[str, list[tuple[int, int, int]]] = {}
    names = {key_of(a): host.name for host in environment.hosts.values() for a in host.addresses}
    for d, p in services:
        by_host.setdefault(names[d], []).append((6 << 16 | p, 6 << 16 | p + last, MUTUAL))
    facts = engine.Facts(by_host, {site.name: site.routers[:1] for site in environment.sites.values()})
    return Case(environment, raw, facts, flows, joined, split, services)


def ours(one: Case) -> float:
    """Processor seconds of our proof of it, all places and failures, after loading."""
    best = float("inf")
    for _ in range(5):
        start = time.process_time()
        result = engine.build(one.environment, one.raw, one.facts).ask(compiled=True)
        best = min(best, time.process_time() - start)
        assert not len(result.records)
    return best


def as_asked(one: Case, timeout: int) -> tuple[str, float]:
    """Z3's answer (unsat: nothing found) and processor seconds; "timeout" when a query gives up."""
    start = time.process_time()
    packet = z3.BitVecs("source there port", 32)
    source, there, _ = packet
    place, failed = z3.BitVecs("place failed", 32)
    hosts = sorted({int(a) for host in one.environment.hosts.values() for a in host.addresses if a.version == 4})
    lan = z3.BitVecVal(0xFFFFFF00, 32)
    flows = _any(one.flows, packet)
    from_host = z3.And(place != ROUTER, place != INTERNET)
    port_security = z3.Implies(from_host, z3.Or(source == place, failed == (place & lan)))
    bound = z3.If(from_host, (source & lan) == (place & lan), z3.LShR(source, 24) != 10)
    router = z3.Or(place == ROUTER, failed == ROUTER, z3.And(bound, _any(one.joined, packet)))
    host = z3.Or(failed == there, _any(one.split, packet))
    identity = z3.Or(failed == there, z3.Not(_mutual(one, packet)), z3.And(place == source, flows))
    exposed = z3.And(
        z3.Or([place == ROUTER, place == INTERNET, *(place == z3.BitVecVal(h, 32) for h in hosts)]),
        z3.Or([there == z3.BitVecVal(h, 32) for h in hosts]),
        z3.Implies(place == ROUTER, failed == NOBODY),
        place != there, source != there, z3.Not(z3.And(flows, place == source)), port_security, router, host, identity,
    )  # fmt: skip
    refused = z3.And(flows, z3.Not(z3.And(_any(one.joined, packet), _any(one.split, packet))))
    return _decide((exposed, refused), timeout, start)


def reduced(one: Case, timeout: int) -> tuple[str, float]:
    """The same, with what our argument leaves of the question."""
    start = time.process_time()
    packet = z3.BitVecs("source there port", 32)
    flows, router, mutual = _any(one.flows, packet), _any(one.joined, packet), _mutual(one, packet)
    host, sender = _any(one.split, packet), _any(one.joined, packet)
    end = z3.And(host, z3.Or(flows, z3.Not(mutual)))
    queries = (
        # open: a declared packet that somebody refuses
        z3.And(flows, z3.Not(z3.And(router, sender, end))),
        # depth, and closed with it: at most one of router and receiver refuses (the attacker owns the sender)
        z3.And(z3.Not(flows), z3.Or(router, end)),
        # the same when the attacker does not own the sender: at most one of three
        z3.And(z3.Not(flows), z3.Or(z3.And(router, end), z3.And(sender, end), z3.And(sender, router))),
        # a neighbour past its port, or a taken-over router: nobody but the receiver is left
        z3.And(host, z3.Not(mutual)),
    )
    return _decide(queries, timeout, start)


def _decide(queries: Sequence[Any], timeout: int, start: float) -> tuple[str, float]:
    for query in queries:
        solver: Any = z3.SolverFor("QF_BV")
        solver.set("timeout", timeout * 1000)
        solver.add(query)
        answer = solver.check()
        if answer != z3.unsat:
            return ("timeout" if answer == z3.unknown else "sat"), time.process_time() - start
    return "unsat", time.process_time() - start


def _any(entries: list[Entry], packet: Sequence[Any]) -> z3.BoolRef:
    source, there, port = packet
    return z3.Or(
        [
            z3.And(source == z3.BitVecVal(s, 32), _between(there, d, e), _between(port, p, q))
            for s, d, e, p, q in entries
        ]
    )


def _mutual(one: Case, packet: Sequence[Any]) -> z3.BoolRef:
    _, there, port = packet
    return z3.Or([z3.And(there == z3.BitVecVal(d, 32), _between(port, p, p + PORTS - 1)) for d, p in one.services])


def _between(value: Any, first: int, last: int) -> Any:  # noqa: ANN401 - z3 has no types for its operators
    if first == last:
        return value == z3.BitVecVal(first, 32)
    return z3.And(z3.UGE(value, z3.BitVecVal(first, 32)), z3.ULE(value, z3.BitVecVal(last, 32)))
