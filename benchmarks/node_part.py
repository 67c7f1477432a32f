"""A node's own part of a large environment: fetch, verify, parse, compile. Limit: 2 seconds at 10,000 hosts.

The environment (benchmarks/synthetic_sites.py) is published by three approvers and a controller in a directory. A node
that has nothing but the pinned root takes it and compiles what its machine has to enforce, as a process of its own;
then a second version with one host changed, as a running node meets it. Once for a machine that is a host, once for one
that is a router of a hundred segments. Timed apart: fetching and verifying (signatures, digests), parsing, compiling.
Beside it stands json.loads of the same bytes: what no reader in Python can go below.

    .venv/bin/python -m benchmarks.node_part [--hosts 10000] [--rounds 5]
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click

from benchmarks import synthetic_sites
from ringfort.environment import serialise
from ringfort.environment.model import Environment
from ringfort.node.policy import compile_policy, to_bytes
from ringfort.publishing import trust
from ringfort.publishing.fetching import DirectoryFetcher

SECONDS = 2.0
NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOST = "g5-h3"
MACHINES = {"host": HOST, "router": "s0-r1"}


def publish(directory: Path, environments: list[Environment]) -> list[Path]:
    """A repository for each version in turn: directory/1 holds version 1, directory/2 versions 1 and 2."""
    from securesystemslib.signer import CryptoSigner

    from ringfort.publishing.keys import generate
    from ringfort.publishing.metadata import Holders, first_root, next_targets
    from ringfort.publishing.repository import Publication, Repository

    keys = {name: CryptoSigner(generate("p-256")) for name in ("alice", "bob", "carol")}
    online = CryptoSigner(generate())
    root = first_root(Holders({name: key.public_key for name, key in keys.items()}, 2, online.public_key), NOW)
    repository = Repository(directory / "all")
    for name in ("alice", "bob"):
        root.sign(keys[name], append=True)
    repository.publish(Publication(root=root.to_bytes()), online, NOW)
    states = []
    for number, environment in enumerate(environments, 1):
        text, old = serialise.to_bytes(environment), repository.published().targets
        targets = next_targets(old.signed if old else None, text, {}, NOW)
        for name in ("bob", "carol"):
            targets.sign(keys[name], append=True)
        repository.publish(Publication(targets=targets.to_bytes(), environment=text), online, NOW)
        states.append(directory / str(number))
        shutil.copytree(directory / "all", states[-1])
    return states


def node(machine: str, directory: Path, states: list[Path]) -> None:
    """One node in this process: each state in turn; prints its seconds as JSON."""
    believed = trust.Trust.pin(directory, (states[0] / "metadata" / "1.root.json").read_bytes())
    parsing, found = 0.0, []
    real = serialise.from_bytes

    def timed(text: bytes) -> Environment:
        nonlocal parsing
        start = time.perf_counter()
        environment = real(text)
        parsing = time.perf_counter() - start
        return environment

    trust.from_bytes = timed  # type: ignore[attr-defined]
    for state in states:
        start, spent = time.perf_counter(), time.process_time()
        answer = believed.update(DirectoryFetcher(state), NOW)
        verified = time.perf_counter()
        assert isinstance(answer, trust.Accepted), answer
        assert answer.new
        policy = compile_policy(answer.environment, answer.version, machine, answer.signers)
        assert to_bytes(policy)
        end = time.perf_counter()
        assert len(policy.parts) == 1
        found.append(
            {
                "verify": verified - start - parsing,
                "parse": parsing,
                "compile": end - verified,
                "all": end - start,
                "processor": time.process_time() - spent,
            }
        )
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    click.echo(json.dumps({"steps": found, "memory": memory}))


@click.command()
@click.option("--hosts", default=10_000)
@click.option("--rounds", default=5)
@click.option("--node", "place", nargs=4, hidden=True)
def main(hosts: int, rounds: int, place: tuple[str, str, str, str] | None) -> None:
    """Measure and compare with the limit."""
    if place:
        node(place[0], Path(place[1]), [Path(state) for state in place[2:]])
        return
    first = synthetic_sites.environment(hosts)
    hosts_ = {**first.hosts, HOST: replace(first.hosts[HOST], labels={"changed": "yes"})}
    text = serialise.to_bytes(first)
    start = time.perf_counter()
    json.loads(text)
    bare = time.perf_counter() - start
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        states = publish(directory, [first, replace(first, hosts=hosts_)])
        runs = {
            kind: [_child(machine, directory / f"{kind}-{number}", states) for number in range(rounds)]
            for kind, machine in MACHINES.items()
        }
    size = f"{hosts:,} hosts, {len(first.flows):,} flows, {len(text) / 1e6:.1f} MB"
    print(f"{size}; {rounds} rounds, load {os.getloadavg()[0]:.1f}")
    slowest = max(_told(kind, several) for kind, several in runs.items())
    every = [run for several in runs.values() for run in several]
    memory = max(run["memory"] for run in every)
    print(f"bare json.loads of the same bytes {bare:.2f} s; peak memory of the node {memory:.0f} MiB")
    verdict = "kept" if slowest < SECONDS else "MISSED"
    print(f"limit {SECONDS} s, by processor seconds: {verdict}, {slowest / SECONDS:.2f} of it")
    if slowest >= SECONDS:
        sys.exit(1)


def _told(kind: str, runs: list[dict]) -> float:  # type: ignore[type-arg]
    """Print the medians of a kind of machine; its slower one in processor seconds, since others may be busy here."""
    slower = 0.0
    for number, what in enumerate(("first version", "next version, one host changed")):
        steps = [run["steps"][number] for run in runs]
        medians = {key: statistics.median(step[key] for step in steps) for key in steps[0]}
        worst = max(step["all"] for step in steps)
        slower = max(slower, medians["processor"])
        print(
            f"{kind}, {what}: {medians['all']:.2f} s (worst {worst:.2f} s, processor {medians['processor']:.2f} s) = "
            f"verify {medians['verify']:.2f} + parse {medians['parse']:.2f} + compile {medians['compile']:.2f} s"
        )
    return slower


def _child(machine: str, directory: Path, states: list[Path]) -> dict:  # type: ignore[type-arg]
    command = [sys.executable, "-m", "benchmarks.node_part", "--node", machine, str(directory), *map(str, states)]
    done: dict = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)  # type: ignore[type-arg]
    return done


if __name__ == "__main__":
    main()
