"""How much a router carries under our compiled ruleset, against one that accepts everything, and against peers.

    .venv/bin/python -m benchmarks.router_throughput

Each ruleset has a client, a router and a server in namespaces of their own. They take turns, round after round, so that
whatever else the machine does meets all of them. Ratios are taken within a round; shown is their median with the
smallest and the largest, and the median itself: time for each exchange or datagram, or bits a second.

The first four loads are what two programs with ordinary sockets notice when they talk through the router: processor
time of the whole way, or throughput. "router alone" is the processor time of the router's own kernel thread for each
datagram that leaves it: the strictest view, without the sender's and the receiver's work.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys

import numpy as np

from benchmarks.loads import LOADS, Load
from benchmarks.router_bed import Bed
from benchmarks.rulesets import RULESETS
from benchmarks.synthetic import entries, environment

SIZES = {1_000: (100, 5), 10_000: (500, 10)}
"""Number of allowed entries -> clients, servers."""

REFERENCE = "accept-all"

Results = dict[str, dict[str, list[float]]]
"""Load -> ruleset -> one capacity for each round."""


def measure(size: int, rulesets: list[str], rounds: int) -> Results:
    """Capacities of the rulesets; one that cannot be made or loaded is left out, and said."""
    world = environment(*SIZES[size])
    assert len(entries(world)) == size
    beds: dict[str, Bed] = {}
    results: Results = {load.name: {} for load in LOADS}
    try:
        for name in rulesets:
            try:
                beds[name] = Bed(f"rf-bench-{name}", world, RULESETS[name](world))
                beds[name].up()
            except Exception as error:  # noqa: BLE001  # that a peer's output can't be loaded is a result
                print(f"{name}: cannot be measured: {error}", file=sys.stderr)
                if name in beds:
                    beds.pop(name).down()
        for number in range(rounds + 1):
            for load in LOADS:
                for name, bed in beds.items():
                    value = load.measure(bed, np.random.default_rng(number))
                    if number:  # round 0 warms up
                        results[load.name].setdefault(name, []).append(value)
            print(f"{size:,} entries: round {number} of {rounds}", file=sys.stderr)
    finally:
        for bed in beds.values():
            bed.down()
    return results


def ratios(values: list[float], reference: list[float]) -> tuple[float, float, float]:
    """Median, smallest and largest of the rounds' ratios."""
    each = [value / base for value, base in zip(values, reference, strict=True)]
    return statistics.median(each), min(each), max(each)


def cell(load: Load, values: list[float], reference: list[float]) -> str:
    """One cell of the table."""
    median, low, high = ratios(values, reference)
    return f"{median:.2f} ({low:.2f}-{high:.2f}), {load.shown(statistics.median(values))}"


def report(size: int, results: Results) -> None:
    """Print the results of one size as a Markdown table, a row for each load."""
    names = list(results[LOADS[0].name])
    print(f"\n{size:,} entries; capacity divided by {REFERENCE}'s: median (smallest-largest), median capacity\n")
    print(f"| Load | {' | '.join(names)} |")
    print("|---" * (len(names) + 1) + "|")
    for load in LOADS:
        values = results[load.name]
        print(f"| {load.name} | {' | '.join(cell(load, values[name], values[REFERENCE]) for name in names)} |")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--rulesets", nargs="+", choices=RULESETS, default=list(RULESETS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true", help="print every value instead of a table")
    options = parser.parse_args()
    for size in options.entries:
        results = measure(size, list(dict.fromkeys([REFERENCE, *options.rulesets])), options.rounds)
        if options.json:
            print(json.dumps({"entries": size, "results": results}))
        else:
            report(size, results)


if __name__ == "__main__":
    main()
