"""Is the ruleset read back still the one that was meant? 2,000 overlapping 5-tuple rules against their rewritten twin.

The twin is the realistic read-back case: every rule split in two, and neighbours of the same verdict shuffled. What is
compared is encoding and checking: ours executes the two rulesets symbolically and compares, the peer builds SecGuru's
formulas and solves them in Z3 (benchmarks/peers/secguru_z3.py); both decide containment in both directions, in one run
on one core. Reading the documents that nft lists is measured too and told beside it; the peer has nothing to read.
Then single rules of the twin are changed: each change must be found, with a packet.

    .venv/bin/python -m benchmarks.ruleset_containment [--rules 2000] [--mutations 10]
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import click

from benchmarks.peers.secguru_z3 import AccessRule, difference
from ringfort.proof.comparison import Relation, compare, overall
from ringfort.proof.reader import read
from ringfort.proof.ruleset import Ruleset
from ringfort.proof.witness import packet_text, witness

TARGET = 20
"""At least so many times faster than the peer."""

Range = tuple[str, int, int]


def access_list(count: int, chance: random.Random) -> list[AccessRule]:
    """Overlapping rules: prefixes from a few blocks, ports and port ranges; one in six denies."""
    return [_rule(chance) for _ in range(count)]


def _rule(chance: random.Random) -> AccessRule:
    ranges: list[Range] = []
    for name in ("saddr", "daddr"):
        length = chance.choice([16, 20, 22, 24, 24, 28, 32])
        base = 10 << 24 | chance.randrange(64) << 16 | chance.getrandbits(16)
        low = base >> (32 - length) << (32 - length)
        ranges.append((name, low, low | (1 << (32 - length)) - 1))
    if chance.random() < 0.2:
        ranges.append(("sport", 1024, 65535))
    port = chance.choice([22, 53, 80, 443, chance.randrange(1, 60000)])
    ranges.append(("dport", port, port + chance.choice([0, 0, 0, 10, 1000])))
    protocol = chance.choice([6, 6, 17])
    ranges.append(("l4proto", protocol, protocol))
    return AccessRule(tuple(ranges), chance.random() > 1 / 6)


def rewritten(rules: Sequence[AccessRule], chance: random.Random) -> list[AccessRule]:
    """The same policy in other words: each rule split in two, neighbours with the same verdict shuffled."""
    result: list[AccessRule] = []
    run: list[AccessRule] = []
    for rule in rules:
        if run and run[-1].allow != rule.allow:
            chance.shuffle(run)
            result += run
            run = []
        run += _halves(rule, chance)
    chance.shuffle(run)
    return result + run


def _halves(rule: AccessRule, chance: random.Random) -> list[AccessRule]:
    wide = [i for i, (_, low, high) in enumerate(rule.ranges) if high > low]
    if not wide:
        return [rule, rule]
    i = chance.choice(wide)
    name, low, high = rule.ranges[i]
    middle = chance.randrange(low, high)
    parts = []
    for bounds in ((low, middle), (middle + 1, high)):
        ranges = (*rule.ranges[:i], (name, *bounds), *rule.ranges[i + 1 :])
        parts.append(AccessRule(ranges, rule.allow))
    return parts


def mutated(rules: Sequence[AccessRule], chance: random.Random) -> list[AccessRule]:
    """One rule changed: its verdict, a bound, or left out."""
    result = list(rules)
    i = chance.randrange(len(result))
    kind = chance.randrange(3)
    if kind == 0:
        result[i] = replace(result[i], allow=not result[i].allow)
    elif kind == 1:
        del result[i]
    else:
        ranges = list(result[i].ranges)
        j = next(j for j, (name, _, _) in enumerate(ranges) if name == "dport")
        name, low, high = ranges[j]
        ranges[j] = (name, low, min(high + 1, 65535))
        result[i] = replace(result[i], ranges=tuple(ranges))
    return result


_KEYS: dict[str, dict[str, Any]] = {
    "saddr": {"payload": {"protocol": "ip", "field": "saddr"}},
    "daddr": {"payload": {"protocol": "ip", "field": "daddr"}},
    "sport": {"payload": {"protocol": "th", "field": "sport"}},
    "dport": {"payload": {"protocol": "th", "field": "dport"}},
    "l4proto": {"meta": {"key": "l4proto"}},
}


def document(rules: Sequence[AccessRule]) -> dict[str, Any]:
    """The list as ``nft --json list ruleset`` would give it: one chain at the forward hook."""
    place = {"family": "ip", "table": "filter", "chain": "forward"}
    objects: list[dict[str, Any]] = [
        {"metainfo": {"version": "1.0.6", "json_schema_version": 1}},
        {"table": {"family": "ip", "name": "filter", "handle": 1}},
        {
            "chain": {
                "family": "ip",
                "table": "filter",
                "name": "forward",
                "handle": 2,
                "type": "filter",
                "hook": "forward",
                "prio": 0,
                "policy": "drop",
            }
        },
    ]
    for number, rule in enumerate(rules):
        matches = [_match(*one) for one in rule.ranges]
        verdict: dict[str, Any] = {"accept": None} if rule.allow else {"drop": None}
        objects.append({"rule": {**place, "handle": number + 3, "expr": [*matches, verdict]}})
    return {"nftables": objects}


def _match(name: str, low: int, high: int) -> dict[str, Any]:
    words: list[Any] = [str(IPv4Address(n)) if name in ("saddr", "daddr") else n for n in (low, high)]
    right = words[0] if low == high else {"range": words}
    return {"match": {"op": "==", "left": _KEYS[name], "right": right}}


def ours(first: Ruleset, second: Ruleset) -> tuple[Relation, str]:
    """Execute and compare two rulesets: how they relate, and a packet that shows it."""
    comparisons = compare(first, second)
    for one in comparisons:
        for packets in (one.added, one.removed):
            packet = witness(packets)
            if packet is not None:
                return overall(comparisons), packet_text(packet, packets.space)
    return overall(comparisons), ""


@click.command()
@click.option("--rules", "count", default=2000, show_default=True, help="Rules of the first list.")
@click.option("--mutations", default=10, show_default=True, help="Single-rule changes to find.")
@click.option("--seed", default=1, show_default=True, help="Of the random lists.")
def main(count: int, mutations: int, seed: int) -> None:
    """Measure, print, and fail if slower than promised."""
    chance = random.Random(seed)
    rules = access_list(count, chance)
    twin = rewritten(rules, chance)
    documents = document(rules), document(twin)
    start = time.perf_counter()
    first, second = read(documents[0]), read(documents[1])
    reading = time.perf_counter() - start
    times = []
    for _ in range(3):
        start = time.perf_counter()
        relation, packet = ours(first, second)
        times.append(time.perf_counter() - start)
        if relation is not Relation.EQUAL:
            sys.exit(f"wrong: {relation}, {packet}")
    mine = statistics.median(times)
    start = time.perf_counter()
    if difference(rules, twin) is not None or difference(twin, rules) is not None:
        sys.exit("the peer disagrees")
    peer = time.perf_counter() - start
    print(f"{count} rules, twin of {len(twin)}: ours {mine:.2f} s, Z3 {peer:.1f} s, ratio {peer / mine:.0f}")
    print(f"  reading both documents first: {reading:.2f} s, ratio with it {peer / (mine + reading):.0f}")
    _find_mutations(rules, twin, mutations, chance)
    if peer / mine < TARGET:
        sys.exit(f"slower than promised: {TARGET} times")


def _find_mutations(rules: list[AccessRule], twin: list[AccessRule], mutations: int, chance: random.Random) -> None:
    found = same = 0
    first = read(document(rules))
    for _ in range(mutations):
        changed = mutated(twin, chance)
        relation, packet = ours(first, read(document(changed)))
        if relation is Relation.EQUAL:
            # A change that a later or earlier rule makes up for changes nothing; let the peer confirm it.
            if difference(changed, rules) is not None or difference(rules, changed) is not None:
                sys.exit("a changed rule was missed")
            same += 1
        else:
            found += 1
            print(f"  {relation}: {packet}")
    print(f"{mutations} single-rule changes: {found} found with a packet, {same} change nothing (Z3 agrees)")


if __name__ == "__main__":
    main()
