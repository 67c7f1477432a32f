"""Environments, verdicts and drills to draw; nothing here is computed by what is tested."""

from __future__ import annotations

from pathlib import Path

from ringfort.drill.attacks import SENTENCES, Attack
from ringfort.drill.cells import EVERYTHING_ON, RESTORED, Cell
from ringfort.drill.result import Delivered, Disagreement, DrillResult, Exercise, Observation
from ringfort.environment.load import load, load_text
from ringfort.environment.model import Environment
from ringfort.proof.verdict import (
    Claim,
    Decision,
    DepthEntry,
    Hop,
    Outcome,
    Packet,
    Refutation,
    Unknown,
    Verdict,
)

EXAMPLE = Path(__file__).parents[2] / "examples" / "shop" / "environment.yaml"

EMPTY = "environment: nothing\ntrust-domain: nothing.example\n"


def shop() -> Environment:
    return load(EXAMPLE)


def large(segments: int, hosts: int) -> Environment:
    """One site with many segments and many hosts in each."""
    lines = [
        "environment: large",
        "trust-domain: large.example",
        "sites:",
        "  north:",
        "    blocks: [10.0.0.0/8]",
        "    routers: [r1, r2]",
        "    segments:",
        *(f"      s{n}: {{tier: back-end, networks: [10.{n // 250}.{n % 250}.0/24]}}" for n in range(segments)),
        "hosts:",
        *(
            f"  h{n}x{kind}: {{site: north, segment: s{n}, count: {hosts // 10}, services: [store]}}"
            for n in range(segments)
            for kind in "abcdefghij"
        ),
        "services:",
        "  store: {protocol: tcp, ports: [5432], tls: mutual}",
        "flows:",
        "  - {from: store, to: store}",
    ]
    return load_text("\n".join(lines))


def verdict(outcome: Outcome) -> Verdict:
    """A verdict with one claim of this outcome, and what belongs to it."""
    words = {"open": "every declared flow is possible", "depth": "nothing opens with any one failure"}
    claims = tuple(
        Claim(name, words[name], outcome if name == "depth" else Outcome.PROVED, 1234, "cells", 0, 0.1)
        for name in words
    )
    packet = Packet("host:web-n-2", "10.10.1.2", "10.10.2.2", "tcp", 8443)
    path = (
        Hop("switch:north/edge", "port-security:north/edge", Decision.FAILED),
        Hop(
            "router:north-r1",
            "router-filter:north-r1",
            Decision.ACCEPTS,
            "vmap @flows4",
            "ringfort/forward/4",
            "web-to-app",
        ),
        Hop("host:app-n-1", "host-firewall:app-n-1", Decision.ACCEPTS),
    )
    refutation = Refutation(
        claim="depth",
        kind="neighbour-spoofing",
        summary="a neighbour can claim to be web-n-1",
        source="north/edge",
        destination="north/front-end",
        count=3,
        packet=packet,
        path=path,
        let_through=("port-security:north/edge",),
        failure="port-security:north/edge",
        depth=1,
        edit="declare `tls: mutual` for app",
    )
    unknown = Unknown("depth", "router:north-r1", "inet/extra/forward/1", "limit rate 5/second", "a limit decides")
    depths = (
        DepthEntry("internet", "north/edge", 2, 2, 2, ("router-filter:north-r1", "host-firewall:web-n-1")),
        DepthEntry("north/edge", "north/front-end", 1 if outcome is Outcome.REFUTED else 3, 2, 4, ("identity:app",)),
    )
    return Verdict(
        "shop",
        live=True,
        claims=claims,
        refutations=(refutation,) if outcome is Outcome.REFUTED else (),
        unknowns=(unknown,) if outcome is Outcome.UNKNOWN else (),
        depths=depths,
        assumptions=("one failure at a time",),
        counts={"hosts": 28, "devices": 44},
        seconds=0.4,
    )


def drill(*, through: bool = False, disagrees: bool = False, open_fails: bool = False) -> DrillResult:
    """A drill in one of its states."""
    failure = "port-security:north/data"
    both = {"router-filter:north-r1": 600, "router-filter:south-r1": 400}
    cells = (
        Cell(Attack.HOST_UNDECLARED, EVERYTHING_ON, 1000, both, 0),
        Cell(Attack.HOST_UNDECLARED, failure, 77, {"host-firewall:db-n-1": 76 if through else 77}, int(through)),
        Cell(Attack.HOST_UNDECLARED, RESTORED, 1000, {"router-filter:north-r1": 1000}, 0),
    )
    probe = "10.10.4.2 -> 10.10.4.3 tcp/22 sent from host:db-n-1"
    got = Delivered(Attack.HOST_UNDECLARED, failure, probe, "the stack of host:db-n-2 took it", not disagrees)
    contradiction = Disagreement(Attack.HOST_UNDECLARED, failure, probe, "refused by two", "the stack took it")
    failed = ("web-n-1 to app-n-1 at 10.10.2.2 tcp/8443 (web-to-app): no answer",) if open_fails else ()
    return DrillResult(
        "shop",
        dict(SENTENCES),
        (EVERYTHING_ON, failure, RESTORED),
        cells,
        (Exercise("north-r1 active", 350, 350 - len(failed), failed, 0.6),),
        (Observation("scan detection", held=True, words="refused after 30 attempts"),),
        (got,) if through else (),
        (contradiction,) if disagrees else (),
        4321,
        12.5,
    )
