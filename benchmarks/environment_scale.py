"""Open, closed and depth over large environments: every failure, with and without the attacker owning the sender.

For each size an environment is made (benchmarks/synthetic_sites.py: ten hosts to a segment, a hundred segments to a
site, both address families, all services mutual). Its boxes are loaded; up to --compiled hosts from rulesets that are
really compiled and read back through the proof's reader, beyond that written directly from the same flows (one entry
at each router on the way, one at each end). Where rulesets are read, both are made, and have to be the same boxes and
give the same answer.

Timed is everything after loading: laying out the addresses, cutting boxes into buckets, sweeping all cells, collecting
what breaks a promise. Not timed: making and compiling the environment, reading rulesets (told beside it), and numba's
compilation, which is cached on disk after the first run. Each size runs in a process of its own; its memory is the
peak of that process, loading included.

    .venv/bin/python -m benchmarks.environment_scale [--sizes 1000,10000,100000] [--compiled 10000] [--peer 1000,5000]
"""

from __future__ import annotations

import json
import math
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import click
import numpy as np

from benchmarks import synthetic_sites
from ringfort.environment.model import Environment
from ringfort.environment.topology import devices
from ringfort.network.compile import compile_environment
from ringfort.network.identity import identity_checks
from ringfort.proof import engine
from ringfort.proof.addresses import key_of
from ringfort.proof.background import Background
from ringfort.proof.boxes import Layer, RawBoxes
from ringfort.proof.claims import verify
from ringfort.proof.declared import declared_boxes, identity_boxes, receiver_services
from ringfort.proof.findings import cell_findings
from ringfort.proof.reading import boxes_of, facts_of, read_layers

PROMISES = {10_000: (3.0, 2.0), 100_000: (60.0, 12.0)}
"""Hosts -> seconds and GiB."""

CHANGED_MILLISECONDS = 50.0
EXPONENT = 1.2
FASTER = 1000
REPEATS = 3


def direct_boxes(environment: Environment) -> tuple[RawBoxes, engine.Facts]:
    """The boxes that the compiled rulesets would give, written from the flows."""
    checks = identity_checks(environment)
    declared = declared_boxes(environment)
    raw = RawBoxes()
    raw.extend(declared)
    raw.extend(identity_boxes(environment, checks))
    numbers = {name: number for number, name in enumerate(environment.routers)}
    first = {site.name: numbers[site.routers[0]] for site in environment.sites.values()}
    site_of = {key_of(a): host.site for host in environment.hosts.values() for a in host.addresses}
    for box in declared.spans():
        (source, _), (there, _), _ = box
        for site in dict.fromkeys((site_of[source], site_of[there])):
            raw.add(Layer.ROUTER, *box, first[site])
        raw.add(Layer.HOST_IN, *box, -1)
        raw.add(Layer.HOST_OUT, *box, -1)
    routers = {site.name: site.routers[:1] for site in environment.sites.values()}
    return raw, engine.Facts(receiver_services(environment, checks), routers)


def compiled_boxes(environment: Environment) -> tuple[RawBoxes, engine.Facts, dict[str, float]]:
    """The boxes of really compiled rulesets, read back; and how long that took."""
    start = time.perf_counter()
    documents = {device: ruleset.document for device, ruleset in compile_environment(environment).items()}
    compiled = time.perf_counter()
    checks = identity_checks(environment)
    layers = read_layers(environment, devices(environment), documents)
    raw = boxes_of(environment, layers, checks, declared_boxes(environment))
    facts = facts_of(environment, layers, checks)
    seconds = {"compile": compiled - start, "read": time.perf_counter() - compiled, "executions": layers.executions}
    return raw, facts, seconds


def entries(raw: RawBoxes) -> int:
    """Allow entries of enforcing layers; a router pair's equal entries count once."""
    return sum(layer in (Layer.ROUTER, Layer.HOST_IN, Layer.HOST_OUT) for layer in raw.layer)


def measure(hosts: int, *, compiled: bool) -> dict[str, Any]:
    """One size, in this process."""
    environment = synthetic_sites.environment(hosts)
    start = time.perf_counter()
    loading: dict[str, float] = {}
    if compiled:
        raw, facts, loading = compiled_boxes(environment)
    else:
        raw, facts = direct_boxes(environment)
    loading["all"] = time.perf_counter() - start
    _warm_up()
    times, processor = [], []
    for _ in range(REPEATS):
        start, cpu = time.perf_counter(), time.process_time()
        question = engine.build(environment, raw, facts)
        result = question.ask(compiled=True)
        findings = cell_findings(environment, question, result)
        findings += Background(environment, facts.routers).findings()
        times.append(time.perf_counter() - start)
        processor.append(time.process_time() - cpu)
    assert not findings, findings[:3]
    least = result.minima[:, :, 0].min(axis=0)
    assert tuple(least[[0, 2, 3]]) == (2, 1, 2), least
    row = {
        "hosts": hosts,
        "segments": len(environment.segments),
        "entries": entries(raw),
        "boxes": len(question.boxes.bit),
        "cells": result.cells,
        "loaded from": "compiled rulesets" if compiled else "flows",
        "loading": loading,
        "seconds": sorted(times)[len(times) // 2],
        "processor": min(processor),
        "changed_ms": changed_segment(environment, question, raw),
        "gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }
    if compiled:  # last, so that it counts neither as time nor as memory
        _assert_same_from_flows(environment, raw, facts, result)
    return row


def _assert_same_from_flows(
    environment: Environment, raw: RawBoxes, facts: engine.Facts, result: engine.Result
) -> None:
    """What was read from rulesets is what the flows say: the same facts, boxes and answer."""
    written, expected = direct_boxes(environment)
    first = {site: tuple(names) for site, names in facts.routers.items()}
    assert replace(facts, routers=first) == expected
    assert set_of(raw) == set_of(written)
    answer = engine.build(environment, written, expected).ask(compiled=True)
    assert np.array_equal(answer.records, result.records)
    assert np.array_equal(answer.ends, result.ends)
    assert np.array_equal(answer.minima[:, :, 0], result.minima[:, :, 0])


def set_of(raw: RawBoxes) -> set[tuple[object, ...]]:
    """The boxes without those that stand twice: what two flows declare."""
    return set(zip(raw.spans(), raw.layer, raw.router, strict=True))


def _warm_up() -> None:
    """Load the compiled sweep, so that compilation is not measured."""
    environment = synthetic_sites.environment(1500)
    raw, facts = direct_boxes(environment)
    engine.build(environment, raw, facts).ask()


def changed_segment(environment: Environment, question: engine.Question, raw: RawBoxes) -> float:
    """Milliseconds to verify one changed segment again: all boxes that touch it, with one of them taken away."""
    segment = list(environment.segments)[len(environment.segments) // 2]
    hosts = environment.hosts_by_segment[segment]
    own = {key_of(a) for name in hosts for a in environment.hosts[name].addresses}
    touching = [
        place for place, ((source, _), (there, _), _) in enumerate(raw.spans()) if source in own or there in own
    ]
    gone = next(place for place in touching if raw.layer[place] == Layer.HOST_IN)
    fresh = raw.chosen(place for place in touching if place != gone)
    times = []
    for _ in range(20):
        start = time.perf_counter()
        result = question.changed(segment, fresh).ask(compiled=True)
        times.append(time.perf_counter() - start)
    assert len(result.records) == 1, "a flow that its receiver no longer lets in is not open"
    return 1000 * float(np.median(times))


def exponent(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    """The slope of seconds over hosts in logarithms, by least squares."""
    return float(np.polyfit([math.log(size) for size in sizes], [math.log(one) for one in seconds], 1)[0])


def whole_verdict(hosts: int) -> float:
    """Seconds of the library's own `verify`, reading of compiled rulesets and telling included."""
    environment = synthetic_sites.environment(hosts)
    documents = {device: ruleset.document for device, ruleset in compile_environment(environment).items()}
    start = time.perf_counter()
    verdict = verify(environment, documents, identity_checks(environment))
    assert verdict.exit_code == 0
    return time.perf_counter() - start


def _in_own_process(hosts: int, *, compiled: bool) -> dict[str, Any]:
    words = [sys.executable, "-m", "benchmarks.environment_scale", "--one", str(hosts)]
    words += ["--from-rulesets"] if compiled else []
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise click.ClickException(done.stderr[-2000:])
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",") if part]


@click.command()
@click.option("--sizes", default="1000,3000,10000,30000,100000", show_default=True, help="Hosts.")
@click.option("--compiled", default=10_000, show_default=True, help="Up to so many hosts from compiled rulesets.")
@click.option("--peer", default="1000,5000", show_default=True, help="Flows for Z3; empty for none.")
@click.option("--peer-timeout", default=600, show_default=True, help="Seconds Z3 may take for each query.")
@click.option("--one", type=int, hidden=True)
@click.option("--from-rulesets", is_flag=True, hidden=True)
def main(sizes: str, compiled: int, peer: str, peer_timeout: int, one: int | None, from_rulesets: bool) -> None:
    """Measure and compare with what is promised."""
    if one is not None:
        click.echo(json.dumps(measure(one, compiled=from_rulesets)))
        return
    kept = True
    rows = []
    titles = "  hosts  segments    entries      boxes  seconds  processor    GiB  changed segment"
    click.echo(f"{titles}  loaded from (seconds)")
    for hosts in _numbers(sizes):
        row = _in_own_process(hosts, compiled=hosts <= compiled)
        rows.append(row)
        loading = ", ".join(f"{name} {value:.1f}" for name, value in row["loading"].items())
        click.echo(
            f"{hosts:>7,}  {row['segments']:>8,} {row['entries']:>10,} {row['boxes']:>10,} {row['seconds']:>8.3f} "
            f"{row['processor']:>8.3f} s "
            f"{row['gib']:>6.2f} {row['changed_ms']:>13.1f} ms  {row['loaded from']} ({loading})"
        )
        seconds, gib = PROMISES.get(hosts, (math.inf, math.inf))
        kept &= row["seconds"] <= seconds and row["gib"] <= gib and row["changed_ms"] <= CHANGED_MILLISECONDS
    if len(rows) > 1:
        slope = exponent([row["hosts"] for row in rows], [row["processor"] for row in rows])
        kept &= slope < EXPONENT
        click.echo(f"fitted exponent of processor seconds over hosts: {slope:.2f} (promised: below {EXPONENT})")
    kept &= _peer(_numbers(peer), peer_timeout)
    if not kept:
        sys.exit(1)


def _peer(flows: Sequence[int], timeout: int) -> bool:
    """Z3 on the same question beside us, at some numbers of flows."""
    from benchmarks.peers import environment_z3

    kept = True
    for count in flows:
        case = environment_z3.case(count)
        _warm_up()
        ours = environment_z3.ours(case)
        for words, ask in (("as asked", environment_z3.as_asked), ("reduced for it", environment_z3.reduced)):
            answer, theirs = ask(case, timeout)
            ratio = theirs / ours
            more = "more than " if answer == "timeout" else ""
            click.echo(
                f"{count:,} flows: ours {ours * 1000:.1f} ms, Z3 {words} {more}{theirs:.1f} s ({answer}): "
                f"{more}{ratio:,.0f} times"
            )
            kept &= count < 5000 or words != "as asked" or ratio >= FASTER
    return kept


if __name__ == "__main__":
    main()
