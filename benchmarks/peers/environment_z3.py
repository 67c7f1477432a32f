"""The question of depth for Z3: is there an undeclared packet that at most one mechanism refuses?

One query stands for all removals, as measured fastest in earlier trials: the packet's source, destination and port are
bit-vectors, each layer is the disjunction of its entries, and "at most one layer refuses" is asked of what no flow
declares. IPv4 only and one site, which favours Z3: with IPv6 its vectors would be four times as wide. A packet under
its sender's own address, a neighbour's spoof and a taken-over router's packet are three such queries here too.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import Any

import z3

from benchmarks import synthetic_sites
from ringfort.environment.model import Environment
from ringfort.network.identity import identity_checks
from ringfort.proof import engine
from ringfort.proof.addresses import IPV6_BASE
from ringfort.proof.boxes import Layer, RawBoxes
from ringfort.proof.declared import declared_boxes, identity_boxes, receiver_services


@dataclass(frozen=True, slots=True)
class Case:
    """A site with so many flows (caller, receiver, port), as both sides take it."""

    environment: Environment
    raw: RawBoxes
    facts: engine.Facts
    flows: list[tuple[int, int, int]]
    services: list[tuple[int, int]]


def case(flows: int) -> Case:
    """An environment of one site with about ``flows`` allowed communications over IPv4."""
    hosts = 30
    while True:
        environment = synthetic_sites.environment(hosts)
        raw = declared_boxes(environment)
        points = [
            (source, there, service & 0xFFFF)
            for source, there, service in zip(raw.source_first, raw.destination_first, raw.service_first, strict=True)
            if source < IPV6_BASE
        ]
        if len(points) >= flows:
            break
        hosts = max(hosts + 10, hosts * flows // max(len(points), 1))
    random.Random(1).shuffle(points)
    return _boxes(environment, points[:flows])


def _boxes(environment: Environment, points: list[tuple[int, int, int]]) -> Case:
    checks = identity_checks(environment)
    raw = RawBoxes()
    identities = identity_boxes(environment, checks)
    kept = set(points)
    rows = zip(identities.source_first, identities.destination_first, identities.service_first, strict=True)
    for source, there, service in rows:
        if (source, there, service & 0xFFFF) in kept:
            raw.add(Layer.IDENTITY, (source, source), (there, there), (service, service), -1)
    numbers = {name: number for number, name in enumerate(environment.routers)}
    first = {site.name: numbers[site.routers[0]] for site in environment.sites.values()}
    for source, there, port in points:
        box = ((source, source), (there, there), (6 << 16 | port, 6 << 16 | port))
        for layer in (Layer.DECLARED, Layer.HOST_IN, Layer.HOST_OUT):
            raw.add(layer, *box, -1)
        for number in first.values():
            raw.add(Layer.ROUTER, *box, number)
    facts = engine.Facts(
        receiver_services(environment, checks), {site.name: site.routers[:1] for site in environment.sites.values()}
    )
    services = sorted({(there, port) for _, there, port in points})
    return Case(environment, raw, facts, points, services)


def ours(one: Case) -> float:
    """Seconds of our proof of it, all places and failures, after loading."""
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        result = engine.build(one.environment, one.raw, one.facts).ask(compiled=True)
        best = min(best, time.perf_counter() - start)
        assert not len(result.records)
    return best


def theirs(one: Case, timeout: int) -> tuple[str, float]:
    """Z3's answer (unsat: nothing found) and seconds, encoding included; "timeout" after so many seconds."""
    start = time.perf_counter()
    source, there, port = z3.BitVecs("source there port", 32)
    layers = {
        "router": _any(one.flows, source, there, port),
        "host": _any(list(reversed(one.flows)), source, there, port),
        "identity": _any(sorted(one.flows), source, there, port),
        "mutual": z3.Or([z3.And(there == z3.BitVecVal(d, 32), port == z3.BitVecVal(p, 32)) for d, p in one.services]),
    }
    declared = _any(sorted(one.flows, key=lambda flow: flow[::-1]), source, there, port)
    end = z3.And(layers["host"], z3.Or(layers["identity"], z3.Not(layers["mutual"])))
    stranger = z3.And(layers["host"], z3.Not(layers["mutual"]))
    refusals = (
        z3.And(z3.Not(declared), z3.Or(layers["router"], end)),  # the true holder: at most one of router, receiver
        stranger,  # a neighbour's spoof past its port, or a taken-over router: nobody but the receiver is left
    )
    for refusal in refusals:
        left = timeout - (time.perf_counter() - start)
        solver: Any = z3.SolverFor("QF_BV")
        solver.set("timeout", max(int(left * 1000), 1))
        solver.add(refusal)
        answer = solver.check()
        if answer != z3.unsat:
            spent = time.perf_counter() - start
            return ("timeout" if answer == z3.unknown else "sat"), spent
    return "unsat", time.perf_counter() - start


def _any(
    flows: list[tuple[int, int, int]], source: z3.BitVecRef, there: z3.BitVecRef, port: z3.BitVecRef
) -> z3.BoolRef:
    return z3.Or(
        [
            z3.And(source == z3.BitVecVal(s, 32), there == z3.BitVecVal(d, 32), port == z3.BitVecVal(p, 32))
            for s, d, p in flows
        ]
    )
